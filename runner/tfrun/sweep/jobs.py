"""The jobs of a sweep: their configs, composed and checked before the first one starts.

Hydra composes once for all jobs that choose the same files; those that differ in numbers and words only are made from
that one. Composing each would take as long as training it.
"""

from __future__ import annotations

import copy
import json
import traceback
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from tfrun.config.compose import USER_MISTAKES, Session, parse, plain, to_yaml
from tfrun.config.schema import build_settings
from tfrun.config.settings import Settings
from tfrun.errors import ConfigError, DataError, TfrunError
from tfrun.files import runs
from tfrun.files.disk import write_atomically
from tfrun.files.runs import RunFolder

ENDED = ("completed", "stopped", "failed", "diverged", "pruned")  # what run.json says of a run that told its end
LIMITS = ("max_epochs", "max_steps", "max_seconds")  # of trainer: how long a run is
WITH_INPUTS = ("loss", "optimizer", "algorithm", "trainer")  # whose floats are inputs of the program


class JobFolder(RunFolder):
    """A job's run folder. It stays where a mistake keeps the job from starting: the sweep shows its log."""

    def discard(self) -> None:
        """Keeps the folder."""

    @property
    def has_ended(self) -> bool:
        return self.read_run().get("status") in ENDED

    def fail(self, overrides: Sequence[str], kind: str, message: str, exit_code: int) -> None:
        """Writes into `run.json` how the job ended, where it had no chance to."""
        before: dict[str, Any] = {
            "run_id": self.run_id,
            "overrides": list(overrides),
            "started": None,
            "metrics": {},
            "best": {},
        }
        error = {"type": kind, "message": message, "exit_code": exit_code}
        self.write_run(before | self.read_run() | {"status": "failed", "ended": runs.now(), "error": error})

    def end(self, overrides: Sequence[str], error: BaseException) -> int:
        """Returns the exit code of a job that raised an error, and writes an end down that it couldn't."""
        exit_code = error.exit_code if isinstance(error, TfrunError) else 1
        if not self.has_ended:  # else the run has told and logged it
            self.fail(overrides, type(error).__name__, str(error), exit_code)
            with open(self.log, "a") as log:
                traceback.print_exception(error, file=log)
        return exit_code


@dataclass(frozen=True)
class Job:
    """One run of a sweep, composed and checked. It holds plain containers, to be handed to another process.

    Attributes:
        number: of the job, and the name of its folder.
        folder: where it runs; relative until `within` says where the sweep is.
        overrides: all of them, as a person types them.
        hparams: the values of those keys that differ between the jobs.
        settings: its config, checked.
        files: what its folder gets before it runs, by path: `config.yaml` and `.hydra/`.
        structure: jobs with the same may share a program.
        resume: whether to go on with what is in the folder.
        pause_epoch: after which it stops, to be gone on with; None is its end.
    """

    number: int
    folder: JobFolder
    overrides: list[str]
    hparams: dict[str, Any]
    settings: Settings
    files: dict[str, Any]
    structure: str
    resume: bool = False
    pause_epoch: int | None = None

    @property
    def label(self) -> str:
        own = [text for text in self.overrides if text.partition("=")[0] in self.hparams]
        return " ".join([f"#{self.number}", *own])

    @property
    def is_new(self) -> bool:
        """Whether it starts from its first step."""
        return not (self.resume and self.folder.run_json.exists())

    def is_like(self, other: Job) -> bool:
        """Returns whether both may be trained together: they have one structure and are equally long."""
        limits = [[getattr(job.settings.trainer, key) for key in LIMITS] for job in (self, other)]
        return self.structure == other.structure and limits[0] == limits[1] and self.is_new and other.is_new

    def within(self, sweep: Path) -> Job:
        """Returns the job in its sweep's folder."""
        return replace(self, folder=JobFolder(sweep / str(self.number)))

    def going_on(self, pause_epoch: int | None = None) -> Job:
        """Returns the job that goes on with what is in its folder, if anything is, up to an epoch or to its end."""
        return replace(self, resume=True, pause_epoch=pause_epoch)

    def write_files(self) -> None:
        """Writes what a single run's folder has too. Raises ResourceError where the disk refuses."""
        (self.folder.path / ".hydra").mkdir(exist_ok=True)
        hydra = self.files[".hydra/hydra.yaml"]["hydra"]
        hydra["sweep"]["dir"], hydra["runtime"]["output_dir"] = str(self.folder.path.parent), str(self.folder.path)
        for name, content in self.files.items():
            write_atomically(self.folder.path / name, to_yaml(content))


@dataclass(frozen=True)
class _Base:
    """What Hydra composed for the first of the jobs that choose the same files, and its two parts without resolving."""

    cfg: DictConfig
    job: dict[str, Any]
    hydra: dict[str, Any]

    @cached_property
    def interpolates(self) -> bool:
        return "${" in to_yaml(self.job)


