"""Records a run while it trains: its journals, its checkpoints and `run.json`.

The background thread writes all of it, in the order of the run; the training thread only copies the state.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

from tfrun.engine.building.pieces import OPTIONAL_ROLES, Pieces
from tfrun.engine.recording.background import Background
from tfrun.engine.recording.tensorboard import TensorBoard
from tfrun.engine.training.block_result import BlockResult
from tfrun.engine.training.groups import scale_learning_rates
from tfrun.engine.training.loop import Observer
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.program import Program
from tfrun.engine.training.timing import Timing
from tfrun.errors import DivergedError, ResourceError
from tfrun.files import checkpoints, digests, journals
from tfrun.files.run_json import RunJson
from tfrun.files.runs import RunFolder
from tfrun.protocols import ModelOffer

log = logging.getLogger("tfrun")
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast
MAX_ROLLBACKS = 5  # to one checkpoint


class Record(Observer):
    """Writes a run to its folder. A context manager: everything is on the disk when it is left.

    `read_results` and `open` come before anything else, so that a damaged journal is found before anything is written.

    Args:
        folder: the run's.
        pieces: the run's pieces.
        program: the run's program.
        run: the fields of `run.json`.
        timing: the training thread's seconds.
        config: the config, for the manifests of checkpoints.
        words: what the run trains, for its name in TensorBoard.

    Attributes:
        results: the newest metrics and those of the best epoch.
        board: TensorBoard's event files, or None without a logger.
        folder_of_events: the folder in which `train/` and the others are, or would be.
        writer: all journals together.
        warnings: what something else than tfrun has changed in the journals.
    """

    def __init__(
        self,
        folder: RunFolder,
        pieces: Pieces,
        *,
        program: Program,
        run: RunJson,
        timing: Timing,
        config: Mapping[str, Any],
        words: str = "",
    ):
        self._folder = folder
        self._words = words
        self._pieces = pieces
        self._program = program
        self._run = run
        self._timing = timing
        self._earlier_timing = run["timing"]
        self._state = pieces.state(program)
        self._slots = self._state.describe()
        self._origin = {
            "fingerprint": pieces.examples.fingerprint,
            "config": config,
            "preprocessing": digests.digests(pieces.examples.preprocessing.to_fields()),
            digests.MODEL_FILES: digests.of_files(ModelOffer.of(pieces.parts.model).architecture_files),
        }
        self._group_names = [group.name for group in pieces.parts.step.active]
        self._rollbacks: Counter[int] = Counter()  # by the step of the checkpoint
        self._background = Background()
        self._writes_graph = False
        self._saved = threading.Event()
        self._saved.set()
        self._refusal: ResourceError | None = None  # of the disk, at the last attempt to save

    def read_results(self, lengths: Mapping[str, int]) -> journals.Results:
        """Returns the results of the epochs so far.

        Args:
            lengths: the journals' lengths at the checkpoint that the run is resumed from; empty for a new run.

        Raises:
            CheckpointError: a line of `metrics.jsonl` is damaged.
        """
        best, path = self._pieces.best, self._folder.metrics_jsonl
        return journals.Results.read(
            path, best_step=int(best.best_step.numpy()), monitor=best.monitor, length=lengths.get(path.name, 0)
        )

    def open(self, lengths: Mapping[str, int], results: journals.Results) -> None:
        """Opens the journals of a run at these lengths. Raises ResourceError if the disk refuses."""
        self._open(lengths, results)
        run = self._run
        logger = self._pieces.settings.logger
        self._writes_graph = logger is not None and logger.graph and not lengths
        if self.board and (not lengths or run["step"] == run.get("branch", {}).get("step")):
            for tag, content in (("config", self._pieces.settings.to_dict()), ("groups", run["groups"])):
                self.board.write_text(tag, _as_markdown(content), step=run["step"])
            if origins := self._pieces.origins:
                self.board.write_text("init", origins.as_markdown(), step=run["step"])

    def _open(self, lengths: Mapping[str, int], results: journals.Results) -> None:
        folder = self._folder
        self.warnings = journals.cut_back(folder.path, lengths)
        self.results = results
        self.folder_of_events = journals.folder_of_events(folder.tensorboard, self._words)
        self.board = TensorBoard(folder.tensorboard, words=self._words) if self._pieces.settings.logger else None
        lines = journals.JsonLines.open(folder.metrics_jsonl)
        self.writer = journals.MultiWriter(filter(None, [lines, self.results, self.board]))

    def __enter__(self) -> Record:
        self._background.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._background.__exit__(*error)

    def on_block(self, first_step: int, result: BlockResult) -> None:
        write = functools.partial(
            write_block,
            self.writer,
            result,
            first_step=first_step,
            plan=self._pieces.plan,
            group_names=self._group_names,
        )
        self._background.submit(write)
        graph = self._pieces.parts.step.forward.graph  # known once the first block is traced
        if self._writes_graph and self.board is not None and graph is not None:
            self._background.submit(self.board.write_graph, graph.SerializeToString())
            self._writes_graph = False

    def write_histograms(self, step: int, histograms: Mapping[str, np.ndarray]) -> None:
        """Writes histograms by tag, in their place among the values of steps and epochs."""
        assert self.board is not None
        self._background.submit(self.board.write_histograms, step, histograms)

    def on_save(self, step: int) -> None:
        self._saved.wait()  # until the last one is on the disk: there is one copy of the state in memory at a time
        self._saved = self._background.submit(self._save, step, self._state.read(), self._seconds())

    def on_end(self) -> None:
        self._background.wait()
        if self._refusal:
            raise self._refusal

    def roll_back(self, step: int) -> int:
        """Restores the newest checkpoint, with half its learning rates, a quarter the second time, and so on.

        Args:
            step: the step whose numbers aren't finite.

        Returns:
            The checkpoint's step.

        Raises:
            DivergedError: it has been tried from there often enough.
            CheckpointError: someone has removed the checkpoints.
        """
        self.on_end()
        self._folder.require_checkpoints()
        saved = checkpoints.newest(self._folder.checkpoints)
        assert saved is not None
        if self._rollbacks[saved.step] == MAX_ROLLBACKS:
            raise DivergedError(
                f"the loss or its gradient is not finite at step {step + 1}, however often learning rates are halved. "
                f"The weights of step {saved.step} are saved"
            )
        self._rollbacks[saved.step] += 1
        factor = 0.5 ** self._rollbacks[saved.step]
        self.writer.close()
        self._state.restore(saved, OPTIONAL_ROLES)
        self._program.state_was_written()
        self._pieces.announce("scale_learning_rates", factor=factor)
        scale_learning_rates(self._pieces.parts.step.active, factor)
        lengths = saved.extra["journals"]
        self._open(lengths, self.read_results(lengths))
        self._run.append("rollbacks", {"from": step, "to": saved.step, "rates": factor})
        return saved.step

    def close(self) -> None:
        """Writes the rest of the journals, and updates the fields of `run.json` a last time."""
        self.writer.close()
        self._run.merge("timing", self._seconds())
        self._run.update(metrics=self.results.metrics, best=self.results.best)

    def _seconds(self) -> dict[str, float | None]:
        return self._timing.added_to(self._earlier_timing)

    def _save(self, step: int, arrays: Mapping[str, np.ndarray], seconds: Mapping[str, float | None]) -> None:
        """Saves a state. If the disk refuses, training continues, and the next checkpoint is another attempt."""
        try:
            self._write(step, arrays, seconds=seconds)
        except ResourceError as error:
            log.warning("%s. Training continues, and the next checkpoint is another attempt", error)
            self._refusal = error
        else:
            self._refusal = None

    def _write(self, step: int, arrays: Mapping[str, np.ndarray], *, seconds: Mapping[str, float | None]) -> None:
        self.writer.flush()  # the lengths in the checkpoint must be true after a power cut too
        pieces = self._pieces
        extra = {
            "engine": self._run["engine"],
            "journals": journals.journal_lengths(self._folder.path),
            **self._origin,
        }
        checkpoints.save(
            self._folder.checkpoints,
            step,
            slots=self._slots,
            arrays=arrays,
            extra=extra,
            keep=pieces.settings.checkpoint.keep,
        )
        self._run.update(
            step=step,
            epoch=step // pieces.plan.steps_per_epoch,
            metrics=self.results.metrics,
            best=self.results.best,
        )
        self._run.merge("timing", seconds)
        self._run.write()


def write_block(
    writer: journals.Writer, result: BlockResult, *, first_step: int, plan: Plan, group_names: list[str]
) -> None:
    """Writes a block's steps and epochs, in the order in which they happened.

    Args:
        writer: the journals.
        result: the block's.
        first_step: the step before the block.
        plan: says which steps are points of the curves.
        group_names: the active optimizer groups, in the order of the result's learning rates.
    """
    every = plan.log_every_steps
    last_step = first_step + len(result.losses)
    points = range((first_step // every + 1) * every, last_step + 1, every) if every else []
    first_epoch = first_step // plan.steps_per_epoch
    ended = {(first_epoch + k + 1) * plan.steps_per_epoch: k for k in range(len(result.train))}
    for step in sorted({*points, *ended}):
        if step in points:
            k = step - first_step - 1
            rates = zip(group_names, result.learning_rates[k], strict=True)
            values = {"loss": float(result.losses[k]), "grad_norm": float(result.norms[k])}
            writer.write_steps(step, values | {f"lr/{name}": float(rate) for name, rate in rates})
        if step in ended:
            k = ended[step]
            writer.write_epoch(first_epoch + k + 1, step, values=result.by_split(k), is_best=bool(result.improved[k]))


def _as_markdown(content: Any) -> str:
    return f"```yaml\n{yaml.dump(content, Dumper=_Dumper, sort_keys=False)}```"
