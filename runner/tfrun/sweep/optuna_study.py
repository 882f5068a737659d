"""Optuna: samplers and pruners by name, studies in a database, and constraints."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import operator
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tfrun.errors import CheckpointError, ConfigError, ResourceError, TfrunError, unknown
from tfrun.files.disk import refuse_link
from tfrun.files.masking import masked, without_secrets
from tfrun.files.strict_json import defined
from tfrun.sweep import optuna_private
from tfrun.sweep.databases import engine_options
from tfrun.sweep.lost_trials import OnLost, database
from tfrun.sweep.space import Space
from tfrun.sweep.sweep_settings import SearchSettings

SAMPLERS = {
    "tpe": "TPESampler",
    "cmaes": "CmaEsSampler",
    "gp": "GPSampler",
    "random": "RandomSampler",
    "grid": "GridSampler",
    "nsgaii": "NSGAIISampler",
}
CONSTRAINED_SAMPLERS = ("tpe", "gp", "nsgaii")
PRUNERS = {
    "median": "MedianPruner",
    "asha": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "percentile": "PercentilePruner",
}
COMPARISONS = {"<=": operator.sub, "<": operator.sub, ">=": lambda a, b: b - a, ">": lambda a, b: b - a}

NUM_TRIES, TRY_AGAIN_SECONDS = 10, 0.5  # while another machine makes the tables of a database

Direction = Literal["minimize", "maximize"]
Distance = Callable[[Mapping[str, Any]], float]  # from a constraint; 0 or less fulfils it


@dataclass(frozen=True)
class Studies:
    """Opens studies with a sampler and a pruner that Optuna has accepted.

    Attributes:
        settings: of the search.
        make_sampler: makes the sampler from a seed.
        pruner: Optuna's.
    """

    settings: SearchSettings
    make_sampler: Callable[[int], Any]
    pruner: Any

    @classmethod
    def check(cls, settings: SearchSettings, space: Space, *, max_reports: int | None) -> Studies:
        """Makes the sampler and the pruner once, so that a mistake is found before anything runs.

        Args:
            settings: of the search.
            space: of the search.
            max_reports: how often the pruner gets a value of a trial, after each epoch or fold; None has no limit.

        Raises:
            ConfigError: Optuna isn't installed, or refuses the sampler or the pruner.
        """
        try:
            import optuna
        except ImportError as error:
            raise ConfigError(
                "hydra/sweeper=search: needs Optuna. Install it with: pip install 'tfrun[search]'"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            make_sampler = _sampler_maker(settings, space)
            make_sampler(settings.seed)
        except (TypeError, ValueError, ImportError) as error:
            raise ConfigError(f"hydra.sweeper.sampler: {_one_line(error)}") from error
        return cls(settings, make_sampler, _pruner(settings, max_reports))

    @property
    def have_signs_of_life(self) -> bool:
        """Whether several machines may use a study, in a storage in which they see each other's heartbeats."""
        place = self.settings.storage or ""
        return self.settings.study_name is not None and not place.startswith("journal:")

    def open(
        self,
        folder: Path,
        directions: list[Direction],
        *,
        is_resumed: bool = False,
        on_lost: OnLost = lambda line: None,
    ) -> Any:
        """Returns the study of the sweep in `folder`; it is created if it doesn't exist.

        Args:
            folder: the sweep's folder.
            directions: one for each objective.
            is_resumed: whether the sweep has trials already; then the study must exist.
            on_lost: called with a line for the terminal when a trial of a lost machine is put into the queue.

        Raises:
            ConfigError: the study has other objectives, or its storage can't be used.
            CheckpointError: the study of a sweep that is resumed isn't there.
            ResourceError: its file is a link.
        """
        import optuna

        file = folder / "study.db"
        refuse_link(file)
        place = self.settings.storage or f"sqlite:///{file}"
        if is_resumed and not self.settings.storage and not file.exists():  # opening it would make an empty one
            raise CheckpointError(f"{file}: the study, which knows the results of the trials, is gone")
        try:
            name, storage = self.settings.study_name or folder.name, self._storage(place, on_lost)
            if is_resumed and name not in optuna.get_all_study_names(storage):
                raise CheckpointError(
                    f"hydra.sweeper.storage: {masked(place)!r} has no study {name!r}, which knows the results of "
                    f"{folder}. Give the storage that has it: hydra.sweeper.storage=<address>"
                )
            study = optuna.create_study(
                storage=storage, pruner=self.pruner, study_name=name, directions=directions, load_if_exists=True
            )
            if [direction.name.lower() for direction in study.directions] != directions:
                raise ConfigError(f"the study {study.study_name!r} has other objectives: a new one needs another name")
            study.sampler = self.make_sampler(self._seed(folder, len(study.get_trials(deepcopy=False))))
        except TfrunError:
            raise
        except Exception as error:
            reason = without_secrets(_reason(error), place)
            if isinstance(error, ImportError) and place.startswith("postgresql:"):
                reason = "it needs psycopg. Install it with: pip install 'tfrun[postgresql]'"
            # A traceback would print the library's own message as well.
            cause = None if masked(place) != place else error
            raise ConfigError(f"hydra.sweeper.storage: {masked(place)!r} can't be used: {reason}") from cause
        return study

    @contextlib.contextmanager
    def storage_errors(self) -> Iterator[None]:
        """Raises ResourceError if the storage fails while the study is used: a full disk, a server that has ended."""
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            place = self.settings.storage or "study.db"
            reason = without_secrets(_reason(error), place)
            cause = None if masked(place) != place else error
            raise ResourceError(
                f"hydra.sweeper.storage: {masked(place)!r} failed: {reason}. The jobs that were training have saved, "
                "and no result is lost: tfrun resume goes on once the storage can be used"
            ) from cause

    def _storage(self, place: str, on_lost: OnLost) -> Any:
        """Returns Optuna's storage at an address: a database, or a journal's file."""
        from optuna.storages import JournalStorage, RDBStorage
        from optuna.storages.journal import JournalFileBackend

        if place.startswith("journal:"):
            return JournalStorage(JournalFileBackend(place.removeprefix("journal:")))
        if not self.have_signs_of_life:
            return RDBStorage(place, engine_kwargs=engine_options(place))
        return _tried_again(
            lambda: database(place, lost_after_seconds=self.settings.lost_after_seconds, on_lost=on_lost)
        )

    def _seed(self, folder: Path, num_trials: int) -> int:
        """Returns the sampler's seed: the config's for a new study of this sweep alone, otherwise a new one.

        With the same seed, a resumed search would draw its first values again, and so would each of several machines.
        """
        if not num_trials and not self.settings.study_name:
            return self.settings.seed
        return zlib.crc32(f"{self.settings.seed} {folder.name} {num_trials}".encode())


