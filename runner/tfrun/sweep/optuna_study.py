"""Optuna: its samplers and pruners by name, studies in a database, constraints."""

from __future__ import annotations

import importlib.util
import math
import operator
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfrun.config.settings import Settings
from tfrun.errors import ConfigError, TfrunError, unknown
from tfrun.sweep import optuna_private
from tfrun.sweep.space import Dimension

SAMPLERS = {
    "tpe": "TPESampler",
    "cmaes": "CmaEsSampler",
    "gp": "GPSampler",
    "random": "RandomSampler",
    "grid": "GridSampler",
    "nsgaii": "NSGAIISampler",
}
PRUNERS = {
    "median": "MedianPruner",
    "asha": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "percentile": "PercentilePruner",
}
COMPARISONS = {"<=": operator.sub, "<": operator.sub, ">=": lambda a, b: b - a, ">": lambda a, b: b - a}


def opener(
    settings: Mapping[str, Any], space: Sequence[Dimension], run: Settings, constrained: bool
) -> Callable[[Path, list[str]], Any]:
    """Returns what opens a study in a folder, given the directions of its objectives.

    Raises:
        ConfigError: Optuna isn't there, or won't take the sampler or the pruner.
    """
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise ConfigError("hydra/sweeper=search: needs Optuna. Install it with: pip install 'tfrun[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler, pruner = _named("sampler", settings, SAMPLERS), _named("pruner", settings, PRUNERS)
    assert sampler is not None
    name, options = sampler
    if name == "grid":
        if any(not dimension.choices for dimension in space):
            raise ConfigError("hydra.sweeper.sampler: grid needs choices, not intervals")
        options["search_space"] = {dimension.key: list(dimension.choices) for dimension in space}
    if name == "gp" and importlib.util.find_spec("torch") is None:  # Optuna would miss it at its eleventh trial
        raise ConfigError("hydra.sweeper.sampler: gp needs PyTorch. Install it with: pip install 'tfrun[gp]'")
    if name == "tpe":
        options = {"constant_liar": True, **options}  # several jobs run at once
    if constrained and name not in ("tpe", "gp", "nsgaii"):
        raise ConfigError(f"hydra.sweeper.constraints: the samplers tpe, gp and nsgaii take them. Received: {name!r}")
    if pruner and pruner[0] == "hyperband":
        pruner[1].setdefault("max_resource", run.trainer.max_epochs or "auto")
    try:
        kind = optuna_private.endless_grid() if name == "grid" else getattr(optuna.samplers, SAMPLERS[name])
        kind(seed=settings["seed"], **options)
        given_up = getattr(optuna.pruners, PRUNERS[pruner[0]])(**pruner[1]) if pruner else optuna.pruners.NopPruner()
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(f"hydra.sweeper.sampler, pruner: {' '.join(str(error).split())}") from error

    def open_study(folder: Path, directions: list[Any]) -> Any:
        place = settings["storage"] or f"sqlite:///{folder / 'study.db'}"
        try:
            storage: Any = place
            if place.startswith("journal:"):
                backend = JournalFileBackend(place.removeprefix("journal:"))
                storage = optuna.storages.JournalStorage(backend)
            study = optuna.create_study(
                storage=storage,
                pruner=given_up,
                study_name=settings["study_name"] or folder.name,
                directions=directions,
                load_if_exists=True,
            )
            if [direction.name.lower() for direction in study.directions] != directions:
                raise ConfigError(f"the study {study.study_name!r} has other objectives: a new one needs another name")
            study.sampler = kind(seed=_seed(settings, folder, len(study.get_trials(deepcopy=False))), **options)
        except TfrunError:
            raise
        except Exception as error:
            if isinstance(error, ImportError) and place.startswith("postgresql:"):
                error = ImportError("it needs psycopg. Install it with: pip install 'tfrun[postgresql]'")
            raise ConfigError(
                f"hydra.sweeper.storage: {place!r} can't be used: {' '.join(str(error).split())}"
            ) from error
        return study

    return open_study


def _seed(settings: Mapping[str, Any], folder: Path, num_trials: int) -> int:
    """Returns the sampler's seed: that of the config for a new study.

    One that has gone on with would draw once more what it drew at first, and so would each machine of several.
    """
    if not num_trials and not settings["study_name"]:
        return settings["seed"]
    return zlib.crc32(f"{settings['seed']} {folder.name} {num_trials}".encode())


def _named(key: str, settings: Mapping[str, Any], known: Mapping[str, str]) -> tuple[str, dict[str, Any]] | None:
    """Returns the name and the options of a sampler or pruner."""
    given = settings[key]
    if given is None and key == "pruner":
        return None
    options = dict(given) if isinstance(given, dict) else {"name": given}
    name = str(options.pop("name", None))
    if name not in known:
        raise unknown(f"hydra.sweeper.{key}", key, name, known)
    return name, options


def constraint(text: str) -> Any:
    """Returns what gives how far values are from holding a constraint; 0 and below holds it."""
    found = re.fullmatch(r"\s*([\w/.-]+)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*", str(text))
    try:
        assert found
        name, compare, bound = found[1], COMPARISONS[found[2]], float(found[3])
    except (AssertionError, ValueError):
        raise ConfigError(f"hydra.sweeper.constraints: must be like 'val/mae < 50000'. Received: {text!r}") from None
    return lambda values: float(compare(values[name], bound)) if values.get(name) is not None else math.inf


def states() -> Any:
    """Returns Optuna's states of a trial."""
    from optuna.trial import TrialState

    return TrialState
