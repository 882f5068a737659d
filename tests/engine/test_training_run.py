"""A run in its folder: how it starts, resumes, pauses and ends."""

from __future__ import annotations

import contextlib
import io
import logging
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from tfrun.engine import training_run
from tfrun.engine.building.alone import drive_alone
from tfrun.engine.building.reuse import Reuse
from tfrun.engine.training_run import RunOptions
from tfrun.errors import ConfigError, DivergedError, FolderInUseError, Interrupted
from tfrun.files import checkpoints, runs
from tfrun.files.runs import RunFolder

PER_EPOCH = 6  # steps of the small run


def console() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=200), out


def test_a_completed_run_leaves_its_files(small: Any) -> None:
    out, text = console()
    folder = small.train(console=out, overrides=["seed=1"], import_seconds=2.5)
    run = folder.read_run()
    assert (run["status"], run["step"], run["epoch"]) == ("completed", 2 * PER_EPOCH, 2)
    assert (run["overrides"], run["timing"]["import_seconds"]) == (["seed=1"], 2.5)
    assert (run["engine"]["mode"], run["engine"]["ended_by"]) == ("eager", "last step")
    assert run["engine"]["traces"]["evaluation"] == ["first"]
    assert {"train/loss", "val/loss", "test/loss"} <= run["metrics"].keys()
    assert run["timing"]["build_seconds"] > 0 and run["timing"]["train_seconds"] > 0
    assert [line["epoch"] for line in folder.read_metrics()] == [1, 2, 2]
    assert folder.read_preprocessing() and (folder.tensorboard / "train").is_dir()
    assert f"default: completed at step {2 * PER_EPOCH}, epoch 2" in text.getvalue()


def test_a_completed_run_is_not_trained_again(small: Any) -> None:
    folder = small.train()
    out, text = console()
    before = folder.run_json.read_bytes()
    assert small.resume(folder, resume=True, console=out) == 0
    assert f"is completed already, at step {2 * PER_EPOCH}" in text.getvalue()
    assert folder.run_json.read_bytes() == before


def test_a_run_is_continued_if_its_limits_are_raised(small: Any) -> None:
    folder = small.train()
    out, text = console()
    assert small.resume(folder, "trainer.max_epochs=3", resume=True, console=out) == 0
    run = folder.read_run()
    assert (run["step"], run["epoch"]) == (3 * PER_EPOCH, 3)
    assert [entry["step"] for entry in run["resumed"]] == [2 * PER_EPOCH]
    assert "resuming from" in text.getvalue() and "warning" not in text.getvalue()
    assert [line["epoch"] for line in folder.read_metrics()] == [1, 2, 3, 3]


def test_changes_that_may_change_the_last_bits_are_reported(small: Any) -> None:
    folder = small.train("trainer.max_epochs=1")
    run = folder.read_run()
    run["versions"]["tensorflow"], run["engine"]["devices"] = "2.20.0", "GPU:0"
    folder.write_run(run)
    out, text = console()
    small.resume(folder, resume=True, console=out)
    assert "warning: tensorflow 2.20.0, now 2." in text.getvalue()
    assert "warning: devices GPU:0, now CPU:0" in text.getvalue()


def test_a_paused_run_is_resumed(small: Any) -> None:
    folder = small.train("trainer.max_epochs=3", pause_epoch=1)
    run = folder.read_run()
    assert (run["status"], run["step"], run["engine"]["ended_by"]) == ("stopped", PER_EPOCH, "paused")
    assert "test/loss" not in run["metrics"]
    small.resume(folder, "trainer.max_epochs=3", resume=True)
    whole = small.train("trainer.max_epochs=3")
    assert folder.read_metrics() == whole.read_metrics()


def test_a_pruned_run_ends_after_a_block(small: Any) -> None:
    folder = small.train("trainer.max_epochs=9", is_pruned=lambda: True)
    run = folder.read_run()
    assert (run["status"], run["step"]) == ("pruned", 1)
    assert "test/loss" not in run["metrics"]


def test_blocks_and_epochs_are_reported(small: Any) -> None:
    calls: list[tuple[int, int | None, int, bool]] = []

    def report(step: int, last_step: int | None, epoch: int, values: Any, is_epoch: bool) -> None:
        calls.append((step, last_step, epoch, is_epoch))

    small.train(report=report)
    last = 2 * PER_EPOCH
    assert [call for call in calls if call[3]] == [(PER_EPOCH, last, 1, True), (last, last, 2, True)]
    assert calls[0] == (1, last, 0, False)


def test_a_signal_stops_a_run_with_its_state_saved(small: Any) -> None:
    @contextlib.contextmanager
    def stopped(console: Console, folder: RunFolder) -> Iterator[list[int]]:
        yield [signal.SIGTERM]

    settings, folder = small.settings("model=linear", "trainer.compile=eager"), runs.claim(str(small.root), "a")
    options = RunOptions(reuse=Reuse())
    run = training_run.start(
        settings, folder, catalog=small.catalog, table=small.table(), options=options, stopping=stopped
    )
    with pytest.raises(Interrupted, match="stopped by SIGTERM at step 1, its state saved. Resume it with: "):
        drive_alone(run, options.reuse)
    recorded = folder.read_run()
    assert (recorded["status"], recorded["error"]["exit_code"]) == ("stopped", 128 + signal.SIGTERM)
    saved = checkpoints.newest(folder.checkpoints)
    assert saved is not None and saved.step == 1


def test_a_mistake_leaves_no_folder(small: Any) -> None:
    with pytest.raises(ConfigError, match="checkpoint.monitor"):
        small.train("data.validation_split=0")
    assert list(small.root.glob("outputs/*/*")) == []


def test_a_diverged_run_names_the_rows_and_the_operation(small: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tfrun"), pytest.raises(DivergedError) as error:
        small.train("optimizer=sgd", "optimizer.learning_rate=1e30", "loss=mse")
    folder = small.only_run
    recorded = folder.read_run()["error"]
    assert "First not finite is the output of" in str(error.value) and "Its folder: " in str(error.value)
    assert recorded["rows"] and f"scikit-learn's diabetes:{recorded['rows'][0] + 1}" in str(error.value)
    assert recorded["tensor"] in str(error.value)
    assert "engine: eager, trainer.compile=eager" in caplog.text


def test_a_folder_in_use_is_refused(small: Any) -> None:
    folder = runs.claim(str(small.root), "a")
    with folder.held(), pytest.raises(FolderInUseError):
        small.resume(folder)


def test_the_row_of_the_hparams_table_is_written(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfrun.engine.recording.tensorboard import TensorBoard

    rows: list[tuple[Any, ...]] = []

    def write_hparams(self: TensorBoard, run_id: str, hparams: Any, *, metrics: Any, status: str) -> None:
        rows.append((run_id, hparams, metrics, status))

    monkeypatch.setattr(TensorBoard, "write_hparams", write_hparams)
    folder = small.train("trainer.max_epochs=1", hparams={"seed": 3})
    ((run_id, hparams, metrics, status),) = rows
    assert (run_id, hparams, status) == (f"({folder.path.name[-6:]})", {"seed": 3}, "completed")
    assert metrics