def _sampler_maker(settings: SearchSettings, space: Space) -> Callable[[int], Any]:
    """Returns a function from a seed to the sampler. Raises ConfigError if the sampler doesn't suit the search."""
    import optuna

    name, options = _named("sampler", settings.sampler, known=SAMPLERS)
    if settings.constraints and name not in CONSTRAINED_SAMPLERS:
        raise ConfigError(
            f"hydra.sweeper.constraints: only the samplers {', '.join(CONSTRAINED_SAMPLERS)} support them. "
            f"Received: {name!r}"
        )
    if name == "gp" and importlib.util.find_spec("torch") is None:  # Optuna would notice at its eleventh trial
        raise ConfigError("hydra.sweeper.sampler: gp needs PyTorch. Install it with: pip install 'tfrun[gp]'")
    if name == "tpe":
        options = {"constant_liar": True, **options}  # because several jobs run at the same time
    if name == "grid":
        if any(not dimension.choices for dimension in space.dimensions):
            raise ConfigError("hydra.sweeper.sampler: grid needs choices, not intervals")
        options["search_space"] = {dimension.key: list(dimension.choices) for dimension in space.dimensions}
        kind = optuna_private.endless_grid()
    else:
        kind = getattr(optuna.samplers, SAMPLERS[name])
    return lambda seed: kind(seed=seed, **options)


def _pruner(settings: SearchSettings, max_reports: int | None) -> Any:
    import optuna

    if settings.pruner is None:
        return optuna.pruners.NopPruner()
    name, options = _named("pruner", settings.pruner, known=PRUNERS)
    if name == "hyperband":
        options.setdefault("max_resource", max_reports or "auto")
    try:
        return getattr(optuna.pruners, PRUNERS[name])(**options)
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(f"hydra.sweeper.pruner: {_one_line(error)}") from error


def _named(key: str, setting: str | dict[str, Any], *, known: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Returns the name and the options of a sampler or a pruner."""
    options = dict(setting) if isinstance(setting, dict) else {"name": setting}
    name = str(options.pop("name", None))
    if name not in known:
        raise unknown(f"hydra.sweeper.{key}", key, name=name, known=known)
    return name, options


def _tried_again(make: Callable[[], Any]) -> Any:
    """Returns what `make` does, which may fail while another machine makes the tables of the same database."""
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    for _ in range(NUM_TRIES - 1):
        try:
            return make()
        except (IntegrityError, ProgrammingError):
            time.sleep(TRY_AGAIN_SECONDS)
        except OperationalError as error:
            if "already exists" not in str(error):  # as SQLite says it
                raise
            time.sleep(TRY_AGAIN_SECONDS)
    return make()


def parse_constraint(text: str) -> Distance:
    """Returns a function from a job's values to their distance from a constraint such as `val/mae < 50000`.

    A distance of 0 or less fulfils the constraint; it is infinite if the value is missing or not defined.
    """
    match = re.fullmatch(r"\s*([\w/.-]+)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*", str(text))
    error = ConfigError(f"hydra.sweeper.constraints: must be like 'val/mae < 50000'. Received: {text!r}")
    if match is None:
        raise error
    name, comparison, number = match.groups()
    try:
        bound = float(number)
    except ValueError:
        raise error from None
    compare = COMPARISONS[comparison]

    def distance(values: Mapping[str, Any]) -> float:
        value = defined(values.get(name))
        return math.inf if value is None else float(compare(value, bound))

    return distance


def trial_states() -> Any:
    """Returns Optuna's states of a trial, without importing Optuna before a search needs it."""
    from optuna.trial import TrialState

    return TrialState


def update_finished_error() -> type[Exception]:
    """Returns Optuna's error for a trial that has ended already, without importing Optuna before a search needs it."""
    from optuna.exceptions import UpdateFinishedTrialError

    return UpdateFinishedTrialError


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _reason(error: BaseException) -> str:
    """Returns what a database's own library says of an error, without what Optuna and SQLAlchemy add."""
    import optuna

    if isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__:
        error = error.__cause__
    return _one_line(getattr(error, "orig", None) or error)
