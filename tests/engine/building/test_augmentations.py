"""The augmentations of a config: which inputs they change, and those that are refused."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from tfrun.engine.building import reuse
from tfrun.errors import ConfigError

DIGITS = ("data=digits", "loss=sparse_categorical_crossentropy", "metric=accuracy", "model=mlp")


def test_without_augmentations_nothing_changes_batches(small: Any) -> None:
    pieces = small.pieces()
    assert pieces.parts.step.options.augmenter is None
    assert not any(slot.startswith("augmentation") for slot in pieces.state().describe())


def test_the_seed_is_part_of_the_state_and_numbers_are_inputs(small: Any) -> None:
    pieces = small.pieces(*DIGITS, "seed=7", "data.augment=[{name: cutout, size: 0.5}, random_flip]")
    (seed,) = pieces.parts.step.options.augmenter.variables
    assert int(seed.numpy()) == 7 and seed.dtype == "int64"
    assert any(slot.startswith("augmentation") for slot in pieces.state().describe())
    assert pieces.parts.inputs.read()["data.augment.0.size"] == 0.5
    other = small.pieces(*DIGITS, "data.augment=[{name: cutout, size: 0.2}, random_flip]")
    third = small.pieces(*DIGITS, "data.augment=[{name: cutout, size: 0.5}]")
    assert pieces.structure(streams=False) == other.structure(streams=False) != third.structure(streams=False)


def test_encoded_rows_are_kept_for_other_augmentations(small: Any) -> None:
    kept = reuse.Reuse()
    settings = [small.settings(*DIGITS, f"data.augment={augment}") for augment in ("[]", "[random_flip]")]
    table = small.table(*DIGITS)
    first, second = (kept.build_pieces(of_run, small.catalog, table=table) for of_run in settings)
    assert first.examples is second.examples


def test_noise_changes_numbers_and_no_ids(small: Any) -> None:
    pieces = small.pieces("data.augment=[{name: noise, deviation: 1.0}]")
    examples = pieces.examples
    data = tf.nest.map_structure(tf.convert_to_tensor, examples.arrays)
    batch = pieces.parts.step.options.augmenter.batch(data, tf.range(8), tf.constant(0, tf.int64))
    assert (batch.x["numbers"].numpy() != examples.inputs["numbers"][:8]).all()
    assert (batch.x["categories"].numpy() == examples.inputs["categories"][:8]).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.augment=[random_flip]"], r"data\.augment\.0: random_flip needs images, .* Received: age, bmi, bp"),
        (
            ["data.augment=[noise,mixup]"],
            r"data\.augment\.1: mixup .* can't mix some of its inputs\. Received: categories",
        ),
        (
            [*DIGITS, "data.augment=[{name: random_crop, padding: 8}]"],
            r"random_crop refuses the inputs: padding must be",
        ),
        (
            [*DIGITS, "data.augment=[{name: random_flip, column: imge}]"],
            r"column: .* Known: image\. Did you mean 'image'",
        ),
        ([*DIGITS, "data.augment=[{name: random_flip, horizontal: false}]"], r"random_flip refuses its parameters"),
    ],
)
def test_an_augmentation_that_does_not_fit_is_refused(small: Any, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small.pieces(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["data.augment=[random_flop]"],
            r"data\.augment\.0\.name: unknown augmentation\. .* Did you mean 'random_flip'",
        ),
        (["data.augment=[{padding: 2}]"], r"data\.augment\.0\.name: must be given"),
        (["data.augment=[{name: random_crop, pading: 2}]"], r"data\.augment\.0\.pading: unknown key"),
        (["data.augment=[{name: noise, deviation: -1}]"], r"data\.augment\.0\.deviation: must be a finite number >= 0"),
        (["data.augment=random_flip"], r"data\.augment: must be a list"),
        (
            ["algorithm=reconstruct", "metric=none", "data.augment=[mixup]"],
            r"data\.augment\.0: .* algorithm=reconstruct",
        ),
        (["data.augment=[{name: mixup, column: bmi}]"], r"data\.augment\.0\.column: mixup mixes whole rows"),
    ],
)
def test_mistakes_are_found_before_data_are_read(small: Any, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small.settings(*words)
