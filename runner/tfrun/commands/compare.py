"""`tfrun compare PATH…`: runs side by side, best first, as tables on the terminal, CSV, Markdown or HTML."""

from __future__ import annotations

from pathlib import Path

from tfrun.commands.command_line import CommandLine
from tfrun.errors import ConfigError, unknown

OPTIONS = ("metric", "mode", "take")


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    options = dict(word.split("=", 1) for word in command_line.settings)
    for key in options:
        if key not in OPTIONS:
            raise unknown("compare", "option", name=key, known=OPTIONS)
    paths, flags = command_line.names, command_line.flags
    if not paths:
        raise ConfigError("compare: needs folders with runs, for example: tfrun compare multirun/default")
    from tfrun.reports import repeats, tables  # here, since they import Rich
    from tfrun.reports.comparison import compare

    comparison = compare(paths, **options)
    if flags.html:
        from tfrun.reports import html  # here, since it imports Plotly

        html.write(comparison, Path(flags.html).expanduser())
    elif flags.csv or flags.markdown:
        as_text = tables.as_csv if flags.csv else tables.as_markdown
        both = (tables.runs_table(comparison), repeats.repeats_table(comparison))
        print("\n\n".join(as_text(table) for table in both if table))
    elif len(paths) == 2 and len(comparison.rows) == 2:
        tables.print_differences(comparison)
    else:
        tables.print_comparison(comparison)
    return 0
