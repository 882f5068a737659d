"""Of which data each file in a run's `predictions/` is, so that two data files of one name don't share one."""

from __future__ import annotations

from pathlib import Path

from tfrun.errors import ConfigError
from tfrun.files import json_files, strict_json
from tfrun.files.disk import write_atomically
from tfrun.folders import shown

RECORD = "sources.json"  # by the name of the file


def refuse_other_source(out: Path, source: str) -> None:
    """Raises ConfigError if a file has the predictions for other data.

    A file that isn't in the record, which earlier versions don't have, is accepted.

    Args:
        out: the file that would be replaced.
        source: the absolute path of the data, or the name of the data set.

    Raises:
        CheckpointError: the record is damaged.
    """
    earlier = _read(out.parent).get(out.name, source)
    if out.exists() and earlier != source:
        raise ConfigError(
            f"out: {shown(out)} has the predictions for {earlier}. Received: {source}. Name another file with "
            "out=FILE.csv, or replace it with overwrite=true"
        )


def record_source(out: Path, source: str) -> None:
    """Notes of which data a file of predictions is. Raises ResourceError if the disk refuses."""
    recorded = _read(out.parent) | {out.name: source}
    write_atomically(out.parent / RECORD, strict_json.dumps(recorded, indent=1) + "\n")


def _read(folder: Path) -> dict[str, str]:
    try:
        return json_files.read_object(folder / RECORD)
    except FileNotFoundError:
        return {}
