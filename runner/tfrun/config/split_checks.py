"""Checks of the keys that split the rows, against each other and against the data set."""

from __future__ import annotations

from tfrun.config.catalog import Component
from tfrun.config.settings import DataSettings
from tfrun.config.types import check_value
from tfrun.errors import ConfigError

BY_A_COLUMN = {"group": "groups", "time": "times", "column": "splits"}  # rule -> what its column has


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
    path = next((param for param in dataset.params if param.name == "path"), None)
    for key, value in _files(data).items():
        if path is None:
            raise ConfigError(f"{key}: data={data.name} reads no file, so it has no data.path. Received: {value!r}")
        check_value(path.type, value, where=key)
        if by == "column":
            raise ConfigError(f"{key}: data.split.by=column names all splits already. Received: {value!r}")
    val, test = (0.0 if value else share for share, value in _shares(data))
    if val + test >= 1:
        raise ConfigError(
            "data.validation_split + data.test_split: must be < 1, or nothing is left to train on. "
            f"Received: {data.validation_split} + {data.test_split}"
        )


def has_validation_rows(data: DataSettings) -> bool:
    """Returns whether there may be validation rows, as far as the config says."""
    return data.validation_split > 0 or data.validation_path is not None or data.split.by == "column"


def _files(data: DataSettings) -> dict[str, str | list[str]]:
    """Returns the files that hold one split, by their keys."""
    files = {"data.validation_path": data.validation_path, "data.test_path": data.test_path}
    return {key: value for key, value in files.items() if value is not None}


def _shares(data: DataSettings) -> list[tuple[float, bool]]:
    """Returns the share of the validation and of the test rows, and whether they come from a file instead."""
    from_files = (data.validation_path is not None, data.test_path is not None)
    return list(zip((data.validation_split, data.test_split), from_files, strict=True))
