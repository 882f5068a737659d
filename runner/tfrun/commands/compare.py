"""`tfrun compare PATH…`: runs side by side, best first, as tables on the terminal, CSV, Markdown or HTML."""

from __future__ import annotations

from pathlib import Path

from tfrun.commands.command_line import CommandLine, Flags, pop_flag, pop_word
from tfrun.errors import ConfigError, near_miss, unknown

OPTIONS = ("metric", "mode", "take")  # of the order
TOP = 20  # lines of a table that are printed unless top= says another number


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    flags, paths = command_line.flags, command_line.names
    tops, command_line = pop_word(command_line, "top")
    has_importance = any(word.startswith("importance=") for word in command_line.words)
    with_importance, command_line = pop_flag(command_line, "importance")
    options = dict(word.split("=", 1) for word in command_line.settings)
    for key in options:
        if key not in OPTIONS:
            raise unknown("compare", "option", name=key, known=[*OPTIONS, "top", "importance"])
    _refuse_useless(flags, has_top=bool(tops), has_importance=has_importance)
    top = parse_top(tops[-1]) if tops else TOP
    if not paths:
        raise ConfigError("compare: needs folders with runs, for example: tfrun compare multirun/default")
    from tfrun.reports import importance, tables  # here, since they import Rich
    from tfrun.reports.comparison import compare

    if with_importance and not importance.is_installed():
        raise ConfigError("importance: needs Optuna. Install it with: pip install 'tfrun[search]'")
    comparison = compare(paths, **options)
    if flags.html:
        from tfrun.reports import html

        html.write(comparison, Path(flags.html).expanduser(), top=top if tops else None)
    elif flags.csv:
        print(tables.all_as_csv(comparison))
    elif flags.markdown:
        print(tables.all_as_markdown(comparison, top))
    elif len(paths) == 2 and len(comparison.rows) == 2:
        tables.print_differences(comparison, top=top)
    else:
        tables.print_comparison(comparison, top=top, with_importance=with_importance)
    return 0


def _refuse_useless(flags: Flags, *, has_top: bool, has_importance: bool) -> None:
    """Raises ConfigError for an option that the chosen output doesn't have."""
    if flags.csv and has_top:
        raise ConfigError("top: not with --csv, which always has all runs")
    if has_importance and (flags.csv or flags.markdown):
        raise ConfigError("importance: not with --csv or --markdown. The terminal and --html show it")


def parse_top(text: str) -> int | None:
    """Returns how many lines of a table are printed, None for all. Raises ConfigError."""
    if text == "all":
        return None
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text) > 0):
        hint = near_miss(text, ["all"])
        raise ConfigError(f"top: must be a number of lines, 1 or more, or all. Received: {text!r}.{hint}")
    return int(text)
