#!/usr/bin/env python
"""Measures how fast tfrun trains compared with Keras' fit() and other loops, as ratios taken side by side in one run.

    scripts/bench.py                         every case
    scripts/bench.py --case wide_deep-512    one case
    scripts/bench.py --quick                 one short round: shows that it works, not how fast anything is
    scripts/bench.py --json results.json     also writes the numbers
    scripts/bench.py --patience 60           waits up to 60 seconds for an idle machine before each measurement
    scripts/bench.py COMMAND                 another benchmark: start, memory, growth, stream, auto,
                                             graph, sweep or tables

A round runs every contender once, one after the other, so that whatever slows the machine down
slows them all. A ratio is taken within a round; the table shows the median over the rounds with the
smallest and the largest. Each run of tfrun is a command at its defaults, in a fresh process: the spread is that of
ten runs. "others" is the number of cores that other processes used meanwhile (the processes of tfrun, PyTorch
and JAX are such): they slow fit()'s many small calls more than one long call.
All contenders train the same model, built from tfrun's components, on the same rows, in float32.
Before anything is timed, they all take the same 16 steps from the same weights, and their
validation losses must agree: nobody is fast by doing less.

Speed is always measured in training steps per second:
    tfrun       the whole program as `tfrun …` runs it, from the end of its first block to the end of its loop:
                training, metrics, validation after each epoch, curves and metrics.jsonl, the progress lines, one
                checkpoint on the way and one at the end
    fit()       with metrics and validation_data, without a progress bar, checkpoints or a logger
    other loops with metrics and validation; the bare loop has neither: it is the limit. JAX' loop has neither either

"first s" is the time from the start of building to the end of the first step, or of the first call
where one call runs several steps; "MB" is the peak memory of the whole process. Each contender gets
a fresh process for these two. Imports count for the memory, not for the time.

Orbit, PyTorch and JAX are measured if they are installed.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, STREAMED, TABLE_CASES

ALL_CASES = tuple(CASES)
DEFAULT_COMMAND = "loops"


@dataclass(frozen=True)
class Command:
    """A sub-command; `run` in the module of its name in benchmarks/ does the work and takes the options by keyword.

    Attributes:
        summary: its line in the help.
        cases: the cases that it measures without --case; None: it has no --case.
        rounds: the default of --rounds; None: it has no --rounds.
        quick: the help of --quick; None: it has no --quick.
        waits: whether it has --patience.
        plots: whether it has --plot.
        redraws: whether it has --from, which plots earlier results.
    """

    summary: str
    cases: Sequence[str] | None = None
    rounds: int | None = None
    quick: str | None = None
    waits: bool = False
    plots: bool = False
    redraws: bool = False

    def add_options(self, parser: argparse.ArgumentParser) -> list[str]:
        """Adds the command's options to its parser; returns the names under which `run` takes them."""
        add = parser.add_argument
        options: list[argparse.Action] = []
        if self.cases is not None:
            only = "only this one; may be repeated"
            choices = ALL_CASES if set(self.cases) <= set(ALL_CASES) else self.cases
            options.append(add("--case", action="append", choices=choices, dest="cases", help=only))
        if self.quick is not None:
            options.append(add("--quick", action="store_true", help=self.quick))
        if self.rounds is not None:
            options.append(add("--rounds", type=int, default=self.rounds, help="default: %(default)s"))
        if self.waits:
            waiting = "the longest wait for an idle machine, before each measurement"
            options.append(add("--patience", type=float, default=0.0, metavar="SECONDS", help=waiting))
        if self.plots:
            options.append(add("--plot", type=Path, metavar="FILE", dest="plot_file", help="where to draw an SVG"))
        if self.redraws:
            earlier = "print and plot the results that --json wrote, without measuring"
            options.append(add("--from", type=Path, metavar="FILE", dest="from_file", help=earlier))
        options.append(add("--json", type=Path, metavar="FILE", dest="json_file", help="where to write the results"))
        return [option.dest for option in options]


COMMANDS = {
    "loops": Command(
        "tfrun and other loops; what a call without a command does",
        cases=ALL_CASES,
        rounds=10,
        quick="one short round",
        waits=True,
    ),
    "start": Command("the wait before the first step", rounds=5),
    "memory": Command("memory beyond TensorFlow's own; whether it grows with epochs and trials", quick="little data"),
    "growth": Command(
        "steps per second over batch size, model size and rows", quick="two points of each line", plots=True
    ),
    "stream": Command("streaming, the bare tf.data pipeline, and rows on the device", cases=tuple(STREAMED), rounds=5),
    "auto": Command("what trainer.compile=auto picks, and what picking costs", cases=ALL_CASES, rounds=3),
    "graph": Command(
        "one loop and one training step in Python, as a graph and by XLA", cases=("wide_deep-32", "mlp-512"), rounds=5
    ),
    "sweep": Command("64 trials as a sweep, as a process each, and by Hydra's joblib launcher", quick="four trials"),
    "tables": Command(
        "steps per second, memory and epoch ends over the number of ids",
        cases=tuple(TABLE_CASES),
        rounds=3,
        quick="one short round of few rows and ids",
        plots=True,
        redraws=True,
    ),
}


def parse(words: Sequence[str] | None = None) -> tuple[str, dict[str, Any]]:
    """Returns the command's name and its options, from the command line unless `words` are given."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    COMMANDS[DEFAULT_COMMAND].add_options(parser)
    options = {}
    for name, command in COMMANDS.items():
        options[name] = command.add_options(commands.add_parser(name, help=command.summary))
    args = vars(parser.parse_args(words))
    chosen = args["command"] or DEFAULT_COMMAND
    values = {option: args[option] for option in options[chosen]}
    if "cases" in values:
        values["cases"] = values["cases"] or COMMANDS[chosen].cases
    return chosen, values


def main() -> None:
    """Runs the benchmark that the command line asks for."""
    command, options = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # imported only now that the command line is understood: TensorFlow takes seconds
    importlib.import_module(f"benchmarks.{command}").run(**options)


if __name__ == "__main__":  # the fresh processes import this file too
    main()
