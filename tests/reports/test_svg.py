"""Charts as SVG: where their axes have ticks, and where marks are drawn."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from tfrun.reports.svg import (
    Axis,
    Mark,
    bar_chart,
    column_chart,
    line_chart,
    matrix_chart,
    number_axis,
    point_chart,
    text_axis,
    value_chart,
)
from tfrun.reports.texts import readable, shortened


def labels(axis: Axis) -> list[str]:
    return [text for _, text in axis.ticks]


def parsed(svg: str) -> ElementTree.Element:
    """Returns the element; HTML allows attributes without quotes, XML doesn't."""
    return ElementTree.fromstring(re.sub(r"([\w-]+)=([\w.#-]+)(?=[\s/>])", r'\1="\2"', svg))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, 1.0], ["0.5", "0.6", "0.7", "0.8", "0.9", "1"]),
        ([1, 3], ["1", "2", "3"]),  # epochs have no halves
        ([0, 47], ["0", "10", "20", "30", "40"]),
        ([-0.2, 0.1], ["-0.2", "-0.15", "-0.1", "-0.05", "0", "0.05", "0.1"]),
        ([0.250001, 0.250007], ["0.250001", "0.250002", "0.250003", "0.250004", "0.250005", "0.250006", "0.250007"]),
        ([5], ["5"]),
        ([-1e308, 1e308], ["-1e+308", "-5e+307", "0", "5e+307", "1e+308"]),
    ],
)
def test_ticks_are_round_numbers(values: list[float], expected: list[str]) -> None:
    axis = number_axis("", values)
    assert labels(axis) == expected
    assert all(-1e-6 <= place <= 1 + 1e-6 for place, _ in axis.ticks)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1e-4, 1e-1], ["0.0001", "0.001", "0.01", "0.1"]),
        ([2.0, 70.0], ["2", "70"]),  # a single power of ten says too little
        ([1e-12, 1.0], ["1e-12", "1e-10", "1e-08", "1e-06", "0.0001", "0.01", "1"]),
    ],
)
def test_ticks_of_logarithms_are_powers_of_ten(values: list[float], expected: list[str]) -> None:
    assert labels(number_axis("", values, is_logarithmic=True)) == expected


def test_places_go_from_0_to_1() -> None:
    even, log = number_axis("", [2.0, 6.0]), number_axis("", [0.01, 100.0], is_logarithmic=True)
    assert [even.place(value) for value in (2.0, 3.0, 6.0)] == [0.0, 0.25, 1.0]
    assert [log.place(value) for value in (0.01, 1.0, 100.0)] == pytest.approx([0.0, 0.5, 1.0])
    assert number_axis("", [7.0]).place(7.0) == 0.5
    assert text_axis("", ["a", "b"]).ticks == [(0.25, "a"), (0.75, "b")]
    assert text_axis("", ["a" * 30, *"bcd"]).ticks[0] == (0.125, "aaaaaaaaa…")  # 272 / 4 pixels: 10 letters
    assert math.isfinite(number_axis("", [-1e308, 1e308]).place(0.0))


def test_points_stand_between_the_axes() -> None:
    """The frame is from 60 to 332 and from 10 to 190 pixels, with 6 within it."""
    x, y = number_axis("rate", [0.0, 1.0]), number_axis("loss", [0.0, 2.0])
    svg = parsed(point_chart(x, y, [Mark([(0.0, 2.0)], "a <b>"), Mark([(1.0, 0.0)], "best", is_best=True)]))
    first, second = svg.iter("circle")
    assert (first.get("cx"), first.get("cy")) == ("66", "16") and first.findtext("title") == "a <b>"
    assert (second.get("cx"), second.get("cy"), second.get("class")) == ("326", "184", "b")
    assert svg.get("viewBox") == "0 0 340 230" and svg.get("aria-label") == "loss over rate"


def test_ticks_without_room_have_no_text() -> None:
    """272 pixels have room for 43 letters: for 7 texts of 5 with a space after each, but only for 5 of 7."""

    def texts(low: float, high: float) -> list[str | None]:
        x, y = number_axis("rate", [low, high]), number_axis("loss", [0.0, 1.0])
        svg = parsed(point_chart(x, y, []))
        return [text.text for text in svg.iter("text") if text.get("y") == "205"]

    assert texts(0.101, 0.107) == ["0.101", "0.102", "0.103", "0.104", "0.105", "0.106", "0.107"]
    assert texts(0.10001, 0.10007) == ["0.10001", "0.10003", "0.10005", "0.10007"]


