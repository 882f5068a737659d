from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tfrun.commands.reproduced_part import Part, part_of
from tfrun.errors import CheckpointError, ConfigError
from tfrun.files.provenance.record import Provenance
from tfrun.files.runs import RunFolder

CONFIG: dict[str, Any] = {"trainer": {"max_epochs": 4}, "early_stopping": {"patience": 9}}
ENDED = {"status": "completed", "step": 20, "engine": {"ended_by": "last step"}, "overrides": ["seed=1"]}


@pytest.fixture
def part(tmp_path: Path, settings: Callable[..., Any]) -> Callable[..., Part]:
    """Returns the part of a run of four epochs of five steps."""
    folder = RunFolder(tmp_path)
    lines = [{"epoch": epoch, "step": 5 * epoch, "val/loss": 1.0} for epoch in range(1, 5)]
    lines.append({"epoch": 4, "step": 20, "test/loss": 1.0})
    folder.metrics_jsonl.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text("trainer: {max_epochs: 2}\nearly_stopping: {patience: 3}\n")

    def call(
        *words: str,
        epochs: int | None = None,
        records: tuple[Provenance, ...] = (),
        config: Any = CONFIG,
        **changes: Any,
    ) -> Part:
        return part_of(
            folder,
            {**ENDED, **changes},
            config=config,
            settings=settings(*words),
            records=records,
            epochs=epochs,
        )

    return call


def resumed(step: int, *words: str, at: str = "2026-01-01T00:00:10+00:00") -> dict[str, Any]:
    return {"at": at, "step": step, "overrides": list(words)}


COSINE = ("optimizer=adam", "optimizer.schedule=cosine")


def test_a_run_that_has_completed_or_diverged_is_whole(part: Callable[..., Part]) -> None:
    assert part() == Part(CONFIG)
    assert part(status="diverged") == Part(CONFIG)


def test_a_run_that_ended_at_a_moment_is_compared_up_to_its_step(part: Callable[..., Part]) -> None:
    assert part(status="stopped", step=7) == Part(CONFIG, 7, "was stopped")
    assert part(status="running", step=7) == Part(CONFIG, 7, "was killed")
    assert part(status="pruned", step=7) == Part(CONFIG, 7, "was pruned")
    assert part(status="failed", step=7) == Part(CONFIG, 7, "failed")
    timed = part(engine={"ended_by": "max_seconds"})
    assert timed == Part(CONFIG, 20, "was ended by trainer.max_seconds")
    with pytest.raises(CheckpointError, match="nothing to compare"):
        part(status="stopped", step=0)


def test_a_longer_run_is_whole_unless_its_schedule_ends_with_it(part: Callable[..., Part]) -> None:
    longer = [resumed(10, "trainer.max_epochs=4", "tags=[x]", "logger=null")]
    assert part(resumed=longer) == Part(CONFIG)
    found = part(*COSINE, resumed=longer)
    assert found.until_step == 10 and found.why == "was resumed with other values: trainer.max_epochs"
    assert found.config["trainer"]["max_epochs"] == 2
    assert CONFIG["trainer"]["max_epochs"] == 4
    assert part(*COSINE, resumed=[resumed(10, "tags=[x]"), resumed(15)]) == Part(CONFIG)


def test_another_patience_ends_what_can_be_compared(part: Callable[..., Part]) -> None:
    found = part(resumed=[resumed(5), resumed(10, "early_stopping.patience=9"), resumed(15, "early_stopping=null")])
    assert (found.until_step, found.config["early_stopping"]) == (10, {"patience": 3})
    # a job that its sweep resumes has all its overrides again
    again = part(overrides=["early_stopping.patience=9"], resumed=[resumed(10, "early_stopping.patience=9")])
    assert again == Part(CONFIG)


def test_values_of_before_that_are_not_known(part: Callable[..., Part], tmp_path: Path) -> None:
    (tmp_path / ".hydra" / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match="those before aren't known"):
        part(*COSINE, resumed=[resumed(10, "trainer.max_epochs=4")])


def test_other_code_ends_what_can_be_compared(part: Callable[..., Part]) -> None:
    first = Provenance(
        file=Path("/x"),
        at="2026-01-01T00:00:00+00:00",
        folder="/p",
        tfrun={"version": "1", "folder": "/t", "git": None},
        git=None,
        python={"version": "3"},
        packages={},
        machine={"cores": 2},
        environment={},
        files=(),
        has_configs=False,
        left_out=(),
    )
    later = replace(first, at="2026-01-01T00:00:05+00:00", tfrun={**first.tfrun, "version": "2"})
    resumes = [resumed(5, at="2026-01-01T00:00:02+00:00"), resumed(10, at="2026-01-01T00:00:06+00:00")]
    found = part(records=(first, later), resumed=resumes)
    assert (found.until_step, found.why) == (10, "was resumed with other code")
    elsewhere = replace(later, tfrun=first.tfrun, machine={"cores": 4})
    assert part(records=(first, elsewhere), resumed=resumes) == Part(CONFIG)
    assert part(records=(first, later), resumed=[resumed(10, at="when?")]) == Part(CONFIG)


def test_epochs(part: Callable[..., Part]) -> None:
    assert part(epochs=1) == Part(CONFIG, 5, "is compared up to epoch 1, as asked")
    assert part(epochs=4) == Part(CONFIG)
    assert part(epochs=3, status="stopped", step=12).until_step == 12
    for epochs in (5, 100):
        with pytest.raises(ConfigError, match=f"the run has 4 whole epochs. Received: {epochs}"):
            part(epochs=epochs)


def test_a_copied_state_is_no_function_of_the_config(part: Callable[..., Part]) -> None:
    with pytest.raises(ConfigError, match="its sweep has copied the state of s/3 into it, at epoch 4"):
        part(branch={"run_id": "s/3", "epoch": 4, "step": 20})
