"""The warnings before a run's first step."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import pytest
from rich.console import Console

from tfrun.engine.run_warnings import warnings_of

WORDS = ("strategy=cpu", "trainer.precision=mixed_float16")
SLOW = "trainer.precision: a CPU computes mixed_float16 in float32"


@pytest.fixture(autouse=True)
def _restore_float32() -> Iterator[None]:
    yield
    keras.config.set_dtype_policy("float32")


def test_warnings_of_the_model_come_before_those_of_the_data(small: Any) -> None:
    pieces = small.pieces()
    pieces = replace(
        pieces,
        parts=replace(pieces.parts, warnings=("of the model",)),
        examples=replace(pieces.examples, warnings=("of the data",)),
    )
    lines = list(warnings_of(pieces, small.settings(*WORDS)))
    assert lines[0].startswith(SLOW) and lines[1:] == ["of the model", "of the data"]


def test_a_run_prints_them(small: Any) -> None:
    out = io.StringIO()
    small.train("trainer.max_epochs=1", *WORDS, console=Console(file=out, width=200))
    assert f"warning: {SLOW}" in out.getvalue()
