from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrun import cli
from tfrun.config.settings import Settings
from tfrun.engine.experiment import _has_more_to_do
from tfrun.engine.recording import progress
from tfrun.errors import ResourceError
from tfrun.files import checkpoints

PATIENCE_SECONDS = 20.0
STEPS_PER_EPOCH = 11


def train(root: Path, *words: str) -> int:
    """Trains the data set that ships, in this process, saving after each epoch; returns the exit code."""
    short = ["trainer.compile=graph", "trainer.deterministic=false", "checkpoint.every_epochs=1", "checkpoint.keep=9"]
    return cli.main([f"output_root={root}", *short, *words])


def read_run(root: Path) -> dict[str, Any]:
    (path,) = root.glob("outputs/default/*/run.json")
    return json.loads(path.read_text())


def lines(root: Path) -> list[bytes]:
    (path,) = root.glob("outputs/default/*/metrics.jsonl")
    return path.read_bytes().splitlines()


def saved_steps(root: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in root.glob("outputs/default/*/checkpoints/*"))


@pytest.fixture
def on_saving(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], None]], None]:
    """Has a function called with each checkpoint's step, in the background, before it is written."""
    save = checkpoints.save

    def call(function: Callable[[int], None]) -> None:
        def called(folder: Path, step: int, **rest: Any) -> Path:
            function(step)
            return save(folder, step, **rest)

        monkeypatch.setattr(checkpoints, "save", called)

    return call


def test_a_step_is_told_when_its_checkpoint_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_saving: Callable[..., None]
) -> None:
    """A disk so slow that the next epoch is trained while the second checkpoint is written."""
    two, three = 2 * STEPS_PER_EPOCH, 3 * STEPS_PER_EPOCH
    told: dict[int, tuple[int, list[int], int]] = {}
    next_epoch_is_over = threading.Event()
    update = progress.Display.update

    def shown(self: progress.Display, step: int, *rest: Any) -> None:
        update(self, step, *rest)
        if step == three:
            next_epoch_is_over.set()

    def wait(step: int) -> None:
        if step == two:
            assert next_epoch_is_over.wait(PATIENCE_SECONDS)
        told[step] = read_run(tmp_path)["step"], saved_steps(tmp_path), len(lines(tmp_path))

    monkeypatch.setattr(progress.Display, "update", shown)
    on_saving(wait)
    assert train(tmp_path, "trainer.max_epochs=3") == 0
    # what run.json tells, which checkpoints are there and how many epochs are in the journal before each is saved
    assert told[STEPS_PER_EPOCH] == (0, [], 1)
    assert told[two] == (STEPS_PER_EPOCH, [STEPS_PER_EPOCH], 2)  # without the third, which is over
    assert told[three] == (three, [STEPS_PER_EPOCH, two, three], 3)  # the last one, at the end once more
    assert read_run(tmp_path)["step"] == three
    assert (read_run(tmp_path)["status"], len(lines(tmp_path))) == ("completed", 4)


@pytest.mark.parametrize(("refused", "exit_code"), [([2], 0), ([2, 3, 4], ResourceError.exit_code)])
def test_a_checkpoint_that_the_disk_refuses_is_tried_again(
    refused: list[int], exit_code: int, tmp_path: Path, on_saving: Callable[..., None]
) -> None:
    def refuse(step: int) -> None:
        if step // STEPS_PER_EPOCH in refused:
            raise ResourceError("No space left on device")

    on_saving(refuse)
    assert train(tmp_path, "trainer.max_epochs=4") == exit_code
    run = read_run(tmp_path)
    saved = [k * STEPS_PER_EPOCH for k in range(1, 5) if k not in refused]
    assert saved_steps(tmp_path) == saved
    assert (run["status"], run["step"]) == ("completed" if exit_code == 0 else "failed", saved[-1])
    if exit_code:  # it goes on from what is there
        on_saving(lambda step: None)
        assert cli.main(["resume", str(next(tmp_path.glob("outputs/default/*")))]) == 0
        assert len(lines(tmp_path)) == 4 + 1


def test_a_step_that_diverged_is_told_once_its_state_is_saved(tmp_path: Path, on_saving: Callable[..., None]) -> None:
    asked: list[int] = []
    on_saving(asked.append)
    assert train(tmp_path, "optimizer=sgd", "optimizer.learning_rate=1e30", "checkpoint.every_epochs=null") == 4
    run = read_run(tmp_path)
    assert run["status"] == "diverged" and f"The weights of step {run['step']} are saved" in run["error"]["message"]
    assert asked == saved_steps(tmp_path) == [run["step"]]


@pytest.mark.parametrize(
    ("words", "ended_by", "more"),
    [
        (["trainer.max_epochs=3"], "last step", False),
        (["trainer.max_epochs=4"], "last step", True),
        (["trainer.max_epochs=4", "trainer.max_steps=30"], "last step", False),
        (["trainer.max_epochs=null", "trainer.max_steps=31"], "last step", True),
        (["trainer.max_epochs=null", "trainer.max_seconds=9"], "max_seconds", True),
        # only the state knows whether early stopping is over
        (["trainer.max_epochs=9", "early_stopping.patience=2"], "early stopping", True),
    ],
)
def test_what_a_completed_run_has_left_to_do(
    settings: Callable[..., Settings], words: list[str], ended_by: str, more: bool
) -> None:
    before = {"epoch": 3, "step": 30, "engine": {"ended_by": ended_by}}
    assert _has_more_to_do(settings(*words), before) is more


def test_what_the_same_bits_depend_on_is_told_where_it_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, "trainer.max_epochs=1")
    (path,) = tmp_path.glob("outputs/default/*/run.json")
    run = json.loads(path.read_text())
    run["versions"]["tensorflow"], run["engine"]["devices"] = "2.20.0", "GPU:0"
    path.write_text(json.dumps(run))
    capsys.readouterr()
    assert cli.main(["resume", str(path.parent), "trainer.max_epochs=2"]) == 0
    said = capsys.readouterr().out
    assert "warning: tensorflow 2.20.0, now 2." in said and "warning: devices GPU:0, now CPU:0" in said
    assert cli.main(["resume", str(path.parent), "trainer.max_epochs=3"]) == 0
    assert "warning" not in capsys.readouterr().out


def test_float16_on_a_cpu_is_told_to_be_slower(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, "trainer.max_epochs=1", "strategy=cpu", "trainer.precision=mixed_float16") == 0
    assert "warning: trainer.precision: a CPU computes mixed_float16 in float32" in capsys.readouterr().out
