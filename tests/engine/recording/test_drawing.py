"""Charts as PNGs: where a mark is, there is its colour."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tfrun.engine.recording import drawing
from tfrun.reports.svg import WIDTH, Mark, column_chart, line_chart, matrix_chart, number_axis, point_chart


def pixels(svg: str) -> np.ndarray:
    """Returns the drawn chart, (H, W, 3)."""
    image = Image.open(io.BytesIO(drawing.png("A chart", svg)))
    assert image.width == drawing.SCALE * WIDTH
    return np.asarray(image.convert("RGB"))


def places(drawn: np.ndarray, color: str) -> np.ndarray:
    """Returns (row, column) of the pixels of a colour."""
    wanted = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
    return np.argwhere((drawn == wanted).all(axis=2))


X, Y = number_axis("x", [0.0, 1.0]), number_axis("y", [0.0, 1.0])


def test_a_line_goes_up() -> None:
    line = places(pixels(line_chart(X, Y, [Mark([(0, 0), (1, 1)], "up", is_best=True)])), drawing.INKS["lb"])
    left, right = line[line[:, 1].argmin()], line[line[:, 1].argmax()]
    assert right[0] < left[0] and right[1] - left[1] > 400


def test_a_gap_is_not_drawn() -> None:
    points = [(0.0, 0.5), (0.2, 0.5), None, (0.8, 0.5), (1.0, 0.5)]
    columns = places(pixels(line_chart(X, Y, [Mark(points, "", is_best=True)])), drawing.INKS["lb"])[:, 1]
    middle = (columns.min() + columns.max()) / 2
    assert not ((columns > middle - 50) & (columns < middle + 50)).any()


def test_a_dashed_line_has_holes() -> None:
    points = [(0.0, 0.5), (1.0, 0.5)]
    drawn = [
        places(pixels(line_chart(X, Y, [Mark(points, "", is_best=solid, is_reference=not solid)])), drawing.INKS[ink])
        for solid, ink in ((True, "lb"), (False, "lr"))
    ]
    solid, dashed = (len(np.unique(found[:, 1])) for found in drawn)
    assert 0.4 * solid < dashed < 0.6 * solid


def test_points_and_columns() -> None:
    assert len(places(pixels(point_chart(X, Y, [Mark([(0.5, 0.5)], "a")])), drawing.POINT)) > 50
    assert len(places(pixels(column_chart(X, Y, [(0.0, 0.5, 1.0)])), drawing.BAR)) > 10_000


def test_a_matrix_is_dark_on_its_diagonal() -> None:
    drawn = pixels(matrix_chart(["a", "b"], [[9, 0], [0, 9]]))
    full = "#{:02x}{:02x}{:02x}".format(*drawing.CELL)
    rows, columns = places(drawn, full).T
    assert np.corrcoef(rows, columns)[0, 1] > 0.5


@pytest.mark.parametrize("text", ["→ a", "−1"])
def test_what_the_font_lacks_is_written_otherwise(text: str) -> None:
    assert not set(text.translate(drawing.WITHOUT_GLYPH)) & set("→↓−")
