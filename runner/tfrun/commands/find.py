"""`tfrun find lr|batch_size [overrides]`: a learning-rate range test; the largest batch that fits into the memory."""

from __future__ import annotations

from tfrun.commands import find_batch_size, find_lr
from tfrun.commands.command_line import CommandLine
from tfrun.errors import ConfigError, unknown

HELP = """tfrun find tries a config out and writes no run. It ends with the command line to copy.

  tfrun find lr [overrides]          a learning-rate range test: some steps while the rate grows, until the loss does
  tfrun find batch_size [overrides]  the largest batch that fits into the memory, and how fast each size trains

Options of lr:

  from=1e-7 to=10            the rates of the first step and of the last one
  steps=100                  how many steps; between two of them the rate grows by the same factor
  smoothing=0.9              the share of the loss's moving average that each step keeps
  group=NAME                 tests one optimizer group, the others frozen; by default all rates grow together
  out=FILE.html              writes the curve as a page; overwrite=true replaces the file

Options of batch_size:

  max=4096                   the greatest size to try; by default the number of training rows
  memory=4GB                 what a try may take; by default all free memory, except for a reserve

Overrides are those of tfrun train: tfrun find lr model=mlp data.batch_size=128"""


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    names = [word for word in command_line.names if not word.startswith("~")]
    commands = {"lr": find_lr.run, "batch_size": find_batch_size.run}
    if not names:
        raise ConfigError("find: needs what to find, lr or batch_size. For example: tfrun find lr model=mlp")
    if names[0] not in commands:
        raise unknown("find", "name", name=names[0], known=commands)
    if names[1:]:
        raise ConfigError(f"find {names[0]}: takes a config's overrides, no runs or folders. Received: {names[1]!r}")
    words = list(command_line.words)
    words.remove(names[0])
    return commands[names[0]](command_line.with_words(words))
