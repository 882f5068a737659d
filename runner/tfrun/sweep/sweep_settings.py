"""The settings of tfrun's launcher and sweepers, as frozen dataclasses.

Their annotations are the types and ranges of the keys of `hydra.launcher` and `hydra.sweeper`, as in
`config/settings.py`: they are read as source text, so keep them literal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Gt, Le, MinLen
from omegaconf import DictConfig, OmegaConf

from tfrun.config import hydra_private
from tfrun.config.explain import USER_MISTAKES, explain
from tfrun.config.settings import field_types
from tfrun.config.types import check_value
from tfrun.errors import ConfigError, near_miss, unknown


@dataclass(frozen=True)
class LauncherSettings:
    """How a sweep's jobs run: `hydra/launcher=fork`. The defaults hold if Hydra's own launchers run them."""

    n_jobs: Annotated[int, Ge(1)] | Literal["auto"] = 1
    timeout_seconds: Annotated[float, Gt(0)] | None = None
    lanes: Annotated[int, Ge(1)] = 1


@dataclass(frozen=True)
class SearchSettings:
    """How Optuna chooses the jobs of a search: `hydra/sweeper=search`."""

    n_trials: Annotated[int, Ge(1)] | None
    sampler: str | dict[str, Any]
    pruner: str | dict[str, Any] | None
    seed: int
    objectives: dict[str, Any] | None
    take: Literal["best", "last"]
    constraints: list[str]
    params: dict[str, Any]
    storage: str | None
    study_name: str | None
    lost_after_seconds: Annotated[int, Ge(2)]


@dataclass(frozen=True)
class PopulationSettings:
    """How the members of a population evolve: `hydra/sweeper=population`."""

    population: Annotated[int, Ge(2)]
    every_epochs: Annotated[int, Ge(1)]
    replaced: Annotated[float, Gt(0), Le(0.5)]
    factors: Annotated[list[Annotated[float, Gt(0)]], MinLen(1)]
    drawn_anew: Annotated[float, Ge(0), Le(1)]
    seed: Annotated[int, Ge(0)]
    params: dict[str, Any]


Kind = TypeVar("Kind", LauncherSettings, SearchSettings, PopulationSettings)


def read_settings(node: DictConfig, kind: type[Kind], *, where: str) -> Kind:
    """Returns the settings of a launcher or a sweeper.

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type.
    """
    try:
        given: Any = OmegaConf.to_container(node, resolve=True)
    except USER_MISTAKES as error:  # an environment variable that isn't set
        raise explain(error) from error
    given.pop("_target_")
    types = field_types(kind)
    for key in given:
        if key not in types:
            raise unknown(where, "key", name=key, known=types)
    missing = [key for key in types if key not in given]
    if missing:
        raise ConfigError(f"{where}.{missing[0]}: must be set. Received: {', '.join(given) or 'no key'}")
    return kind(**{key: check_value(types[key], value, where=f"{where}.{key}") for key, value in given.items()})


def check_targets(hydra: DictConfig, ours: Iterable[type]) -> None:
    """Raises ConfigError if the launcher or the sweeper is not one: `hydra.launcher=fork` for `hydra/launcher=fork`.

    Args:
        hydra: Hydra's own config.
        ours: the classes of tfrun.
    """
    known = [*(f"{kind.__module__}.{kind.__qualname__}" for kind in ours), *hydra_private.installed_plugins()]
    for name in ("launcher", "sweeper"):
        chosen = target(hydra[name])
        if chosen is not None and chosen not in known:
            raise ConfigError(
                f"hydra.{name}._target_: no such plugin is installed; it must be in the package hydra_plugins. "
                f"Received: {chosen!r}.{near_miss(chosen, known)}"
            )
        if chosen is None:
            raise ConfigError(
                f"hydra.{name}: must be a mapping with a _target_; an option is chosen with hydra/{name}=<name>. "
                f"Received: {hydra[name]!r}"
            )


def target(node: Any) -> str | None:
    """Returns the `_target_` of a config node: the class of a launcher or a sweeper."""
    return node.get("_target_") if isinstance(node, DictConfig) else None


def is_target(node: DictConfig, kind: type) -> bool:
    """Returns whether the `_target_` of a config node is exactly this class."""
    return target(node) == f"{kind.__module__}.{kind.__qualname__}"
