"""The folder of a run's first command: the relative paths of its config, and its plugins, are looked for there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tfrun.errors import CheckpointError, ConfigError
from tfrun.files import yaml_files


def describe(run: Path) -> dict[str, str]:
    """Returns the current folder for `run.json`: its path, and its path as seen from the run's folder."""
    return {"path": str(Path.cwd()), "from_run": os.path.relpath(Path.cwd(), run)}


def of_hydra(run: Path) -> dict[str, str]:
    """Returns the folder that Hydra's file of a run, or of a sweep, names; empty if there is none.

    Raises:
        CheckpointError: the file can't be read as YAML.
    """
    for file in (run / ".hydra" / "hydra.yaml", run / "multirun.yaml"):
        if file.exists():
            try:
                return {"path": yaml_files.load(file)["hydra"]["runtime"]["cwd"]}
            except (KeyError, TypeError):  # of another program
                continue
            except (yaml.YAMLError, ConfigError) as error:
                raise CheckpointError(" ".join(str(error).split())) from error
    return {}


def find(run: Path, described: Mapping[str, Any], *, needed: Sequence[Sequence[str]]) -> Path:
    """Returns the folder of a run's first command, or the current one if it isn't there.

    A project that was moved or copied as a whole has it where the run's folder says; a run's folder that was moved
    alone, where the first command ran. So the first of these, and of the current folder, counts that has all files.

    Args:
        run: the run's folder.
        described: what `describe` returned; empty for runs of earlier versions.
        needed: the relative paths of the files that the run needs, each with its alternatives.
    """
    folders = [Path(os.path.normpath(run / str(described["from_run"])))] if "from_run" in described else []
    folders += [Path(str(described["path"]))] if "path" in described else []
    folders = [folder for folder in folders if folder.is_dir()]
    folders.append(Path.cwd())
    has_all = (folder for folder in folders if all(any((folder / path).exists() for path in paths) for paths in needed))
    return next(has_all, folders[0])
