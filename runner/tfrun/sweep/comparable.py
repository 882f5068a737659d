"""Checks that the trials of a study can be compared: those of several machines, or of commands on several days."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tfrun.config.changes import changed_since, describe, differences, recorded
from tfrun.config.settings import Settings
from tfrun.errors import ConfigError, DataError
from tfrun.sweep.space import Space

ANOTHER_NAME = "a new one needs another name"
# what may change when a run is resumed, though runs of other lengths can't be compared
LENGTHS = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_seconds", "early_stopping")
OF_MACHINES = re.compile(r"strategy\b.*|trainer\.(threads|compile)|data\.residency|init\.from|data\.(.*_)?path(\..*)?")


def check_space(study: Any, space: Space, *, num_folds: int) -> None:
    """Saves the space and the number of folds in a study. Raises ConfigError if the study has others."""
    dimensions = [repr(dimension) for dimension in space.dimensions]
    known = study.user_attrs
    if known.get("space", dimensions) != dimensions:
        raise ConfigError(
            f"hydra.sweeper.study_name: the study {study.study_name!r} has another search space: {ANOTHER_NAME}"
        )
    folds = known.get("folds", 1 if "space" in known else num_folds)
    if folds != num_folds:
        raise ConfigError(
            f"data.folds: each trial of the study {study.study_name!r} has {folds} jobs, and a mean over others can't "
            f"be compared with theirs: {ANOTHER_NAME}. Received: {num_folds} jobs"
        )
    if num_folds > 1:
        study.set_user_attr("folds", num_folds)
    study.set_user_attr("space", dimensions)


def check_config(study: Any, settings: Settings, *, counts: Mapping[str, Any]) -> None:
    """Saves in a study what its trials train and what of them counts. Raises ConfigError if the study has other ones.

    What machines may have of their own is left out: paths, and how the numbers are computed.

    Args:
        study: that several commands may use.
        settings: of a job.
        counts: the keys of `hydra.sweeper` that say which number of a trial the study gets, with their values.
    """
    config, counts = recorded(settings), dict(counts)
    known = study.user_attrs.get("config")
    if known is None:
        study.set_user_attr("config", config)
        study.set_user_attr("counts", counts)
        return
    changes = changed_since(known, settings, also=LENGTHS)
    changes = {key: values for key, values in changes.items() if not OF_MACHINES.fullmatch(key)}
    changes |= differences({"hydra.sweeper": study.user_attrs.get("counts", counts)}, {"hydra.sweeper": counts})
    if changes:
        raise ConfigError(
            f"hydra.sweeper.study_name: the trials of the study {study.study_name!r} have another config, and can't be "
            f"compared with these: {ANOTHER_NAME}. {describe(changes)}"
        )


def check_rows(study: Any, run: Mapping[str, Any]) -> None:
    """Saves the fingerprint of a job's rows in a study. Raises DataError if its trials were trained on other rows.

    Args:
        study: whose trials have the same rows.
        run: the job's `run.json`; without the fingerprint if it hasn't read the rows yet.
    """
    fingerprint = (run.get("data") or {}).get("fingerprint")
    if fingerprint is None:
        return
    known = study.user_attrs.get("rows")
    if known is None:
        study.set_user_attr("rows", fingerprint)
    elif known != fingerprint:
        raise DataError(
            f"data: the trials of the study {study.study_name!r} were trained on other rows, and can't be compared "
            f"with these: {ANOTHER_NAME}. Fingerprint there: {known}, here: {fingerprint}"
        )
