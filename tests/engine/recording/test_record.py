"""What is written of a run while it trains, and when."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.engine.recording.progress import Display
from tfrun.engine.recording.record import MAX_ROLLBACKS, Record, write_block
from tfrun.engine.training.block_result import BlockResult
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.program import Program
from tfrun.engine.training.timing import Timing
from tfrun.errors import DivergedError, ResourceError
from tfrun.files import checkpoints, runs
from tfrun.files.run_json import RunJson
from tfrun.files.runs import RunFolder

PATIENCE_SECONDS = 20.0
PER_EPOCH = 6  # steps of the small run


class Written:
    """A journal that keeps what is written."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []
        self.best_epochs: list[int] = []

    def write_steps(self, step: int, values: Mapping[str, float]) -> None:
        self.lines.append((step, dict(values)))

    def write_epoch(
        self, epoch: int, step: int, values: Mapping[str, Mapping[str, float]], is_best: bool = False
    ) -> None:
        self.lines.append((epoch, step, dict(values)))
        self.best_epochs += [epoch] * is_best

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def write(plan: Plan, *, block_steps: int, last_step: int) -> Written:
    """Returns what is written of blocks of a length; step k has the loss k, and odd epochs are the best so far."""
    written = Written()
    for first in range(0, last_step, block_steps):
        steps = np.arange(first + 1, min(first + block_steps, last_step) + 1, dtype=np.float32)
        epochs = np.array([step // plan.steps_per_epoch for step in steps if step % plan.steps_per_epoch == 0])
        result = BlockResult(
            losses=steps,
            norms=10 * steps,
            learning_rates=np.stack([steps / 2, steps / 4], axis=1),
            train=np.stack([100.0 * epochs, 200.0 * epochs], axis=1),
            val=np.stack([300.0 * epochs, 400.0 * epochs], axis=1),
            improved=epochs % 2 == 1,
            finite=True,
            stopped=False,
            has_val=True,
            names=["loss", "mae"],
        )
        write_block(written, result, first_step=first, plan=plan, group_names=["wide", "deep"])
    return written


@pytest.mark.parametrize("block_steps", [1, 3, 7, 50])
def test_the_lines_do_not_depend_on_the_blocks(block_steps: int) -> None:
    def epoch(number: int) -> tuple[Any, ...]:
        train = {"loss": 100.0 * number, "mae": 200.0 * number}
        return number, 5 * number, {"train": train, "val": {"loss": 300.0 * number, "mae": 400.0 * number}}

    def step(number: int) -> tuple[Any, ...]:
        return number, {"loss": number, "grad_norm": 10 * number, "lr/wide": number / 2, "lr/deep": number / 4}

    written = write(Plan(5, 12, log_every_steps=4), block_steps=block_steps, last_step=12)
    assert written.lines == [step(4), epoch(1), step(8), epoch(2), step(12)]
    assert written.best_epochs == [1]


def test_the_line_of_a_step_comes_before_that_of_its_epoch() -> None:
    written = write(Plan(4, 4, log_every_steps=2), block_steps=4, last_step=4)
    assert [len(line) for line in written.lines] == [2, 2, 3]


def test_without_a_logger_only_epochs_are_written() -> None:
    written = write(Plan(5, 12), block_steps=12, last_step=12)
    assert [line[0] for line in written.lines] == [1, 2]


@pytest.fixture
def on_saving(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], None]], None]:
    """Calls a function with the step of each checkpoint, in the background, before it is written."""
    save = checkpoints.save

    def install(function: Callable[[int], None]) -> None:
        def call(folder: Path, step: int, **options: Any) -> Path:
            function(step)
            return save(folder, step, **options)

        monkeypatch.setattr(checkpoints, "save", call)

    return install


def saved_steps(folder: RunFolder) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.checkpoints.glob("step-*"))


EVERY_EPOCH = ["checkpoint.every_epochs=1", "checkpoint.keep=9"]


def test_a_step_is_reported_when_its_checkpoint_is_complete(
    small: Any, monkeypatch: pytest.MonkeyPatch, on_saving: Callable[..., None]
) -> None:
    """The disk is so slow that the third epoch is trained while the checkpoint of the second is written."""
    one, two, three = PER_EPOCH, 2 * PER_EPOCH, 3 * PER_EPOCH
    seen: dict[int, tuple[int, list[int], int]] = {}
    third_epoch_is_over = threading.Event()
    on_block = Display.on_block

    def on_block_and_tell(self: Display, first_step: int, result: BlockResult) -> None:
        on_block(self, first_step, result)
        if first_step + len(result.losses) == three:
            third_epoch_is_over.set()

    def wait(step: int) -> None:
        if step == two:
            assert third_epoch_is_over.wait(PATIENCE_SECONDS)
        folder = small.only_run
        seen[step] = folder.read_run()["step"], saved_steps(folder), len(folder.read_metrics())

    monkeypatch.setattr(Display, "on_block", on_block_and_tell)
    on_saving(wait)
    folder = small.train(*EVERY_EPOCH, "trainer.max_epochs=3")
    # the step in run.json, the checkpoints and the epochs in the journal, before each checkpoint is written
    assert seen[one] == (0, [], 1)
    assert seen[two] == (one, [one], 2)  # without the third epoch, which is over
    assert seen[three] == (three, [one, two, three], 3)  # the last step is saved once more at the end
    run = folder.read_run()
    assert (run["status"], run["step"], len(folder.read_metrics())) == ("completed", three, 4)