class Composer:
    """Makes jobs from their overrides.

    Args:
        session: Hydra and the components.
        sweep: the config that the jobs share.
        swept: the keys that differ between the jobs.
        threads: what a job gets that doesn't say how many it wants; None is one a core.
    """

    def __init__(self, session: Session, sweep: DictConfig, swept: Collection[str], threads: int | None = None):
        self._session, self._sweep, self.swept, self._threads = session, sweep, swept, threads
        self._bases: dict[tuple[str, ...], _Base] = {}
        self._parsed: dict[str, Override] = {}

    def __call__(self, overrides: Sequence[str], number: int) -> Job:
        """Returns a job. Raises ConfigError or DataError, naming it."""
        typed = [text.lstrip("+") for text in overrides]
        try:
            try:
                parsed = [self._parse(text) for text in typed]
                plain_items = [item for item in parsed if self._is_setting(item)]
                base = self._base(typed, parsed, plain_items)
                job = copy.deepcopy(base.job)
                for item in plain_items:
                    _set(job, item.key_or_group, item.value())
                if job["trainer"].get("threads") is None:
                    job["trainer"]["threads"] = self._threads
                config = self._resolved(job, base.cfg, number) if base.interpolates else job
            except USER_MISTAKES as error:
                raise self._session.explain(error) from error
            settings = build_settings(config, self._session.catalog, typed)
        except (ConfigError, DataError) as error:
            label = " ".join(text for text in typed if text.partition("=")[0] in self.swept)
            raise type(error)(f"{label}: {error}" if label else str(error)) from error
        hydra = copy.deepcopy(base.hydra)
        hydra["overrides"]["task"] = typed
        hydra["job"] |= {"num": number, "id": str(number)}
        hydra["sweep"]["subdir"] = str(number)
        return Job(
            number,
            JobFolder(Path(str(number))),
            typed,
            {item.key_or_group: item.value() for item in parsed if item.key_or_group in self.swept},
            settings,
            {
                "config.yaml": config,
                ".hydra/config.yaml": job,
                ".hydra/hydra.yaml": {"hydra": hydra},
                ".hydra/overrides.yaml": typed,
            },
            structure_of(config),
        )

    def _parse(self, text: str) -> Override:
        if text not in self._parsed:
            (self._parsed[text],) = parse([text])
        return self._parsed[text]

    def _is_setting(self, item: Override) -> bool:
        """Returns whether an override does no more than give a key another value."""
        key, value = item.key_or_group, None if item.is_delete() else item.value()
        is_plain = value is None or isinstance(value, bool | int | float | str)
        is_own = isinstance(value, str) and ("${" in value or value == "???")
        is_key = item.package is None and "[" not in key and not key.startswith("hydra.")
        return is_plain and not is_own and is_key and not item.is_delete() and not self._session.is_group(key)

    def _base(self, typed: Sequence[str], parsed: Sequence[Override], settings: Sequence[Override]) -> _Base:
        key = tuple(item.key_or_group if item in settings else text for text, item in zip(typed, parsed, strict=True))
        if key not in self._bases:
            loader = self._session.hydra.config_loader
            cfg = loader.load_sweep_config(self._sweep, self._session.rewrite(typed))
            job: Any = OmegaConf.to_container(cfg, resolve=False, enum_to_str=True)
            hydra = job.pop("hydra")
            self._bases[key] = _Base(cfg, job, hydra)
        return self._bases[key]

    def _resolved(self, job: dict[str, Any], base: DictConfig, number: int) -> dict[str, Any]:
        with read_write(base.hydra), open_dict(base.hydra):
            base.hydra.job.id = base.hydra.job.num = number
        HydraConfig.instance().set_config(base)  # for ${hydra:job.num}
        cfg = OmegaConf.create(job)
        OmegaConf.copy_cache(from_config=base, to_config=cfg)  # so that ${now:} is the same in all jobs
        return plain(cfg)


def _set(config: dict[str, Any], key: str, value: Any) -> None:
    """Sets a key of a config in which it is there already."""
    *parents, last = key.split(".")
    for parent in parents:
        config = config[parent]
    config[last] = value


def structure_of(config: dict[str, Any]) -> str:
    """Returns a job's config but for what is an input of a program, or isn't part of it.

    It need not be exact: the engine looks again, and makes another program where one doesn't fit.
    """
    kept = {key: value for key, value in config.items() if key not in ("seed", "name", "tags", "output_root")}
    kept["trainer"] = {key: value for key, value in config["trainer"].items() if key not in LIMITS}

    def without_floats(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_floats(own) for key, own in value.items()}
        return "a number" if isinstance(value, float) else value

    return json.dumps(
        {key: without_floats(own) if key in WITH_INPUTS else own for key, own in kept.items()}, default=str
    )
