#!/usr/bin/env python
"""How fast tfrun trains beside Keras' fit() and other loops, as ratios measured side by side in one run.

    scripts/bench.py                         every case
    scripts/bench.py --case wide_deep-512    one
    scripts/bench.py --quick                 few rounds: whether it works, not how fast it is
    scripts/bench.py --json results.json     the numbers as well
    scripts/bench.py --patience 60           waits before each measurement, so long at most, for an idle machine
    scripts/bench.py COMMAND                 start, memory, growth, stream, auto, graph or sweep: their own

A round runs every contender once, one after the other, so that what slows the machine down slows them all; a ratio is
taken within a round, and the median over the rounds is shown with the least and the greatest. "others" is how many
cores other processes used meanwhile (PyTorch's own worker is such a process): they slow fit()'s many small calls more
than one long call. All train the same model, built by tfrun's own components, on the same rows, float32. Before
anything is timed, all take the same 16 steps from the same weights, and their validation losses have to agree: nobody
is fast by doing less.

What is timed, always as training steps per second:
    tfrun       the whole program as `tfrun …` runs it, from its first block's end to the end of its loop: training,
                metrics, validation after each epoch, curves and metrics.jsonl, the progress lines, one checkpoint on
                the way and one at the end
    fit()       with metrics and validation_data, without a progress bar, checkpoint or logger
    other loops with metrics and validation; the bare loop with neither: it is the limit

"first s" is the time from the start of building to the end of the first step, or of the first call where that is
several steps, and "MB" the peak memory of the whole process; each contender has a fresh process for them. Imports are
in the memory, not in the time.

Orbit and PyTorch are measured where they are installed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import CASES

COMMANDS = {
    "loops": "tfrun beside other loops; what a call without a command does",
    "start": "the wait before the first step",
    "memory": "memory beyond TensorFlow's own; whether it grows with epochs and trials",
    "growth": "steps per second over batch size, model size and rows",
    "stream": "streaming beside the bare tf.data pipeline and rows on the device",
    "auto": "what trainer.compile=auto picks beside the fixed modes, and what picking costs",
    "graph": "one loop and one training step in Python, as a graph and by XLA",
    "sweep": "64 trials as a sweep, beside a process for each and Hydra's joblib launcher",
}
GRAPH_CASES = ("wide_deep-32", "mlp-512")
QUICK_ROUNDS = 2


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Returns what the command line asks for."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command, summary in COMMANDS.items():
        commands.add_parser(command, help=summary)
    for own in (parser, commands.choices["loops"]):
        own.add_argument("--case", action="append", choices=CASES, help="only this one; may be repeated")
        own.add_argument("--quick", action="store_true", help="two short rounds")
        own.add_argument("--rounds", type=int, default=7)
        own.add_argument("--patience", type=float, default=0.0, metavar="SECONDS")
        own.add_argument("--json", type=Path, metavar="FILE", help="where to write the results")
    start, memory = commands.choices["start"], commands.choices["memory"]
    start.add_argument("--rounds", type=int, default=5)
    memory.add_argument("--quick", action="store_true", help="little data")
    growth, stream, auto, graph = (commands.choices[command] for command in ("growth", "stream", "auto", "graph"))
    growth.add_argument("--quick", action="store_true", help="two points of each line")
    growth.add_argument("--plot", type=Path, metavar="FILE", help="where to draw them, an SVG")
    stream.add_argument("--rounds", type=int, default=5)
    auto.add_argument("--rounds", type=int, default=3)
    graph.add_argument("--rounds", type=int, default=5)
    for own in (auto, graph):
        own.add_argument("--case", action="append", choices=CASES, help="only this one; may be repeated")
    sweep = commands.choices["sweep"]
    sweep.add_argument("--quick", action="store_true", help="four trials")
    for own in (start, memory, growth, stream, auto, graph, sweep):
        own.add_argument("--json", type=Path, metavar="FILE", help="where to write the results")
    return parser.parse_args(words)


def main() -> None:
    """Measures what the command line asks for."""
    args = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    if args.command == "start":
        from benchmarks import start

        return start.run(args.rounds, args.json)
    if args.command == "memory":
        from benchmarks import memory

        return memory.run(args.quick, args.json)
    if args.command == "growth":
        from benchmarks import growth

        return growth.run(args.quick, args.json, args.plot)
    if args.command == "stream":
        from benchmarks import stream

        return stream.run(args.rounds, args.json)
    if args.command == "auto":
        from benchmarks import auto

        return auto.run(args.case or list(CASES), args.rounds, args.json)
    if args.command == "sweep":
        from benchmarks import sweep

        return sweep.run(args.quick, args.json)
    if args.command == "graph":
        from benchmarks import graph

        return graph.run(args.case or GRAPH_CASES, args.rounds, args.json)
    from benchmarks import loops  # after the command line is understood: TensorFlow takes seconds

    rounds = QUICK_ROUNDS if args.quick else args.rounds
    loops.run(args.case or list(CASES), rounds, args.quick, args.patience, args.json)


if __name__ == "__main__":  # the fresh processes import this file too
    main()
