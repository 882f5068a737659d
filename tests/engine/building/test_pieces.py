from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from tfrun import cli
from tfrun.config.settings import Settings
from tfrun.engine.building import pieces
from tfrun.engine.building.parts import build_parts
from tfrun.engine.building.pieces import make_plan


@pytest.mark.parametrize(
    ("limits", "last_step"),
    [
        (["max_epochs=3"], 33),
        (["max_epochs=null", "max_steps=20"], 20),
        (["max_epochs=3", "max_steps=20"], 20),
        (["max_epochs=3", "max_steps=40"], 33),
        (["max_epochs=null", "max_seconds=1.5"], sys.maxsize),
    ],
)
def test_the_nearest_limit_counts(settings: Callable[..., Settings], limits: list[str], last_step: int) -> None:
    chosen = settings(*(f"trainer.{limit}" for limit in limits))
    plan = make_plan(chosen, steps_per_epoch=11)
    assert (plan.last_step, plan.steps_per_epoch) == (last_step, 11)
    assert plan.max_seconds == chosen.trainer.max_seconds


def test_cadences(settings: Callable[..., Settings]) -> None:
    words = ["checkpoint.every_epochs=2", "checkpoint.every_steps=15", "checkpoint.every_seconds=null"]
    plan = make_plan(settings(*words, "logger.every_steps=100"), steps_per_epoch=11)
    assert sorted(plan.save_every_steps) == [15, 22]
    assert (plan.save_every_seconds, plan.log_every_steps) == (None, 100)
    plan = make_plan(settings("logger=null"), steps_per_epoch=11)
    assert (plan.save_every_steps, plan.save_every_seconds, plan.log_every_steps) == ((), 60.0, None)


def trial(root: Path, *overrides: str) -> tuple[str, int]:
    """Runs a command in this process; returns its metrics and how often the program that it leaves was traced."""
    before = set(root.glob("outputs/*/*"))
    words = ["model=wide_deep", "loss=huber", "trainer.max_epochs=3", "trainer.compile=xla", f"output_root={root}"]
    assert cli.main([*words, *overrides]) == 0
    (made,) = set(root.glob("outputs/*/*")) - before
    return (made / "metrics.jsonl").read_text(), len(pieces._kept[0].program.traces.reasons["block, xla_loop"])


def test_a_second_trial_of_the_same_structure_is_the_same_program(tmp_path: Path) -> None:
    clip = "optimizer.groups.deep.clip_norm"
    words = [f"{clip}=5.0", "optimizer.groups.deep.schedule.name=cosine"]
    others = [f"{clip}=0.1", "optimizer.groups.deep.beta_1=0.8", "optimizer.groups.deep.schedule.final=0.5"]
    again = [
        *words,
        *others,
        "loss.delta=0.3",
        "seed=7",
        "trainer.max_epochs=4",
        "optimizer.groups.wide.learning_rate=0.1",
    ]
    pieces._kept.clear()
    first, traces = trial(tmp_path, *words)
    assert traces == 1
    program = pieces._kept[0].program
    second, traces = trial(tmp_path, *again)
    assert pieces._kept[0].program is program and traces == 1
    assert trial(tmp_path, *words) == (first, 1)  # nothing of the second is left
    assert second.splitlines()[0] != first.splitlines()[0]

    pieces._kept.clear()  # as in a process of its own
    assert trial(tmp_path, *again) == (second, 1)

    trial(tmp_path, *again, "model.hidden_units=[5]")
    assert pieces._kept[0].program is not program
    with pytest.raises(AssertionError, match="start"):
        _ = program.feed  # a program that is kept keeps no examples


def test_what_differs_in_learning_rates_alone_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rate, built = "optimizer.groups.{}.learning_rate={}", 0

    def build(*args: Any) -> Any:
        nonlocal built
        built += 1
        return build_parts(*args)

    monkeypatch.setattr(pieces, "build_parts", build)
    words = ["optimizer.groups.deep.schedule.name=cosine", "model.dropout=0.2", "loss.delta=0.5"]
    rates = [rate.format("deep", 0.003), rate.format("wide", 0.1)]
    pieces._kept.clear()
    first, _ = trial(tmp_path, *words)
    assert trial(tmp_path, *words) == (first, 1) and built == 2  # the second one's beginning is kept
    found, _ = trial(tmp_path, *words, *rates)
    assert found != first
    assert trial(tmp_path, *words) == (first, 1) and built == 2  # nothing of the other rates is left
    for differs in ("seed=3", "loss.delta=0.4", "data.validation_split=0.3"):
        trial(tmp_path, *words, differs)
    assert built == 5

    pieces._kept.clear()  # as in a process of its own
    assert trial(tmp_path, *words, *rates) == (found, 1)


def test_beginnings_are_kept_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "BEGINNINGS_BYTES", 1000)
    kept = pieces.Kept("", cast(Any, None), cast(Any, None), {}, {})
    for key, size in (("a", 100), ("b", 100), ("c", 100), ("d", 50), ("e", 300)):
        kept.remember(key, pieces.Beginning({"model/0": np.zeros(size, np.float32)}, {}, ((), ())))
    assert list(kept.beginnings) == []  # the last one alone is too large
    for key, size in (("a", 100), ("b", 100), ("c", 100)):
        kept.remember(key, pieces.Beginning({"model/0": np.zeros(size, np.float32)}, {}, ((), ())))
    assert list(kept.beginnings) == ["b", "c"]
