#!/usr/bin/env python
"""Trains for a long time with faults at random, and compares every run with an undisturbed one.

    scripts/soak.py --minutes 60
    scripts/soak.py --minutes 5 --seed 7

A run is started and killed, again and again: at a random operation on its files, at a random moment, by SIGTERM, or
with the disk refusing an operation; then it is resumed, until it comes to its end. Every variable, metrics.jsonl and
run.json's metrics have to be the same, bit for bit, as those of the same command that nobody disturbed. The last line
says how many runs and faults there were, and the most memory that any process had.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TFRUN = Path(sys.executable).with_name("tfrun")
STEPS = ["trainer.max_epochs=60", "checkpoint.every_steps=50", "name=run"]
RECIPES = [
    ["trainer.compile=xla", "model.dropout=0.2", "optimizer.groups.deep.schedule=cosine"],
    ["trainer.compile=graph", "model=mlp", "model.batch_normalization=true", "trainer.ema_decay=0.9"],
    ["trainer.compile=xla", "data.residency=stream", "optimizer.groups.wide.every=2"],
    ["trainer.compile=graph", "model=mlp", "trainer.precision=mixed_float16", "trainer.microbatches=2"],
    ["experiment=gan_digits", "trainer.compile=xla", "trainer.max_epochs=20"],
]
MOST_FAULTS = 6  # of a run


def main() -> None:
    """Soaks for as long as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    dice, ends = random.Random(args.seed), time.monotonic() + 60 * args.minutes
    num_runs, num_faults = 0, 0
    while time.monotonic() < ends:
        words = [*dice.choice(RECIPES), *STEPS, f"seed={num_runs}"]
        with tempfile.TemporaryDirectory() as folder:
            whole, disturbed = Path(folder, "whole"), Path(folder, "disturbed")
            run(whole, words)
            faults = disturb(disturbed, words, dice)
            differences = compare(the_run(whole), the_run(disturbed))
        print(f"{' '.join(words)}: {', '.join(faults)}: {', '.join(differences) or 'the same'}", flush=True)
        if differences:
            raise SystemExit(1)
        num_runs, num_faults = num_runs + 1, num_faults + len(faults)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"{num_runs} runs, {num_faults} faults, all the same. No process had more than {peak} MB")


def run(folder: Path, words: list[str], failpoint: str = "", seconds: float = 0, number: int = 0) -> int:
    """Runs the command, sends it a signal after a while where one is given, and returns its exit code."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "TFRUN_FAILPOINT": failpoint}
    process = subprocess.Popen(
        [TFRUN, *words], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if number:
        time.sleep(seconds)
        process.send_signal(number)
    _, said = process.communicate()
    if "Traceback" in said or process.returncode not in (0, 5, -signal.SIGKILL, -signal.SIGTERM, 143):
        raise SystemExit(f"{' '.join(words)} with {failpoint or number} ended with {process.returncode}: {said}")
    if not failpoint and not number and process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}: {said}")
    return process.returncode


def disturb(folder: Path, words: list[str], dice: random.Random) -> list[str]:
    """Brings a run to its end in spite of faults; returns what they were."""
    faults = []
    for _ in range(dice.randint(1, MOST_FAULTS)):
        how = dice.choice(["io", "full", "kill", "term"])
        place = f"io:{dice.randrange(1, 150)}{'=full' * (how == 'full')}" if how in ("io", "full") else ""
        number = {"kill": signal.SIGKILL, "term": signal.SIGTERM}.get(how, 0)
        code = run(folder, again(folder, words), place, dice.uniform(0.5, 9), number)
        faults.append(place or how)
        if code == 0:
            break
    run(folder, again(folder, words))
    return faults


def again(folder: Path, words: list[str]) -> list[str]:
    """Returns the command that goes on with what is there."""
    begun = [path.parent for path in folder.glob("outputs/run/*/config.yaml")]
    for path in folder.glob("outputs/run/*"):
        if path not in begun:  # killed before the config was written: there is nothing to go on with
            path.rename(folder / path.name)
    return ["resume", str(begun[0])] if begun else words


def the_run(folder: Path) -> Path:
    """Returns the folder of the only run."""
    (path,) = folder.glob("outputs/run/*")
    return path


def compare(one: Path, other: Path) -> list[str]:
    """Returns what isn't the same."""
    differences = []
    if (one / "metrics.jsonl").read_bytes() != (other / "metrics.jsonl").read_bytes():
        differences.append("metrics.jsonl")
    mine, theirs = (json.loads((path / "run.json").read_text()) for path in (one, other))
    differences += [key for key in ("status", "step", "metrics", "best") if mine[key] != theirs[key]]
    newest = [max(path.glob("checkpoints/step-*")) / "state.npz" for path in (one, other)]
    with np.load(newest[0]) as left, np.load(newest[1]) as right:
        if left.files != right.files:
            return [*differences, "slots"]
        return differences + [slot for slot in left.files if left[slot].tobytes() != right[slot].tobytes()]


if __name__ == "__main__":
    main()
