"""What a run leaves behind while it trains: its journals, its checkpoints and `run.json`.

All of it is written by the background thread, in the order of the run; the training thread only copies the state.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

from tfrun.engine.building.pieces import Session
from tfrun.engine.recording.background import Background
from tfrun.engine.recording.tensorboard import TensorBoard
from tfrun.engine.training import loop
from tfrun.engine.training.program import BlockResult, Program
from tfrun.errors import DivergedError, ResourceError
from tfrun.files import checkpoints, journals
from tfrun.files.runs import RunFolder

log = logging.getLogger("tfrun")
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast
MOST_ROLLBACKS = 5  # to one checkpoint


class Record:
    """Writes a run down. A context manager: what was handed over is on the disk when it is left.

    Args:
        folder: the run's.
        session, program: the run.
        run: what `run.json` says; while the context is entered it belongs to the background.
        timing: the training thread's seconds.
        lengths: how long the journals were at the checkpoint that the run goes on from; none for a new run.

    Attributes:
        shorter: journals that have lost what the checkpoint knows of.
    """

    def __init__(
        self,
        folder: RunFolder,
        session: Session,
        program: Program,
        run: dict[str, Any],
        timing: loop.Timing,
        lengths: Mapping[str, int],
    ):
        self._folder, self._session, self._program = folder, session, program
        self._run, self._timing, self._earlier = run, timing, dict(run["timing"])
        self._state = session.state(program)
        self._slots = self._state.describe()
        self._groups = [group.name for group in session.parts.step.active]
        self._times_back_to: Counter[int] = Counter()
        self._open(lengths)
        if self.board and (not lengths or run["step"] == run.get("branch", {}).get("step")):
            for tag, content in (("config", session.settings.to_dict()), ("groups", run["groups"])):
                self.board.write_text(tag, _as_markdown(content), run["step"])
        self._background, self._saved = Background(), threading.Event()
        self._saved.set()
        self._refused: ResourceError | None = None  # by the disk, at the last try to save

    def _open(self, lengths: Mapping[str, int]) -> None:
        """Goes on with the journals where a checkpoint left them."""
        folder, best = self._folder, self._session.best
        self.shorter = journals.cut_back(folder.path, lengths)
        self.results = journals.Results.read(
            folder.metrics_jsonl, best_step=int(best.best_step.numpy()), monitor=best.monitor
        )
        self.board = TensorBoard(folder.tensorboard) if self._session.settings.logger else None
        lines = journals.JsonLines.open(folder.metrics_jsonl)
        self.writer = journals.MultiWriter(filter(None, [lines, self.results, self.board]))

    def __enter__(self) -> Record:
        self._background.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._background.__exit__(*error)

    def write(self, first_step: int, result: BlockResult) -> None:
        """Takes a block's values."""
        names = self._program.names
        self._background.do(loop.write, self.writer, self._session.plan, self._groups, names, first_step, result)

    def save(self, step: int) -> None:
        """Takes the state as it is after a step."""
        self._saved.wait()  # for the disk: there is one copy of the state in memory at a time
        self._saved = self._background.do(self._save, step, self._state.read(), self._seconds())

    def wait(self) -> None:
        """Returns once everything is on the disk. Raises ResourceError where the disk refuses the last state."""
        self._background.wait()
        if self._refused:
            raise self._refused

    def roll_back(self, step: int) -> int:
        """Goes back to the newest checkpoint, with half its learning rates, a quarter the second time, and so on.

        Returns:
            The checkpoint's step.

        Raises:
            DivergedError: it has been tried from there often enough.
        """
        self.wait()
        saved = checkpoints.newest(self._folder.checkpoints)
        assert saved is not None
        if self._times_back_to[saved.step] == MOST_ROLLBACKS:
            raise DivergedError(
                f"the loss or its gradient is not finite at step {step + 1}, however often learning rates are halved. "
                f"The weights of step {saved.step} are saved"
            )
        self._times_back_to[saved.step] += 1
        factor = 0.5 ** self._times_back_to[saved.step]
        self.writer.close()
        self._state.restore(saved)
        for group in self._session.parts.step.active:
            group.base_learning_rate.assign(group.base_learning_rate * factor)
        self._open(saved.extra["journals"])
        self._run.setdefault("rollbacks", []).append({"from": step, "to": saved.step, "rates": factor})
        return saved.step

    def close(self) -> None:
        """Writes what is left, and into `run` what the run took and gave."""
        self.writer.close()
        self._run["timing"] |= self._seconds()
        self._run |= {"metrics": self.results.metrics, "best": self.results.best}

    def _seconds(self) -> dict[str, float | None]:
        return self._timing.added_to(self._earlier)

    def _save(self, step: int, arrays: Mapping[str, np.ndarray], seconds: Mapping[str, float | None]) -> None:
        """Saves a state; where the disk refuses, training goes on, and the next one is another try."""
        try:
            self._write(step, arrays, seconds)
        except ResourceError as error:
            log.warning("%s. Training goes on, and the next checkpoint is another try", error)
            self._refused = error
        else:
            self._refused = None

    def _write(self, step: int, arrays: Mapping[str, np.ndarray], seconds: Mapping[str, float | None]) -> None:
        self.writer.flush()  # what the checkpoint says of the journals must be true after a power cut too
        session, run = self._session, self._run
        extra = {
            "engine": run["engine"],
            "journals": journals.journal_lengths(self._folder.path),
            "fingerprint": session.examples.fingerprint,
        }
        keep = session.settings.checkpoint.keep
        checkpoints.save(self._folder.checkpoints, step, slots=self._slots, arrays=arrays, extra=extra, keep=keep)
        run.update(step=step, epoch=step // session.plan.steps_per_epoch)
        run.update(metrics=self.results.metrics, best=self.results.best)
        run["timing"] |= seconds
        self._folder.write_run(run)


def _as_markdown(content: Any) -> str:
    return f"```yaml\n{yaml.dump(content, Dumper=_Dumper, sort_keys=False)}```"