def test_a_line_has_gaps() -> None:
    x, y = number_axis("epoch", [0.0, 4.0]), number_axis("loss", [0.0, 1.0])
    svg = parsed(line_chart(x, y, [Mark([(0.0, 0.0), (2.0, 1.0), None, (4.0, 0.0)], "run"), Mark([None], "empty")]))
    (line,) = (path for path in svg.iter("path") if path.get("class") == "l")
    assert line.get("d") == "M66 184h0L196 16M326 184h0"


def test_bars_are_as_long_as_their_shares() -> None:
    svg = parsed(bar_chart("importance", [("rate", 0.75), ("<units>", 0.25)]))
    widths = [float(bar.get("width") or 0) for bar in svg.iter("rect")]
    assert widths == [292.0, pytest.approx(292 / 3, abs=0.1)]  # 340 less 48
    assert [text.text for text in svg.iter("text")] == ["rate", "75%", "<units>", "25%"]
    assert parsed(bar_chart("importance", [("rate", 0.0)])).find("rect") is not None


def test_long_texts_end_early() -> None:
    assert shortened("abcdef", 6) == "abcdef" and shortened("abcdefg", 6) == "abcde…"


def test_whole_numbers_have_no_exponent() -> None:
    assert labels(number_axis("price", [0, 500_000])) == ["0", "100000", "200000", "300000", "400000", "500000"]
    assert labels(number_axis("price", [0, 5e7]))[1] == "1e+07"


def test_columns_stand_on_0() -> None:
    x, y = number_axis("error", [0, 1, 2]), number_axis("rows", [0, 4])
    svg = column_chart(x, y, [(0, 1, 4), (1, 2, 1)])
    first, second = parsed(svg).findall(".//rect[@class='bar']")
    heights = [float(rect.get("height", "")) for rect in (first, second)]
    bottoms = [float(rect.get("y", "")) + float(rect.get("height", "")) for rect in (first, second)]
    assert heights[0] == pytest.approx(4 * heights[1], rel=0.01) and bottoms[0] == pytest.approx(bottoms[1], abs=0.2)
    assert [rect.findtext("title") for rect in (first, second)] == ["0 to 1: 4", "1 to 2: 1"]


def test_cells_of_a_matrix_are_as_dark_as_their_share_of_a_row() -> None:
    svg = matrix_chart(["no", "a very long name"], [[3, 1], [0, 0]])
    cells = parsed(svg).findall(".//rect")
    assert [cell.get("fill-opacity") for cell in cells] == ["0.75", "0.25", "0.02", "0.02"]
    assert cells[1].findtext("title") == "1 of class no predicted as a very long name, 25.0% of the class"
    texts = [element.text for element in parsed(svg).findall(".//text")]
    assert {"3", "1"} < set(texts) and "0" not in texts and "a very …" in texts


def test_values_below_0_have_no_bar() -> None:
    bars = parsed(value_chart("importance", [("a", 2.0, "2", "a: 2"), ("b", -1.0, "-1", "b: -1")])).findall(".//rect")
    assert float(bars[0].get("width", "")) > 200 and bars[1].get("width") == "1.0"
    assert parsed(value_chart("nothing", [("a", 0.0, "0", "a: 0")])).find(".//rect") is not None


def test_a_reference_is_dashed_and_points_are_on_a_line() -> None:
    axis = number_axis("x", [0, 1])
    lines = [Mark([(0, 0), (1, 1)], "chance", is_reference=True), Mark([(0, 0.5)], "curve")]
    svg = parsed(line_chart(axis, axis, lines, [Mark([(0, 0.5)], "best", is_best=True)]))
    assert [path.get("class") for path in svg.findall("path") if path.get("class", "a")[0] == "l"] == ["lr", "l"]
    assert [circle.findtext("title") for circle in svg.findall(".//circle")] == ["best"]


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (39163.55, 4, "39,164"), (1234567.0, 4, "1,234,567"), (0.012345, 4, "0.01235"), (2.5, 4, "2.5"), (3.0, 4, "3"),
        (100.0, 4, "100"), (-0.5, 4, "-0.5"), (0.0, 4, "0"), (1.23456e-7, 4, "1.235e-07"), (1e20, 4, "1e+20"),
        (12.3456789, 6, "12.3457"), (999.96, 4, "1,000"), (math.nan, 4, "undefined"), (math.inf, 4, "∞"),
    ],
)  # fmt: skip
def test_readable_numbers(value: float, digits: int, expected: str) -> None:
    assert readable(value, digits) == expected
