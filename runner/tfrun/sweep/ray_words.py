"""The options that Hydra's plugin for Ray needs, so that `hydra/launcher=ray` starts a Ray or joins a cluster."""

from __future__ import annotations

import os

from omegaconf import DictConfig, OmegaConf

from tfrun.errors import ConfigError
from tfrun.sweep.sweep_settings import target

LAUNCHER = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"
OF_MACHINES = ("num_cpus", "num_gpus")  # what a machine offers, which those of a cluster have said
WHERE = "hydra.launcher.ray.init"


def check_ray(launcher: DictConfig) -> None:
    """Raises ConfigError if a cluster that is there is to be joined, and the config says what machines offer."""
    init = _init(launcher)
    given = [key for key in OF_MACHINES if init is not None and init.get(key) is not None]
    if init is not None and given and _joins(init):
        address = init.get("address") or f"RAY_ADDRESS={os.environ['RAY_ADDRESS']}"
        raise ConfigError(
            f"{WHERE}.{given[0]}: the machines of a cluster have said what they offer. Leave it out to join the "
            f"cluster at {address}, or start a Ray for this sweep alone with +{WHERE}.address=local"
        )


def words_for_ray(launcher: DictConfig) -> list[str]:
    """Returns the words without which Ray's plugin joins a cluster by chance, or can't join the one that it is to.

    Without an address Ray would join what was last started on this machine with `ray start`. And the plugin always sets
    the size of Ray's object store, unless the config does, but a cluster that is joined has one already.
    """
    init = _init(launcher)
    if init is None:
        return []
    if not _joins(init):
        return [f"++{WHERE}.address=local"]
    return [] if "object_store_memory" in init else [f"+{WHERE}.object_store_memory=null"]


def _joins(init: DictConfig) -> bool:
    """Returns whether a cluster that is there is joined."""
    return (init.get("address") or os.environ.get("RAY_ADDRESS") or "local") != "local"


def _init(launcher: DictConfig) -> DictConfig | None:
    """Returns the arguments of `ray.init`, or None for another launcher."""
    init = OmegaConf.select(launcher, "ray.init") if target(launcher) == LAUNCHER else None
    return init if isinstance(init, DictConfig) else None
