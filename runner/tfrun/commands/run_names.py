"""Names of runs and sweeps that are shorter than their paths.

    latest          the run or the sweep that was begun last
    best            the best run of the sweep that was begun last; PATH/best is that of another one
    e49e32          the beginning of an id; 2026-11-29_22 the beginning of a folder's name; 4711 the id of a Slurm job
    latest/3        job 3 of that sweep

They stand for folders in `outputs` and `multirun`. A path that exists means what it says. The values of keys
that name a run may be such a name too: `init=latest`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tfrun.commands.command_line import CommandLine
from tfrun.errors import ConfigError, some
from tfrun.files.runs import KINDS_OF_FOLDER, folders_below, newest_folder, open_sweep
from tfrun.folders import shown, typed

LATEST, BEST = "latest", "best"
KEYS = ("init", "init.from", "algorithm.teacher", "sweep.extend")  # whose value is a run or a sweep
BEGINNING = re.compile(r"[0-9a-f]{3,6}|\d+(-\d+)?|\d{4}-[0-9_-]*[0-9a-f]{0,6}")  # of an id, or of a folder's name


def with_paths(command_line: CommandLine) -> CommandLine:
    """Returns the command line with the paths of the runs and sweeps that its words name.

    Raises:
        ConfigError: there is no run yet, or a beginning fits several.
    """
    return command_line.with_words([word if "=" in word else path_of(word) for word in command_line.words])


def with_paths_of_keys(command_line: CommandLine) -> CommandLine:
    """Returns the command line with the paths of the runs and sweeps that keys such as `init` name.

    Raises:
        ConfigError: there is no run yet, or a beginning fits several.
    """
    words = [word.partition("=") for word in command_line.words]
    return command_line.with_words(
        [
            f"{key}={path_of(value)}" if key in KEYS and value else "".join((key, equals, value))
            for key, equals, value in words
        ]
    )


def path_of(word: str) -> str:
    """Returns the path of the run or the sweep that a word names; the word itself if it is a path, or names none.

    Raises:
        ConfigError: there is no run yet, or a beginning fits several.
    """
    if os.path.exists(word):
        return word
    head, _, tail = word.rpartition("/")
    if tail == BEST:
        return _best_of(path_of(head) if head else _newest(sweeps_only=True))
    if head and tail.isdecimal():
        return f"{path_of(head)}/{tail}"
    if word == LATEST:
        return _newest()
    if not BEGINNING.fullmatch(word):
        return word
    folders = list(folders_below())
    matches = [folder for folder in folders if _id(folder) == word]  # that of a job may begin another job's
    matches = matches or [folder for folder in folders if _begins(folder, word)]
    if len(matches) > 1:
        raise ConfigError(f"{word}: begins the names of {len(matches)} runs: {some([shown(path) for path in matches])}")
    return shown(matches[0]) if matches else word


def _begins(folder: Path, word: str) -> bool:
    return folder.name.startswith(word) or _id(folder).startswith(word)


def _id(folder: Path) -> str:
    return folder.name.rpartition("_")[2]


def _newest(*, sweeps_only: bool = False) -> str:
    """Returns the path of the run or sweep that was begun last. Raises ConfigError if there is none."""
    folder = newest_folder(sweeps_only=sweeps_only)
    if folder is None:
        what, where = ("sweep", "multirun") if sweeps_only else ("run", " and ".join(KINDS_OF_FOLDER))
        raise ConfigError(f"{BEST if sweeps_only else LATEST}: there is no {what} yet in {where}, in {typed('.')}")
    return shown(folder)


def _best_of(sweep: str) -> str:
    """Returns the path of a sweep's best run. Raises ConfigError if it is no sweep, or has none."""
    from tfrun.reports.comparison import compare  # here, since most commands need no YAML reader so early

    if open_sweep(sweep) is None:
        raise ConfigError(f"{BEST}: {sweep} is no sweep")
    done = compare([sweep]).done
    if not done:
        raise ConfigError(f"{BEST}: no run of {sweep} has completed")
    return shown(done[0].folder.path)
