"""Composes the config of each job of a sweep, and checks it before the job starts.

Hydra composes once for all jobs that choose the same files; the configs of jobs that differ only in plain values are
made from that one. To compose each job would take as long as to train it.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from tfrun.config.automatic import AUTO
from tfrun.config.compose import Configs
from tfrun.config.explain import USER_MISTAKES
from tfrun.config.hparam_columns import columns
from tfrun.config.overrides import parse
from tfrun.config.plain import plain, to_yaml
from tfrun.config.schema import build_settings
from tfrun.errors import ConfigError, DataError
from tfrun.files.masking import masked_in
from tfrun.sweep.jobs import Job, JobFolder, structure_of


@dataclass(frozen=True)
class _Composition:
    """What Hydra composed for jobs that choose the same files.

    Attributes:
        cfg: all of it.
        job: the job's config in plain containers, interpolations not resolved.
        hydra: the `hydra` node in plain containers.
    """

    cfg: DictConfig
    job: dict[str, Any]
    hydra: dict[str, Any]

    @cached_property
    def has_interpolations(self) -> bool:
        return "${" in to_yaml(self.job)


class Composer:
    """Makes jobs from their overrides.

    Args:
        configs: Hydra and the components.
        sweep: the config that the jobs share.
        swept: the keys that differ between the jobs.
        threads: the number of threads of a job whose `trainer.threads` is null; None means one per core.
        auto_epochs: what `trainer.max_epochs=auto` is for the jobs; None follows the data of each.
    """

    def __init__(
        self,
        configs: Configs,
        sweep: DictConfig,
        *,
        swept: Collection[str],
        threads: int | None = None,
        auto_epochs: int | None = None,
    ):
        self._configs = configs
        self._sweep = sweep
        self.swept = frozenset(swept)
        self.threads = threads
        self._auto_epochs = auto_epochs
        self._compositions: dict[tuple[str, ...], _Composition] = {}
        self._parsed: dict[str, Override] = {}

    def with_swept(self, swept: Collection[str]) -> Composer:
        """Returns a composer of the same sweep for jobs that differ in other keys."""
        return Composer(self._configs, self._sweep, swept=swept, threads=self.threads, auto_epochs=self._auto_epochs)

    def __call__(self, overrides: Sequence[str], number: int) -> Job:
        """Returns a job. Raises ConfigError or DataError that names the job."""
        own = [text.lstrip("+") for text in overrides]
        keys = {text.partition("=")[0] for text in own}
        typed = [*(text for text in self._configs.earlier if text.partition("=")[0] not in keys), *own]
        try:
            return self._job(typed, number)
        except (ConfigError, DataError) as error:
            label = " ".join(text for text in typed if text.partition("=")[0] in self.swept)
            raise type(error)(f"{label}: {error}" if label else str(error)) from error

    def _job(self, typed: list[str], number: int) -> Job:
        try:
            parsed = [self._parse(text) for text in typed]
            plain_items = [item for item in parsed if self._sets_plain_value(item)]
            composition = self._composition(typed, parsed, plain_items=plain_items)
            unresolved = copy.deepcopy(composition.job)
            for item in plain_items:
                _set(unresolved, item.key_or_group, value=item.value())
            if unresolved["trainer"].get("threads") is None:
                unresolved["trainer"]["threads"] = self.threads
            if self._auto_epochs is not None and unresolved["trainer"].get("max_epochs") == AUTO:
                unresolved["trainer"]["max_epochs"] = self._auto_epochs
            config = (
                self._resolved(unresolved, composition.cfg, number=number)
                if composition.has_interpolations
                else unresolved
            )
        except USER_MISTAKES as error:
            raise self._configs.explain(error) from error
        settings = build_settings(config, self._configs.catalog, overrides=typed, begins=True)
        if settings.strategy.has_workers:
            raise ConfigError(
                "strategy: multi_worker trains a run in several processes, and a job of -m has one. Train each job "
                "by a command of its own, without -m, or leave the strategy out"
            )
        hydra = copy.deepcopy(composition.hydra)
        hydra["overrides"]["task"] = typed
        hydra["job"] |= {"num": number, "id": str(number)}
        hydra["sweep"]["subdir"] = str(number)
        hparams = {item.key_or_group: item.value() for item in parsed if item.key_or_group in self.swept}
        return Job(
            number=number,
            folder=JobFolder(Path(str(number))),
            overrides=typed,
            hparams=hparams,
            settings=settings,
            files={
                "config.yaml": config,
                ".hydra/config.yaml": unresolved,
                ".hydra/hydra.yaml": {"hydra": hydra},
                ".hydra/overrides.yaml": typed,
            },
            structure=structure_of(config),
            columns=columns(hparams, self._configs.catalog),
        )

    def _parse(self, text: str) -> Override:
        if text not in self._parsed:
            (self._parsed[text],) = parse([text])
        return self._parsed[text]

    def _sets_plain_value(self, item: Override) -> bool:
        """Returns whether an override only sets a key to a number, a text, a flag or null."""
        key = item.key_or_group
        value = None if item.is_delete() else item.value()
        is_plain = value is None or isinstance(value, bool | int | float | str)
        is_special = isinstance(value, str) and ("${" in value or value == "???")
        is_key = item.package is None and "[" not in key and not key.startswith("hydra.")
        return is_plain and not is_special and is_key and not item.is_delete() and not self._configs.is_group(key)

    def _composition(
        self, typed: Sequence[str], parsed: Sequence[Override], *, plain_items: Sequence[Override]
    ) -> _Composition:
        key = tuple(
            item.key_or_group if item in plain_items else text for text, item in zip(typed, parsed, strict=True)
        )
        if key not in self._compositions:
            loader = self._configs.hydra.config_loader
            cfg = loader.load_sweep_config(self._sweep, self._configs.rewrite(typed))
            job: Any = OmegaConf.to_container(cfg, resolve=False, enum_to_str=True)
            hydra = masked_in(job.pop("hydra"))
            self._compositions[key] = _Composition(cfg, job, hydra)
        return self._compositions[key]

    def _resolved(self, job: dict[str, Any], base: DictConfig, *, number: int) -> dict[str, Any]:
        with read_write(base.hydra), open_dict(base.hydra):
            base.hydra.job.id = number
            base.hydra.job.num = number
        HydraConfig.instance().set_config(base)  # for ${hydra:job.num}
        cfg = OmegaConf.create(job)
        OmegaConf.copy_cache(from_config=base, to_config=cfg)  # so that ${now:} is the same in all jobs
        return plain(cfg)


def _set(config: dict[str, Any], key: str, *, value: Any) -> None:
    """Sets a key that the config already has."""
    *parents, last = key.split(".")
    for parent in parents:
        config = config[parent]
    config[last] = value
