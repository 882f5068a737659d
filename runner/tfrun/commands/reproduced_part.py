"""Which part of a run can be reproduced: all of it, or its steps before it was stopped or resumed with other values."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from tfrun.config.plain import plain, texts
from tfrun.config.settings import Settings
from tfrun.errors import CheckpointError, ConfigError
from tfrun.files import yaml_files
from tfrun.files.provenance.record import Provenance, differences
from tfrun.files.runs import RunFolder
from tfrun.folders import shown

OF_LENGTH = ("trainer.max_epochs", "trainer.max_steps")  # schedules end with the run, so they change with it
STOPPING = "early_stopping"
OF_RESULTS = ("code", "patch", "sources", "packages", "python")  # of a record, what else than the machine
WHOLE = ("completed", "diverged")


@dataclass(frozen=True)
class Part:
    """The part of a run that is trained again and compared.

    Attributes:
        config: the run's, with the values that it had in this part.
        until_step: the last step; None for all of the run.
        why: why it isn't all of it; empty if it is.
    """

    config: dict[str, Any]
    until_step: int | None = None
    why: str = ""


def part_of(
    folder: RunFolder,
    run: Mapping[str, Any],
    *,
    config: dict[str, Any],
    settings: Settings,
    records: Sequence[Provenance],
    epochs: int | None,
) -> Part:
    """Returns which part of a run can be reproduced.

    Args:
        folder: the run's.
        run: its `run.json`.
        config: its `config.yaml`.
        settings: the same, checked.
        records: the first record of what it was made from, and those of its resumes.
        epochs: how many epochs are asked for; None for all.

    Raises:
        ConfigError: its results don't follow from its config alone, or it has no such epoch.
        CheckpointError: it has saved nothing that could be compared, or the values that it began with aren't known.
    """
    refuse_copy(folder, run)
    part = _until_its_end(run, config=config)
    part = _until_resumed(part, folder, run=run, has_schedule=_has_schedule(settings))
    part = _until_other_code(part, run, records)
    if part.until_step == 0:
        raise CheckpointError(
            f"{shown(folder.path)}: has saved nothing before it {part.why}: there is nothing to compare"
        )
    return part if epochs is None else _until_epoch(part, folder, epochs=epochs)


def refuse_copy(folder: RunFolder, run: Mapping[str, Any]) -> None:
    """Raises ConfigError for a member of a population that has begun with the state of another one."""
    if branch := run.get("branch"):
        raise ConfigError(
            f"{shown(folder.path)}: can't be reproduced by itself: its sweep has copied the state of "
            f"{branch.get('run_id', 'another job')} into it, at epoch {branch.get('epoch')}, so it doesn't follow from "
            "its own config"
        )


def _until_its_end(run: Mapping[str, Any], *, config: dict[str, Any]) -> Part:
    """Returns the part of a run that has trained, all of it if it ended by itself."""
    status = run.get("status")
    if status == "failed":
        why = "failed"
    elif run.get("engine", {}).get("ended_by") == "max_seconds":
        why = "was ended by trainer.max_seconds"
    elif status in WHOLE:
        return Part(config)
    else:
        why = f"was {'killed' if status == 'running' else status}"
    return Part(config, int(run.get("step") or 0), why)


def _until_resumed(part: Part, folder: RunFolder, *, run: Mapping[str, Any], has_schedule: bool) -> Part:
    """Returns the part before the first resume with other values that results depend on.

    They are those of early stopping and, if a schedule ends with the run, the run's length, which changes the learning
    rates before the resume too.
    """

    def matters(key: str) -> bool:
        return key.partition(".")[0] == STOPPING or (key in OF_LENGTH and has_schedule)

    first = {str(word) for word in run.get("overrides", [])}
    for resumed in run.get("resumed", []):
        words = [word for word in texts(resumed.get("overrides")) if word not in first]
        keys = [key for word in words if matters(key := word.lstrip("+~").partition("=")[0])]
        if keys:
            why = f"was resumed with other values: {', '.join(keys)}"
            config = _with_first_values(part.config, folder, keys=keys)
            return _earlier(Part(config, part.until_step, part.why), _step(resumed), why)
    return part


def _until_other_code(part: Part, run: Mapping[str, Any], records: Sequence[Provenance]) -> Part:
    """Returns the part before the first resume that found other code or other packages."""
    for before, after in zip(records, records[1:], strict=False):
        aspects = {item.aspect for item in differences(before, after)} & {*OF_RESULTS}
        if not aspects:
            continue
        began = [resumed for resumed in run.get("resumed", []) if _is_later(resumed.get("at"), after.at)]
        if began:
            return _earlier(part, _step(began[0]), f"was resumed with other {' and '.join(sorted(aspects))}")
    return part


def _until_epoch(part: Part, folder: RunFolder, *, epochs: int) -> Part:
    """Returns the part up to an epoch. Raises ConfigError if the run has no such epoch."""
    try:
        lines = folder.read_metrics()
    except OSError:
        lines = []
    steps = {line["epoch"]: line["step"] for line in lines if not any(name.startswith("test/") for name in line)}
    if epochs not in steps:
        raise ConfigError(f"epochs: the run has {max(steps, default=0)} whole epochs. Received: {epochs}")
    if epochs == max(steps) and part.until_step is None:
        return part
    return _earlier(part, steps[epochs], f"is compared up to epoch {epochs}, as asked")


def _earlier(part: Part, step: int, why: str) -> Part:
    """Returns the part up to a step, unless it ends before that."""
    return part if part.until_step is not None and part.until_step <= step else Part(part.config, step, why)


def _has_schedule(settings: Settings) -> bool:
    """Returns whether a learning rate depends on how many steps the run has."""
    return any(group.schedule is not None and group.schedule.name != "constant" for group in settings.groups.values())


def _with_first_values(config: dict[str, Any], folder: RunFolder, *, keys: Sequence[str]) -> dict[str, Any]:
    """Returns the config with the values that keys had before the run was resumed, which `.hydra/config.yaml` has."""
    file = folder.path / ".hydra" / "config.yaml"
    try:
        first = plain(yaml_files.load_config(file))
    except (ConfigError, YAMLError, OmegaConfBaseException, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{shown(folder.path)}: was resumed with other values of {', '.join(keys)}, and those before aren't known: "
            f"{reason}"
        ) from error
    new = copy.deepcopy(config)
    for key in keys:
        section, _, name = key.partition(".")
        if section == STOPPING or not name:
            new[section] = first.get(section)
        else:
            with contextlib.suppress(TypeError, AttributeError):
                new[section][name] = first[section].get(name)
    return new


def _step(resumed: Mapping[str, Any]) -> int:
    """Returns the step at which a run was resumed, 0 if `run.json` doesn't say it."""
    step = resumed.get("step")
    return step if isinstance(step, int) and step > 0 else 0


def _is_later(one: Any, other: str) -> bool:
    """Returns whether one time isn't before the other; False if one of them can't be read."""
    parse: Callable[[str], datetime] = datetime.fromisoformat
    try:
        return parse(str(one)) >= parse(other)
    except (ValueError, TypeError):
        return False
