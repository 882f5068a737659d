"""The jobs of a sweep, as plain data that can be sent to another process, and their folders."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tfrun.config.automatic import as_resolved
from tfrun.config.plain import read_yaml, to_yaml
from tfrun.config.run_words import changed_words
from tfrun.config.settings import Settings
from tfrun.console import open_log
from tfrun.errors import TfrunError
from tfrun.files import runs, strict_json
from tfrun.files.disk import refuse_link, write_atomically
from tfrun.files.runs import RunFolder

ENDED = ("completed", "stopped", "failed", "diverged", "pruned")  # statuses of a run that recorded its own end
LENGTH_KEYS = ("max_epochs", "max_steps", "max_seconds")  # the keys of trainer that limit the length of a run
UNTRACED = ("seed", "name", "tags", "output_root", "resume", "provenance")  # keys that don't affect the program
SECTIONS_WITH_INPUTS = ("loss", "optimizer", "algorithm", "trainer")  # their floats are inputs of the program


class JobFolder(RunFolder):
    """A job's run folder. It is kept even if the job can't start, because the sweep points to its log."""

    def discard(self) -> None:
        """Keeps the folder."""

    @property
    def has_ended(self) -> bool:
        return self.read_run().get("status") in ENDED

    def write_failure(self, overrides: Sequence[str], *, kind: str, message: str, exit_code: int) -> None:
        """Writes to `run.json` that the job failed, for a job that couldn't write this itself."""
        error = {"type": kind, "message": message, "exit_code": exit_code}
        self.write_end(overrides, {"status": "failed", "error": error})

    def write_end(self, overrides: Sequence[str], end: Mapping[str, Any]) -> None:
        """Writes to `run.json` how a job ended that couldn't write this itself, or never started."""
        before: dict[str, Any] = {
            "run_id": self.run_id,
            "overrides": list(overrides),
            "started": None,
            "metrics": {},
            "best": {},
        }
        self.write_run(before | self.read_run() | {"ended": runs.now(), **end})

    def write_error(self, overrides: Sequence[str], error: BaseException) -> int:
        """Returns the exit code for an error that a job raised, and writes it down unless the run has done so."""
        exit_code = error.exit_code if isinstance(error, TfrunError) else 1
        if not self.has_ended:
            self.write_failure(overrides, kind=type(error).__name__, message=str(error), exit_code=exit_code)
            with os.fdopen(open_log(self.log), "w") as log:
                traceback.print_exception(error, file=log)
        return exit_code


