"""What runs of earlier versions mean by the same config, so that a resumed one gives the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from tfrun.config.settings import EarlierData, EarlierSchedule, Settings

SCHEDULE_END = "schedule_end"  # the key of run.json that says at which step schedules reach their `final`
AT_LAST_STEP, AFTER_LAST_STEP = "last step", "step after the last"
OFFSETS = "offsets"  # the key of run.json for the precision in which columns and targets far from 0 are scaled
IN_FLOAT64, IN_FLOAT32 = "float64", "float32"
ENDED_LATER = ("cosine", "linear", "one_cycle")  # the schedules that reached `final` one step after the last one


def as_it_began(settings: Settings, before: Mapping[str, Any] | None) -> Settings:
    """Returns the settings with what they meant when a run began.

    Args:
        settings: of the run.
        before: `run.json` of a run that is resumed, or None for a new one.
    """
    return with_offsets_of(with_schedules_of(settings, schedule_end(before)), offsets(before))


def offsets(before: Mapping[str, Any] | None) -> str:
    """Returns the precision in which a run scales columns and targets far from 0.

    Args:
        before: `run.json` of a run that is resumed, or None for a new one.
    """
    if before is None or "step" not in before:
        return IN_FLOAT64
    return str(before.get(OFFSETS, IN_FLOAT32))


def with_offsets_of(settings: Settings, precision: str) -> Settings:
    """Returns the settings with the data as they were encoded for runs whose `offsets` are the given ones."""
    if precision == IN_FLOAT64:
        return settings
    shared = {field.name: getattr(settings.data, field.name) for field in fields(settings.data)}
    return replace(settings, data=EarlierData(**shared))


def schedule_end(before: Mapping[str, Any] | None) -> str:
    """Returns at which step a run's schedules reach their `final`.

    Args:
        before: `run.json` of a run that is resumed, or None for a new one.
    """
    if before is None or "step" not in before:  # a job that couldn't start has written no step
        return AT_LAST_STEP
    return str(before.get(SCHEDULE_END, AFTER_LAST_STEP))


def with_schedules_of(settings: Settings, end: str) -> Settings:
    """Returns the settings with the schedules as they were for runs whose `schedule_end` is the given one."""
    if end == AT_LAST_STEP:
        return settings
    groups = {
        name: replace(group, schedule=EarlierSchedule(group.schedule.name, group.schedule.params))
        if group.schedule is not None and group.schedule.name in ENDED_LATER
        else group
        for name, group in settings.groups.items()
    }
    return replace(settings, groups=groups)
