"""`tfrun list [GROUP…]`: the names to choose from, each with the first line of its documentation."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from tfrun.commands.command_line import CommandLine
from tfrun.commands.options import groups_and_kinds, names_in, summary
from tfrun.config.compose import Configs, open_configs
from tfrun.errors import unknown
from tfrun.line_breaks import fitted

UNLIMITED_WIDTH = 10_000  # columns, where the output is not a terminal


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    with open_configs(command_line.settings, command_line.sources) as configs:
        print(list_text(configs, command_line.names))
    return 0


def list_text(configs: Configs, groups: Sequence[str]) -> str:
    """Returns the names in some groups, or in all of them, each with the first line of its documentation."""
    known = groups_and_kinds(configs)
    for group in groups:
        if group not in known:
            raise unknown("list", "group", name=group, known=known)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else UNLIMITED_WIDTH  # one line each in a file
    blocks = []
    for group in groups or known:
        names = names_in(configs, group)
        pad = max((len(name) for name in names), default=0) + 2
        lines = [f"  {name:<{pad}}{summary(configs, group, name=name)}".rstrip() for name in names]
        blocks.append("\n".join([group, *(fitted(line, width) for line in lines)]))
    return "\n\n".join(blocks)
