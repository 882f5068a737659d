"""Checks of the keys that split the rows, against each other and against the data set."""

from __future__ import annotations

from tfrun.config.catalog import Component
from tfrun.config.data_settings import DataSettings
from tfrun.config.types import check_value
from tfrun.errors import ConfigError

BY_A_COLUMN = {"group": "groups", "time": "times", "column": "splits"}  # rule -> what its column has
NOT_DRAWN = ("time", "column")  # the rules whose folds are the same each time
FOLD_KEY = "data.fold"  # in which the runs of a cross-validation differ
FOLD_KEYS = (FOLD_KEY, "data.folds", "data.folds_repeats")


def check_split(data: DataSettings, dataset: Component) -> None:
    """Raises ConfigError if keys that split the rows are right alone and wrong together.

    Args:
        data: the config's `data`.
        dataset: the data set that it names.
    """
    by, column = data.split.by, data.split.column
    if by in BY_A_COLUMN and column is None:
        raise ConfigError(
            f"data.split.column: must be given, the column of the {BY_A_COLUMN[by]}. Received: data.split.by={by}"
        )
    if by not in BY_A_COLUMN and column is not None:
        raise ConfigError(
            f"data.split.column: only data.split.by={', '.join(BY_A_COLUMN)} go by a column. "
            f"Received: {column!r}, and data.split.by={by}"
        )
    if data.window is not None and by in ("random", "stratified"):
        raise ConfigError(
            f"data.split.by: {by} would tear windows of a series (data.window) apart. Use auto, which splits each "
            "series by time, or group, time or column"
        )
    _check_folds(data)
    path = next((param for param in dataset.params if param.name == "path"), None)
    for key, value in _files(data).items():
        if path is None:
            raise ConfigError(f"{key}: data={data.name} reads no file, so it has no data.path. Received: {value!r}")
        check_value(path.type, value, where=key)
        if by == "column":
            raise ConfigError(f"{key}: data.split.by=column names all splits already. Received: {value!r}")
    val, test = (0.0 if value else share for share, value in _shares(data))
    val = 0.0 if data.folds else val
    if val + test >= 1:
        raise ConfigError(
            "data.validation_split + data.test_split: must be < 1, or nothing is left to train on. "
            f"Received: {data.validation_split} + {data.test_split}"
        )


def has_validation_rows(data: DataSettings) -> bool:
    """Returns whether there may be validation rows, as far as the config says."""
    by_share = data.validation_split > 0 or data.validation_path is not None
    return by_share or data.folds is not None or data.split.by == "column"


def require_one_fold(data: DataSettings) -> None:
    """Raises ConfigError if a config has folds and doesn't say which one a run validates on."""
    if data.folds is not None and data.fold is None:
        last = data.folds * data.folds_repeats - 1
        raise ConfigError(
            f"data.folds: each fold is a run of its own. Use -m for all of them, or data.fold=0 to {last} for one. "
            f"Received: data.folds={data.folds}, and data.fold=null"
        )


def _check_folds(data: DataSettings) -> None:
    """Raises ConfigError if the keys of a cross-validation are wrong together."""
    if data.folds is None:
        if data.fold is not None or data.folds_repeats > 1:
            key = "fold" if data.fold is not None else "folds_repeats"
            raise ConfigError(f"data.{key}: needs data.folds, the number of folds. Received: {getattr(data, key)}")
        return
    by, num_jobs = data.split.by, data.folds * data.folds_repeats
    if data.fold is not None and data.fold >= num_jobs:
        raise ConfigError(f"data.fold: must be from 0 to {num_jobs - 1}. Received: {data.fold}")
    if data.folds_repeats > 1 and by in NOT_DRAWN:
        raise ConfigError(
            f"data.folds_repeats: must be 1 with data.split.by={by}, whose folds are the same each time. "
            f"Received: {data.folds_repeats}"
        )
    if data.validation_path is not None:
        raise ConfigError(
            "data.validation_path: the folds are the validation rows, one after the other. Leave it out, or leave "
            f"data.folds out. Received: {data.validation_path!r}, and data.folds={data.folds}"
        )
    if data.window is not None and by == "auto":
        raise ConfigError(
            "data.folds: folds of windows need a rule: data.split.by=time, group or column, with data.split.column. "
            f"Received: data.split.by={by}"
        )


def _files(data: DataSettings) -> dict[str, str | list[str]]:
    """Returns the files that hold one split, by their keys."""
    files = {"data.validation_path": data.validation_path, "data.test_path": data.test_path}
    return {key: value for key, value in files.items() if value is not None}


def _shares(data: DataSettings) -> list[tuple[float, bool]]:
    """Returns the share of the validation and of the test rows, and whether they come from a file instead."""
    from_files = (data.validation_path is not None, data.test_path is not None)
    return list(zip((data.validation_split, data.test_split), from_files, strict=True))