@dataclass(frozen=True)
class Job:
    """One run of a sweep, composed and checked. It holds plain containers, so it can be sent to another process.

    Attributes:
        number: the job's number in the sweep, and the name of its folder.
        folder: where it runs; relative until `within` sets the sweep's folder.
        overrides: all of its overrides, as a person types them.
        hparams: the values of the keys that differ between the jobs.
        columns: the same as a row of TensorBoard's HParams table.
        settings: its config, checked.
        files: the content of the files that are written before it runs, by path: `config.yaml` and `.hydra/`.
        structure: jobs with the same structure may share a program.
        resume: whether to resume the run in the folder, if there is one.
        pause_epoch: the epoch after which it pauses; None means that it runs to its end.
    """

    number: int
    folder: JobFolder
    overrides: list[str]
    hparams: dict[str, Any]
    settings: Settings
    files: dict[str, Any]
    structure: str
    columns: dict[str, bool | float | str] = field(default_factory=dict)
    resume: bool = False
    pause_epoch: int | None = None

    @property
    def label(self) -> str:
        differing = [text for text in self.overrides if text.partition("=")[0] in self.hparams]
        return " ".join([f"#{self.number}", *differing])

    @property
    def words(self) -> str:
        """What the job trains, for a person: its model and the values that differ."""
        return changed_words(self.overrides, model=self.settings.model.name, keys=self.hparams)

    @property
    def is_new(self) -> bool:
        """Whether it starts from its first step."""
        return not (self.resume and self.folder.run_json.exists())

    @property
    def limits(self) -> dict[str, float | None]:
        """What limits its length, by key of `trainer`."""
        return {key: getattr(self.settings.trainer, key) for key in LENGTH_KEYS}

    def is_like(self, other: Job) -> bool:
        """Returns whether both can be trained together: of the same structure, rows and length, and new."""
        same_rows = self.settings.data.fold == other.settings.data.fold
        same = self.structure == other.structure and same_rows and self.limits == other.limits
        return same and self.is_new and other.is_new

    def within(self, sweep: Path) -> Job:
        """Returns the job with its folder inside the sweep's folder."""
        return replace(self, folder=JobFolder(sweep / str(self.number)))

    @property
    def config(self) -> dict[str, Any]:
        """The content of its `config.yaml`."""
        config: dict[str, Any] = self.files["config.yaml"]
        return config

    def with_config(self, config: dict[str, Any], settings: Settings) -> Job:
        """Returns the job with another config, which is written to its folder. Raises ResourceError if it can't be."""
        write_atomically(self.folder.config_yaml, to_yaml(config))
        return replace(self, settings=settings, files={**self.files, "config.yaml": config})

    def resumed(self, pause_epoch: int | None = None) -> Job:
        """Returns the job that resumes the run in its folder, if there is one, and pauses after an epoch, if given."""
        return replace(self, resume=True, pause_epoch=pause_epoch)

    def write_pruned(self) -> None:
        """Writes that the job is pruned, after it has stopped or instead of starting it.

        Raises:
            ResourceError: the disk refuses.
        """
        self.folder.path.mkdir(exist_ok=True)
        if not self.folder.config_yaml.exists():
            self.write_files()
        self.folder.write_end(self.overrides, {"status": "pruned"})

    def reopen(self) -> None:
        """Writes that the run in its folder, if it has ended, runs again: it may end otherwise than before."""
        if self.resume and self.folder.has_ended:
            self.folder.write_run(self.folder.read_run() | {"status": "running"})

    def write_config(self) -> None:
        """Writes `config.yaml`. Raises ResourceError if the disk refuses."""
        config = self.config if self.is_new else self._as_begun(self.config)
        write_atomically(self.folder.config_yaml, to_yaml(config))

    def write_files(self) -> None:
        """Writes the config files that a single run's folder has too. Raises ResourceError if the disk refuses."""
        refuse_link(self.folder.path / ".hydra")
        (self.folder.path / ".hydra").mkdir(exist_ok=True)
        hydra = self.files[".hydra/hydra.yaml"]["hydra"]
        hydra["sweep"]["dir"] = str(self.folder.path.parent)
        hydra["runtime"]["output_dir"] = str(self.folder.path)
        for name, content in self.files.items():
            if name == "config.yaml":
                self.write_config()
            else:
                write_atomically(self.folder.path / name, to_yaml(content))

    def _as_begun(self, config: dict[str, Any]) -> dict[str, Any]:
        """Returns the config with what `auto` has become, since others may read the file of a run that goes on."""
        begun = read_yaml(self.folder.config_yaml)
        return as_resolved(config, begun) if begun.keys() >= {"loss", "metric", "trainer"} else config


def structure_of(config: dict[str, Any]) -> str:
    """Returns a job's config without what is an input of the program and without what doesn't affect the program.

    It need not be exact: the engine checks again, and compiles another program if the kept one doesn't fit.
    """
    kept = {key: value for key, value in config.items() if key not in UNTRACED}
    kept["trainer"] = {key: value for key, value in config["trainer"].items() if key not in LENGTH_KEYS}
    kept["data"] = {key: value for key, value in config["data"].items() if key != "fold"}

    def without_floats(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_floats(item) for key, item in value.items()}
        return "a number" if isinstance(value, float) else value

    sections = {key: without_floats(item) if key in SECTIONS_WITH_INPUTS else item for key, item in kept.items()}
    return strict_json.dumps(sections, default=str)
