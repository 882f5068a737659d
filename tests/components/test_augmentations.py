"""Each augmentation, against the same in NumPy, with draws that are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, stats

from tfrun.components.augmentations.color import RandomBrightness, RandomContrast
from tfrun.components.augmentations.cutting import Cutout
from tfrun.components.augmentations.geometry import RandomCrop, RandomFlip, RandomRotate, RandomShift
from tfrun.components.augmentations.mixing import Cutmix, Mixup
from tfrun.components.augmentations.noise import Noise

IMAGES = np.random.default_rng(0).uniform(size=(3, 6, 5, 2)).astype("float32")


class Known:
    """Draws that are given, one list for each call."""

    def __init__(self, *numbers: Any):
        self.numbers = [np.asarray(of_call, "float32") for of_call in numbers]

    def uniform(self, *shape: int) -> tf.Tensor:
        return tf.reshape(self.numbers.pop(0), [-1, *shape])

    normal = uniform


def test_flips_mirror_the_images_whose_number_is_below_a_half() -> None:
    flip = RandomFlip(horizontal=True, vertical=True)
    flipped = flip(tf.constant(IMAGES), Known([0.2, 0.7, 0.49], [0.9, 0.5, 0.1])).numpy()
    expected = [IMAGES[0, :, ::-1], IMAGES[1], IMAGES[2, ::-1, ::-1]]
    np.testing.assert_array_equal(flipped, expected)
    with pytest.raises(ValueError, match="horizontal or vertical must be true"):
        RandomFlip(horizontal=False)


@pytest.mark.parametrize(("fill", "mode"), [("zero", "constant"), ("edge", "edge"), ("reflect", "reflect")])
def test_a_crop_is_cut_out_of_a_padded_image(fill: Any, mode: Any) -> None:
    down, right = [0.0, 0.5, 0.999], [0.4, 0.21, 0.79]  # of 5 places each: -2, 0, 2 and 0, -1, 1
    cropped = RandomCrop(padding=2, fill=fill)(tf.constant(IMAGES), Known(down, right)).numpy()
    padded = np.pad(IMAGES, [(0, 0), (2, 2), (2, 2), (0, 0)], mode=mode)
    # moved down by 2 is cut at the top of the padding
    expected = [padded[0, 4:10, 2:7], padded[1, 2:8, 3:8], padded[2, 0:6, 1:6]]
    np.testing.assert_array_equal(cropped, expected)


def test_a_crop_must_have_something_left_of_the_image() -> None:
    with pytest.raises(ValueError, match="padding must be smaller than the image, 6 x 5 pixels"):
        RandomCrop(padding=5)(tf.constant(IMAGES), Known([0], [0]))


def test_a_shift_is_a_share_of_height_and_width() -> None:
    # at most 2 rows (0.3 of 6, rounded) and 1 column (0.2 of 5)
    shifted = RandomShift(height=0.3, width=0.2)(tf.constant(IMAGES), Known([0.0, 0.5, 0.99], [0.99, 0.5, 0.0])).numpy()
    expected = np.zeros_like(IMAGES)
    expected[0, :4, 1:], expected[1], expected[2, 2:, :4] = IMAGES[0, 2:, :4], IMAGES[1], IMAGES[2, :4, 1:]
    np.testing.assert_array_equal(shifted, expected)


def test_a_quarter_turn_is_exact() -> None:
    squares = IMAGES[:, :5]
    turned = RandomRotate(degrees=90.0)(tf.constant(squares), Known([1.0, 0.5, 0.0])).numpy()
    expected = [np.rot90(squares[0]), squares[1], np.rot90(squares[2], -1)]
    np.testing.assert_allclose(turned, expected, atol=1e-5)


@pytest.mark.parametrize(("fill", "mode"), [("zero", "grid-constant"), ("edge", "nearest")])
def test_a_rotation_interpolates_between_pixels(fill: Any, mode: str) -> None:
    turned = RandomRotate(degrees=30.0, fill=fill)(tf.constant(IMAGES), Known([0.9, 0.1, 0.6])).numpy()
    for k, degrees in enumerate([24, -24, 6]):
        angle = np.deg2rad(degrees)
        down, right = np.meshgrid(np.arange(6) - 2.5, np.arange(5) - 2.0, indexing="ij")
        places = [2.5 + right * np.sin(angle) + down * np.cos(angle), 2 + right * np.cos(angle) - down * np.sin(angle)]
        for channel in range(2):
            expected = ndimage.map_coordinates(IMAGES[k, ..., channel], places, order=1, mode=mode)
            np.testing.assert_allclose(turned[k, ..., channel], expected, atol=1e-5)


def test_brightness_and_contrast() -> None:
    numbers = np.array([0.0, 0.5, 1.0], "float32")
    brighter = RandomBrightness(amount=0.3)(tf.constant(IMAGES), Known(numbers)).numpy()
    np.testing.assert_allclose(brighter, IMAGES + np.array([-0.3, 0, 0.3], "float32")[:, None, None, None], atol=1e-6)
    contrasted = RandomContrast(amount=0.5)(tf.constant(IMAGES), Known(numbers)).numpy()
    mean = IMAGES.mean(axis=(1, 2), keepdims=True)
    expected = (IMAGES - mean) * np.array([0.5, 1, 1.5], "float32")[:, None, None, None] + mean
    np.testing.assert_allclose(contrasted, expected, atol=1e-6)


def test_cutout_sets_a_box_around_a_pixel() -> None:
    # half of 6 and of 5 pixels: 3 rows and 2 columns, as 2.5 is rounded to the even number
    cut = Cutout(size=0.5, value=0.5)(tf.constant(IMAGES), Known([0.5, 0.0, 0.99], [0.5, 0.0, 0.99])).numpy()
    expected = IMAGES.copy()
    expected[0, 2:5, 1:3] = expected[1, :2, :1] = expected[2, 4:, 3:] = 0.5
    np.testing.assert_array_equal(cut, expected)


def test_mixup_is_a_weighted_mean() -> None:
    others = IMAGES[::-1].copy()
    mixed, share = Mixup(alpha=1.0)(tf.constant(IMAGES), tf.constant(others), Known([0.25, 0.5, 1 - 2**-24]))
    np.testing.assert_allclose(share, [0.25, 0.5, 1], atol=1e-6)
    weights = np.array([0.25, 0.5, 1], "float32")[:, None, None, None]
    np.testing.assert_allclose(mixed, weights * IMAGES + (1 - weights) * others, atol=1e-6)
    rows, _ = Mixup(alpha=1.0)(tf.constant([[4.0, 0.0]]), tf.constant([[0.0, 8.0]]), Known([0.75]))
    np.testing.assert_allclose(rows, [[3, 2]])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_have_a_beta_distribution(alpha: float) -> None:
    numbers = np.linspace(0, 1, 50_000, endpoint=False)
    zeros = tf.zeros([len(numbers), 1])
    _, share = Mixup(alpha=alpha)(zeros, zeros, Known(numbers))
    inside = slice(100, -100)  # the outermost thousandth is linear too
    np.testing.assert_allclose(share[inside], stats.beta.ppf(numbers[inside], alpha, alpha), atol=0.01)
    np.testing.assert_allclose([np.mean(share), np.var(share)], [0.5, stats.beta.var(alpha, alpha)], atol=1e-3)


def test_cutmix_replaces_a_box_and_counts_what_it_replaced() -> None:
    others = np.zeros_like(IMAGES)
    # λ = 0.75, so that the box has half of the height and width: 3 x 2.5; λ = 1 replaces nothing
    draws = Known([0.75, 0.75, 1 - 2**-24], [0.5, 0.0, 0.5], [0.5, 0.0, 0.5])
    mixed, share = Cutmix(alpha=1.0)(tf.constant(IMAGES), tf.constant(others), draws)
    expected = IMAGES.copy()
    expected[0, 1:4, 1:3] = 0  # rows 1.5 to 4.5 and columns 1.25 to 3.75, cut to whole pixels
    expected[1, 0:1, 0:1] = 0
    np.testing.assert_array_equal(mixed, expected)
    np.testing.assert_allclose(share, [1 - 6 / 30, 1 - 1 / 30, 1], atol=1e-6)


def test_noise_has_its_deviation() -> None:
    numbers = np.arange(6).reshape(3, 2)
    noisy = Noise(deviation=0.5)(tf.ones([3, 2]), Known(numbers)).numpy()
    np.testing.assert_allclose(noisy, 1 + 0.5 * numbers)


MAKE: list[Callable[[], Any]] = [
    RandomFlip, RandomCrop, RandomShift, RandomRotate, RandomBrightness, RandomContrast, Cutout, Mixup, Cutmix, Noise,
]  # fmt: skip


@pytest.mark.parametrize("make", MAKE)
def test_the_contract_is_kept(make: Callable[[], Any]) -> None:
    from tfrun.engine.verify import contracts

    assert [finding for finding in contracts.check("augmentation", make) if not finding.kept] == []
