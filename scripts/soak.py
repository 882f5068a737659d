#!/usr/bin/env python
"""Trains for a long time with random faults, and compares every run with an undisturbed one.

    scripts/soak.py --minutes 60
    scripts/soak.py --minutes 5 --seed 7

A run is started and killed again and again: at a random operation on its files, at a random moment, by SIGTERM, or by
the disk refusing an operation. Each time it is resumed, until it ends by itself. Every variable, metrics.jsonl and the
metrics in run.json must be the same, bit for bit, as those of the same command without faults. The last line reports
the number of runs and faults, and the peak memory of any process.
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
MAX_FAULTS = 6  # of a run


def main() -> None:
    """Repeats disturbed runs for as long as the command line asks; ends with exit code 1 at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the random faults; default: %(default)s")
    args = parser.parse_args()
    dice = random.Random(args.seed)
    ends = time.monotonic() + 60 * args.minutes
    num_runs = 0
    num_faults = 0
    while time.monotonic() < ends:
        words = [*dice.choice(RECIPES), *STEPS, f"seed={num_runs}"]
        with tempfile.TemporaryDirectory() as folder:
            undisturbed = Path(folder, "undisturbed")
            disturbed = Path(folder, "disturbed")
            run(undisturbed, words)
            faults = disturb(disturbed, words, dice=dice)
            differences = compare(only_run(undisturbed), only_run(disturbed))
        print(f"{' '.join(words)}: {', '.join(faults)}: {', '.join(differences) or 'the same'}", flush=True)
        if differences:
            raise SystemExit(1)
        num_runs += 1
        num_faults += len(faults)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"{num_runs} runs, {num_faults} faults, all the same. No process had more than {peak} MB")


def run(folder: Path, words: list[str], *, failpoint: str = "", seconds: float = 0, signal_number: int = 0) -> int:
    """Runs the command in the folder and returns its exit code.

    Args:
        folder: the working directory.
        words: the command's arguments.
        failpoint: where a file operation kills the process or fails, as in TFRUN_FAILPOINT; empty: nowhere.
        seconds: how long to wait before sending the signal.
        signal_number: the signal to send; 0: none.

    Raises:
        SystemExit: the command failed in a way that the faults don't explain.
    """
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "TFRUN_FAILPOINT": failpoint}
    process = subprocess.Popen(
        [TFRUN, *words], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if signal_number:
        time.sleep(seconds)
        process.send_signal(signal_number)
    _, errors = process.communicate()
    code = process.returncode
    if "Traceback" in errors or code not in (0, 5, -signal.SIGKILL, -signal.SIGTERM, 143):
        fault = failpoint or signal_number
        raise SystemExit(f"{' '.join(words)} with {fault} ended with exit code {code}: {errors}")
    if not failpoint and not signal_number and code:
        raise SystemExit(f"{' '.join(words)} ended with exit code {code}: {errors}")
    return code


def disturb(folder: Path, words: list[str], *, dice: random.Random) -> list[str]:
    """Brings a run to its end in spite of random faults; returns their names."""
    faults = []
    for _ in range(dice.randint(1, MAX_FAULTS)):
        kind = dice.choice(["io", "full", "kill", "term"])
        failpoint = f"io:{dice.randrange(1, 150)}{'=full' * (kind == 'full')}" if kind in ("io", "full") else ""
        seconds = dice.uniform(0.5, 9)
        signal_number = {"kill": signal.SIGKILL, "term": signal.SIGTERM}.get(kind, 0)
        command = next_command(folder, words)
        code = run(folder, command, failpoint=failpoint, seconds=seconds, signal_number=signal_number)
        faults.append(failpoint or kind)
        if code == 0:
            break
    run(folder, next_command(folder, words))
    return faults


def next_command(folder: Path, words: list[str]) -> list[str]:
    """Returns the command that resumes the run in the folder, or that starts it if there is nothing to resume."""
    resumable = [path.parent for path in folder.glob("outputs/run/*/config.yaml")]
    for path in folder.glob("outputs/run/*"):
        if path not in resumable:  # killed before it wrote its config
            path.rename(folder / path.name)
    return ["resume", str(resumable[0])] if resumable else words


def only_run(folder: Path) -> Path:
    """Returns the folder of the only run."""
    (path,) = folder.glob("outputs/run/*")
    return path


def compare(expected: Path, actual: Path) -> list[str]:
    """Returns the names of the files, keys and variables in which two runs differ."""
    differences = []
    if (expected / "metrics.jsonl").read_bytes() != (actual / "metrics.jsonl").read_bytes():
        differences.append("metrics.jsonl")
    expected_json, actual_json = (json.loads((path / "run.json").read_text()) for path in (expected, actual))
    keys = ("status", "step", "metrics", "best")
    differences += [key for key in keys if expected_json[key] != actual_json[key]]
    newest = [max(path.glob("checkpoints/step-*")) / "state.npz" for path in (expected, actual)]
    with np.load(newest[0]) as left, np.load(newest[1]) as right:
        if left.files != right.files:
            return [*differences, "slots"]
        return differences + [slot for slot in left.files if left[slot].tobytes() != right[slot].tobytes()]


if __name__ == "__main__":
    main()
