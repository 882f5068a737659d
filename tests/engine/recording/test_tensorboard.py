"""Event files, read back with TensorBoard's own reader."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from tfrun.engine.recording.tensorboard import TensorBoard, summary_metrics
from tfrun.files.journals import JsonLines, MultiWriter, Results, cut_back, journal_lengths


def make_board(root: Path, start: float = 1000.0) -> TensorBoard:
    ticks = itertools.count(start)
    return TensorBoard(root / "tensorboard", clock=lambda: next(ticks))


def read(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Returns tag -> [(step, value), …]."""
    accumulator = read(folder)
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def lines(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]


EPOCH = {"train": {"loss": 0.5, "mae": 2.0}, "val": {"loss": 0.25, "mae": 1.0}}


def test_curves(tmp_path: Path) -> None:
    board = make_board(tmp_path)
    board.write_steps(10, {"loss": 4.0, "grad_norm": 2.5, "lr/all": 0.125})
    board.write_steps(20, {"loss": 3.0, "grad_norm": 1.5, "lr/all": 0.0625})
    board.write_epoch(1, 22, values=EPOCH)
    board.write_epoch(1, 22, values={"test": {"loss": 8.0}})
    board.close()
    assert scalars(tmp_path / "tensorboard" / "train") == {
        "step/loss": [(10, 4.0), (20, 3.0)],  # each step's, not the epoch's mean
        "step/grad_norm": [(10, 2.5), (20, 1.5)],
        "lr/all": [(10, 0.125), (20, 0.0625)],
        "step/mae": [(22, 2.0)],
        "epoch/loss": [(1, 0.5)],
        "epoch/mae": [(1, 2.0)],
    }
    assert scalars(tmp_path / "tensorboard" / "val") == {
        "step/loss": [(22, 0.25)],
        "step/mae": [(22, 1.0)],
        "epoch/loss": [(1, 0.25)],
        "epoch/mae": [(1, 1.0)],
    }
    assert scalars(tmp_path / "tensorboard" / "test") == {"step/loss": [(22, 8.0)], "epoch/loss": [(1, 8.0)]}


def test_wall_times_come_from_the_clock(tmp_path: Path) -> None:
    board = make_board(tmp_path, start=5000.0)
    board.write_steps(1, {"loss": 1.0})
    board.write_steps(2, {"loss": 1.0})
    board.close()
    first, second = read(tmp_path / "tensorboard" / "train").Scalars("step/loss")
    assert 5000.0 <= first.wall_time < second.wall_time < 5010.0


def test_a_value_that_is_not_defined_is_no_point(tmp_path: Path) -> None:
    board = make_board(tmp_path)
    board.write_steps(1, {"loss": float("inf"), "grad_norm": float("nan")})
    board.write_steps(2, {"loss": float("nan"), "grad_norm": 0.0})
    board.write_hparams("run", {"rate": 0.1}, metrics={"val/auc_best": None, "val/mae_best": 2.0})
    board.close()
    assert scalars(tmp_path / "tensorboard" / "train") == {"step/grad_norm": [(2, 0.0)]}
    assert scalars(tmp_path / "tensorboard" / "hparams") == {"val/mae_best": [(0, 2.0)]}


def test_text(tmp_path: Path) -> None:
    board = make_board(tmp_path)
    board.write_text("config", "```yaml\nmodel: größer\n```")
    board.close()
    accumulator = read(tmp_path / "tensorboard" / "train")
    (event,) = accumulator.Tensors("config")
    assert event.tensor_proto.string_val[0].decode() == "```yaml\nmodel: größer\n```"
    assert accumulator.SummaryMetadata("config").plugin_data.plugin_name == "text"


