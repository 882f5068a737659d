"""Pictures, decoded and looked at pixel by pixel."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tfrun.engine.recording import images


def pixels(png: bytes) -> np.ndarray:
    """Returns (height, width, 3) uint8."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_a_confusion_matrix_is_darker_where_more_of_a_row_lies() -> None:
    picture = pixels(images.confusion_matrix(np.array([[3, 1], [0, 0]]), ["cat", "dog"]))
    assert picture.shape == (90 + 2 * 56, 90 + 2 * 56, 3)

    def shade(i: int, j: int) -> int:
        return int(picture[90 + i * 56 + 3, 90 + j * 56 + 3, 0])  # near the corner of a cell

    assert [shade(0, 0), shade(0, 1)] == [255 - round(205 * 0.75), 255 - round(205 * 0.25)]
    assert [shade(1, 0), shade(1, 1)] == [255, 255]  # a class without rows


def test_a_large_confusion_matrix_has_small_cells() -> None:
    picture = pixels(images.confusion_matrix(np.eye(100), [str(k) for k in range(100)]))
    assert picture.shape == (90 + 100 * 12, 90 + 100 * 12, 3)


def test_images_are_scaled_from_black_to_white() -> None:
    picture = pixels(images.image_grid(np.array([[[0.0, 1.0], [2.0, 4.0]]])))
    assert picture.shape == (66, 66, 3)  # 2 × 2 pixels, enlarged 32 times, with a margin of one
    assert [int(picture[1 + 32 * i, 1 + 32 * j, 0]) for i in (0, 1) for j in (0, 1)] == [0, 64, 128, 255]


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (4, (2, 2)), (5, (2, 3)), (64, (8, 8))])
def test_images_stand_in_rows(count: int, shape: tuple[int, int]) -> None:
    picture = pixels(images.image_grid(np.zeros((count, 64, 64))))
    assert picture.shape[:2] == (66 * shape[0], 66 * shape[1])


def test_images_may_have_colors() -> None:
    picture = pixels(images.image_grid(np.array([[[[0.0, 0.5, 1.0]]]])))
    assert picture[1, 1].tolist() == [0, 128, 255]


def test_small_images_share_black_and_white() -> None:
    dark, bright = images.small_images(np.array([[[0.0, 2.0]], [[1.0, 4.0]]]))
    assert pixels(dark)[0, :, 0].tolist() == [0, 128] and pixels(bright)[0, :, 0].tolist() == [64, 255]
    (colored,) = images.small_images(np.array([[[[0.0, 1.0, 0.5]]]]))
    assert pixels(colored).tolist() == [[[0, 255, 128]]]
    (gray,) = images.small_images(np.array([[[[0.0], [1.0]]]]))
    assert pixels(gray)[0, :, 0].tolist() == [0, 255]


def test_large_images_are_made_small() -> None:
    (png,) = images.small_images(np.zeros((1, 300, 150, 3)))
    assert pixels(png).shape == (64, 32, 3)


def test_wrong_labels_are_red() -> None:
    square = images.small_images(np.array([np.eye(8), np.eye(8)]))
    picture = pixels(images.labeled_images(square, [("cat", "cat"), ("cat", "dog")]))
    assert picture.shape[1] == 2 * images.LABELED_PIXELS
    red = (picture[..., 0] > 200) & (picture[..., 1:] < 60).all(axis=2)
    assert not red[:, : images.LABELED_PIXELS].any() and red[:, images.LABELED_PIXELS :].any()