def test_a_checkpoint_that_the_disk_refuses_is_tried_again(small: Any, on_saving: Callable[..., None]) -> None:
    def refuse(step: int) -> None:
        if step == 2 * PER_EPOCH:
            raise ResourceError("No space left on device")

    on_saving(refuse)
    folder = small.train(*EVERY_EPOCH, "trainer.max_epochs=3")
    assert saved_steps(folder) == [PER_EPOCH, 3 * PER_EPOCH]
    run = folder.read_run()
    assert (run["status"], run["step"]) == ("completed", 3 * PER_EPOCH)


def test_a_run_whose_last_checkpoint_is_refused_can_be_resumed(small: Any, on_saving: Callable[..., None]) -> None:
    def refuse(step: int) -> None:
        if step > PER_EPOCH:
            raise ResourceError("No space left on device")

    on_saving(refuse)
    with pytest.raises(ResourceError, match="No space left"):
        small.train(*EVERY_EPOCH, "trainer.max_epochs=3")
    folder = small.only_run
    run = folder.read_run()
    assert (saved_steps(folder), run["status"], run["step"]) == ([PER_EPOCH], "failed", PER_EPOCH)
    on_saving(lambda step: None)
    assert small.resume(folder, *EVERY_EPOCH, "trainer.max_epochs=3", resume=True) == 0
    assert [line["epoch"] for line in folder.read_metrics()] == [1, 2, 3, 3]  # the last is the test


def test_divergence_is_reported_after_the_state_is_saved(small: Any, on_saving: Callable[..., None]) -> None:
    steps: list[int] = []
    on_saving(steps.append)
    with pytest.raises(DivergedError) as error:
        small.train("optimizer=sgd", "optimizer.learning_rate=1e30", "loss=mse")
    folder = small.only_run
    run = folder.read_run()
    assert f"The weights of step {run['step']} are saved" in str(error.value)
    assert (run["status"], steps, saved_steps(folder)) == ("diverged", [run["step"]], [run["step"]])


def open_record(small: Any, *words: str) -> tuple[Record, Program, RunFolder]:
    """Returns the record of a run that hasn't begun, its program and its folder."""
    pieces = small.pieces(*words)
    program = pieces.make_program()
    program.mode = "eager"
    folder = runs.claim(str(small.root), "record")
    fields = {
        "status": "running",
        "step": 0,
        "epoch": 0,
        "timing": {},
        "groups": [],
        "engine": {},
        "metrics": {},
        "best": {},
    }
    run = RunJson.begin(folder, fields)
    record = Record(folder, pieces, program=program, run=run, timing=Timing(), config={"seed": 42})
    record.open({}, record.read_results({}))
    return record, program, folder


def test_a_rollback_restores_the_checkpoint_and_halves_the_rates(small: Any) -> None:
    record, program, folder = open_record(small, "optimizer.learning_rate=0.5")
    (group,) = small_groups(record)
    with record:
        record.on_save(0)
        for rollback in range(1, MAX_ROLLBACKS + 1):
            program.run(0, 2)
            assert record.roll_back(2) == 0
            assert program.step == 0
            assert float(group.base_learning_rate.numpy()) == 0.5 * 0.5**rollback
        with pytest.raises(DivergedError, match="not finite at step 3, however often learning rates are halved"):
            record.roll_back(2)
    record.close()
    rollbacks = json.loads(json.dumps(record._run["rollbacks"]))
    assert rollbacks[1] == {"from": 2, "to": 0, "rates": 0.25}


def small_groups(record: Record) -> list[Any]:
    return list(record._pieces.parts.step.active)


def test_config_and_groups_are_written_to_the_board_once(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfrun.engine.recording.tensorboard import TensorBoard

    tags: list[str] = []
    monkeypatch.setattr(TensorBoard, "write_text", lambda self, tag, markdown, step: tags.append(tag))
    folder = small.train("trainer.max_epochs=1")
    assert tags == ["config", "groups"]
    assert small.resume(folder, resume=True) == 0
    assert tags == ["config", "groups"]


def test_a_record_without_a_logger_has_no_board(small: Any) -> None:
    record, _, folder = open_record(small, "logger=null")
    assert record.board is None
    record.close()
    assert not folder.tensorboard.exists()