def test_hparams(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    board = make_board(tmp_path)
    hparams: dict[str, Any] = {"rate": 0.1, "units": "[30, 30]", "model": "mlp", "bias": True}
    board.write_hparams("2026-01-01_run", hparams, metrics={"best/val/loss": 0.5})
    board.close()
    accumulator = read(tmp_path / "tensorboard" / "hparams")
    assert scalars(tmp_path / "tensorboard" / "hparams") == {"best/val/loss": [(0, 0.5)]}
    content = accumulator.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    data = plugin_data_pb2.HParamsPluginData.FromString(content)
    written = data.session_start_info.hparams
    assert (written["rate"].number_value, written["units"].string_value) == (0.1, "[30, 30]")
    assert (written["model"].string_value, written["bias"].bool_value) == ("mlp", True)
    assert data.session_start_info.group_name == "2026-01-01_run"


def test_the_run_s_words_are_the_folder_that_its_list_of_runs_shows(tmp_path: Path) -> None:
    words = "mlp lr=0.003 at 07.15"
    for name in (words, "mlp lr=0.1 at 07.15"):  # a run that is resumed with other words keeps its folder
        board = TensorBoard(tmp_path / "tensorboard", words=name)
        board.write_steps(1, {"loss": 1.0})
        board.close()
    assert [path.name for path in (tmp_path / "tensorboard").iterdir()] == [words]
    (name,) = journal_lengths(tmp_path)
    assert name.startswith(f"tensorboard/{words}/train/events.out.tfevents.")
    cut_back(tmp_path, {})
    assert journal_lengths(tmp_path) == {}


def test_a_run_of_an_earlier_version_keeps_its_folders(tmp_path: Path) -> None:
    make_board(tmp_path).write_steps(1, {"loss": 1.0})
    board = TensorBoard(tmp_path / "tensorboard", words="mlp")
    board.write_epoch(1, 1, values=EPOCH)
    board.close()
    assert sorted(path.name for path in (tmp_path / "tensorboard").iterdir()) == ["train", "val"]


def test_writers_together(tmp_path: Path) -> None:
    writer = MultiWriter([JsonLines.open(tmp_path / "metrics.jsonl"), make_board(tmp_path)])
    writer.write_steps(1, {"loss": 2.0})
    writer.write_epoch(1, 2, values=EPOCH)
    writer.flush()
    lengths = journal_lengths(tmp_path)
    assert sorted(name.rpartition("/")[0] for name in lengths) == ["", "tensorboard/train", "tensorboard/val"]
    assert all((tmp_path / name).stat().st_size == length > 0 for name, length in lengths.items())
    writer.close()
    assert lines(tmp_path)[0]["val/mae"] == 1.0
    assert scalars(tmp_path / "tensorboard" / "train")["step/loss"] == [(1, 2.0)]


def test_a_resumed_run_s_journals_have_each_point_once(tmp_path: Path) -> None:
    """Killed at step 5 after a checkpoint at step 3: what came after it is cut off and written again."""

    def write(writer: MultiWriter, steps: range) -> None:
        for step in steps:
            writer.write_steps(step, {"loss": 10.0 - step})
            writer.write_epoch(step, step, values={"val": {"loss": 20.0 - step}})

    def make(start: float) -> MultiWriter:
        return MultiWriter([JsonLines.open(tmp_path / "metrics.jsonl"), make_board(tmp_path, start)])

    killed = make(1000.0)
    write(killed, range(1, 4))
    killed.flush()
    lengths = journal_lengths(tmp_path)
    write(killed, range(4, 6))
    killed.flush()
    with open(tmp_path / "metrics.jsonl", "ab") as journal:
        journal.write(b'{"epoch": 6, "st')
    (tmp_path / "tensorboard" / "test").mkdir()
    after = tmp_path / "tensorboard" / "test" / "events.out.tfevents.1.tfrun"
    after.write_bytes(b"written after the checkpoint")
    killed.close()

    cut_back(tmp_path, lengths)
    assert not after.exists()
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]
    resumed = make(9000.0)
    write(resumed, range(4, 7))
    resumed.close()

    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6]
    for split, start in (("train", 10.0), ("val", 20.0)):
        assert scalars(tmp_path / "tensorboard" / split)["step/loss"] == [(step, start - step) for step in range(1, 7)]
        (file,) = (tmp_path / "tensorboard" / split).iterdir()
        events = list(EventFileLoader(str(file)).Load())
        assert [bool(event.file_version) for event in events].count(True) == 1  # the same file went on


def test_a_run_without_a_checkpoint_starts_its_journals_over(tmp_path: Path) -> None:
    writer = MultiWriter([JsonLines.open(tmp_path / "metrics.jsonl"), make_board(tmp_path)])
    writer.write_epoch(1, 1, values=EPOCH)
    writer.close()
    cut_back(tmp_path, {})
    assert not (tmp_path / "metrics.jsonl").exists()
    assert list((tmp_path / "tensorboard").glob("*/*")) == []


def test_columns_of_the_hparams_table() -> None:
    results = Results("val/loss")
    results.write_epoch(1, 10, values={"train": {"loss": 0.5}, "val": {"loss": 0.25}}, is_best=True)
    results.write_epoch(2, 20, values={"train": {"loss": 0.4}, "val": {"loss": 0.75}})
    results.write_epoch(2, 20, values={"test": {"loss": 2.0}})
    assert summary_metrics(results.metrics, results.best) == {
        "val/loss_best": 0.25,
        "val/loss_last": 0.75,
        "test/loss": 2.0,
    }


def test_columns_without_validation() -> None:
    results = Results("train/loss")
    results.write_epoch(1, 10, values={"train": {"loss": 0.5}}, is_best=True)
    assert summary_metrics(results.metrics, results.best) == {"train/loss_best": 0.5, "train/loss_last": 0.5}
