"""`tfrun prune PATH… [keep=last|best yes=true]`: frees the checkpoints of ended runs, never their best weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tfrun.commands.command_line import CommandLine, pop_flag, pop_word
from tfrun.commands.compare import TOP, parse_top
from tfrun.commands.prunable import RunsBelow, is_held
from tfrun.errors import CheckpointError, ConfigError, FolderInUseError, ResourceError, TfrunError, some, unknown
from tfrun.files import retention
from tfrun.files.retention import KEEPS, LAST, Pruning
from tfrun.files.runs import RunFolder
from tfrun.folders import shown
from tfrun.streams import complain

MAX_NAMED = 3  # runs that a line names
IN_USE = "another process uses it"


@dataclass
class _Result:
    """What became of the runs.

    Attributes:
        pruned: what was freed, or would be.
        left: the runs that are left alone, by reason.
        num_without_work: the runs of which nothing is left to free.
        errors: of each run that can't be pruned.
    """

    pruned: list[Pruning] = field(default_factory=list)
    left: dict[str, list[RunFolder]] = field(default_factory=dict)
    num_without_work: int = 0
    errors: list[TfrunError] = field(default_factory=list)


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    keeps, command_line = pop_word(command_line, "keep")
    tops, command_line = pop_word(command_line, "top")
    yes, command_line = pop_flag(command_line, "yes")
    for word in command_line.settings:
        raise unknown("prune", "option", name=word.partition("=")[0], known=["keep", "top", "yes"])
    keep = keeps[-1] if keeps else LAST
    if keep not in KEEPS:
        raise unknown("keep", "choice", name=keep, known=KEEPS)
    top = parse_top(tops[-1]) if tops else TOP
    if not command_line.names:
        raise ConfigError("prune: needs folders with runs, for example: tfrun prune outputs keep=best")
    result = _prune_all(RunsBelow.find(command_line.names), keep, really=yes)
    _print(result, really=yes, top=top)
    return 0


def _prune_all(runs: RunsBelow, keep: str, *, really: bool) -> _Result:
    """Prunes all runs that may be, or finds out what that would do. Raises the first error if each run has one."""
    result = _Result()
    for folder in runs.folders:
        try:
            if reason := runs.reason_to_leave(folder, keep):
                result.left.setdefault(reason, []).append(folder)
                continue
            pruning = _prune(folder, keep) if really else _plan(folder, keep)
        except FolderInUseError:
            result.left.setdefault(IN_USE, []).append(folder)
        except (CheckpointError, ResourceError) as error:  # one bad folder is no reason not to prune the others
            result.errors.append(error)
        else:
            if pruning is None or not pruning.has_work:
                result.num_without_work += 1
            else:
                result.pruned.append(pruning)
    if len(result.errors) == len(runs.folders):
        raise result.errors[0]
    return result


def _plan(folder: RunFolder, keep: str) -> Pruning | None:
    if is_held(folder):
        raise FolderInUseError(str(folder.path))
    return retention.plan(folder, keep)


def _prune(folder: RunFolder, keep: str) -> Pruning | None:
    pruning = retention.plan(folder, keep)
    if pruning is None or not pruning.has_work:  # so that nothing is written into the folder
        return pruning
    with folder.held():
        pruning = retention.plan(folder, keep)  # again, since another process may have resumed or pruned it
        if pruning is not None and pruning.has_work:
            retention.prune(pruning)
    return pruning


def _print(result: _Result, *, really: bool, top: int | None) -> None:
    """Prints the table of what was freed, the total, and what was left alone and why."""
    from rich.table import Table  # here, since its import takes a tenth of a second

    from tfrun.console import Results, say
    from tfrun.narrow_tables import print_table

    console = Results()
    pruned = sorted(result.pruned, key=lambda pruning: -pruning.freed_bytes)
    name_of = _names([pruning.folder for pruning in pruned])
    if pruned:
        table = Table()
        for head in ("run", "kept"):
            table.add_column(head, overflow="fold")
        table.add_column("freed" if really else "would free", justify="right")
        for pruning in pruned[:top]:
            table.add_row(name_of(pruning.folder), pruning.kept, shown_bytes(pruning.freed_bytes))
        print_table(console, table)
        if more := len(pruned) - len(pruned[:top]):
            say(console, f"{more:,} more run{'s' if more > 1 else ''}: top=all shows all")
    if result.num_without_work:
        say(console, f"nothing to free in {_count(result.num_without_work)}")
    for reason, folders in result.left.items():
        names = some([shown(folder.path) for folder in folders], MAX_NAMED)
        say(console, f"left alone: {_count(len(folders))}, {reason}: {names}")
    for error in result.errors:
        complain(f"warning: left out: {' '.join(str(error).split())}")
    total = shown_bytes(sum(pruning.freed_bytes for pruning in pruned))
    say(console, f"{'freed' if really else 'would free'} {total} in {_count(len(pruned))}")
    if pruned and not really:
        say(console, "nothing was removed: yes=true does it")


def _names(folders: Sequence[RunFolder]) -> Callable[[RunFolder], str]:
    """Returns a function that names runs: by the last part of their paths if only that differs."""
    if len({folder.path.parent for folder in folders}) == 1 < len(folders):
        return lambda folder: folder.path.name
    return lambda folder: shown(folder.path)


def _count(number: int) -> str:
    return f"{number:,} run{'' if number == 1 else 's'}"


def shown_bytes(number: int) -> str:
    """Returns a number of bytes as text: `812 bytes`, `31.2 KiB`, `1.40 GiB`."""
    if abs(number) < 1024:
        return f"{number} bytes"
    size, units = float(number), iter(("KiB", "MiB", "GiB", "TiB"))
    unit = ""
    while abs(size) >= 1024 and unit != "TiB":
        size, unit = size / 1024, next(units)
    return f"{size:.3g} {unit}" if abs(size) < 1000 else f"{size:,.0f} {unit}"
