"""Measures the wait before the first step, from the start of the process to the end of the step.

Every round starts a fresh process for each case, one after the other; the table shows medians over
the rounds. "beyond import" is what remains without the median of a process that only does `import
tensorflow`: the start of Python, Keras, the config, the data, the build and the compilation. A
second trial is timed from the start of its command, in the process of the first one.

The fresh processes run this file, `python -m benchmarks.start`, so its head imports nothing slow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

MANY_STEPS = ["model=wide_deep", "loss=huber", "trainer.max_epochs=null", f"trainer.max_steps={10**9}"]
XLA = [*MANY_STEPS, "trainer.compile=xla"]
OTHER_VALUES = ["loss.delta=0.7", "seed=7", "optimizer.groups.deep.learning_rate=3e-4"]
IMPORT = "import tensorflow"
COLUMNS = {  # column heads by the name of the value
    "first_step_seconds": "first step s",
    "beyond_import_seconds": "beyond import s",
    "build_seconds": "build s",
    "compile_seconds": "compile s",
}


def run(*, rounds: int, json_file: Path | None) -> None:
    """Measures the waits, prints a table and writes the numbers.

    Args:
        rounds: how many processes each case gets.
        json_file: where to write the numbers as well.
    """
    from benchmarks import report

    written: dict[str, Any] = {"machine": report.machine(), "rounds": rounds}
    report.print_machine(written["machine"])
    folder = Path(tempfile.mkdtemp())
    try:
        measured = measure(folder, rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    written["rows"] = rows_of(measured)
    print_table(f"the wait before the first step: {rounds} rounds", written["rows"])
    report.write_json(written, json_file)


def measure(folder: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Returns the measurements of each round, by the case's name."""
    from benchmarks.cases import write_numbers

    data = write_numbers(folder)
    auto = [*data, *MANY_STEPS, "trainer.compile=auto"]
    trials: dict[str, list[list[str]]] = {
        "wide_deep, compile=xla": [[*data, *XLA]],
        "wide_deep, compile=auto, nothing remembered": [auto],
        "wide_deep, compile=auto, remembered": [auto],  # the case before it stored the mode
        "tfrun without an argument (353 rows, graph loop)": [[]],
        "second trial: other loss.delta, seed, learning rate": [[*data, *XLA], [*data, *XLA, *OTHER_VALUES]],
    }
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in (IMPORT, *trials)}
    for k in range(rounds):
        measured[IMPORT].append({"first_step_seconds": _import_seconds()})
        environment = {"XDG_CACHE_HOME": str(folder / f"cache-{k}")}
        for name, commands in trials.items():
            measured[name].append(_first_step(commands, folder / "runs", environment))
    return measured


def _import_seconds() -> float:
    """Returns the time from the start of a fresh process to the end of its import of TensorFlow."""
    started = time.monotonic()
    return float(_last_line(["-c", f"{IMPORT}, time; print(time.monotonic())"])) - started


def _first_step(commands: Sequence[Sequence[str]], root: Path, environment: dict[str, str]) -> dict[str, float]:
    """Returns the measurements of the last command, in a fresh process that runs them all."""
    roots = [root / str(k) for k in range(len(commands))]
    words = [[*command, f"output_root={folder}"] for command, folder in zip(commands, roots, strict=True)]
    started = time.monotonic()
    marks = json.loads(_last_line(["-m", "benchmarks.start", json.dumps(words)], environment))
    (path,) = roots[-1].glob("outputs/*/*/run.json")
    record = json.loads(path.read_text())
    shutil.rmtree(root)
    return {
        "first_step_seconds": marks["first_step"] - (started if len(commands) == 1 else marks["command"]),
        "build_seconds": record["timing"]["build_seconds"],
        "compile_seconds": record["timing"]["compile_seconds"],
        "traces": sum(len(why) for name, why in record["engine"]["traces"].items() if name.startswith("block")),
    }


def _last_line(arguments: Sequence[str], environment: dict[str, str] | None = None) -> str:
    """Runs Python in a fresh process; returns the last line that it prints."""
    scripts = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, *arguments], cwd=scripts, env=os.environ | (environment or {}), capture_output=True, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"python {' '.join(arguments)} ended with exit code {done.returncode}: {done.stderr}")
    return done.stdout.splitlines()[-1]


def rows_of(measured: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Returns the table's rows; `traces` is None where there are none."""
    from benchmarks.results import spread

    import_seconds = spread([values["first_step_seconds"] for values in measured[IMPORT]])["median"]
    rows = []
    for name, rounds in measured.items():
        row: dict[str, Any] = {key: spread([values[key] for values in rounds]) for key in rounds[0]}
        if not name.startswith((IMPORT, "second trial")):
            beyond = [values["first_step_seconds"] - import_seconds for values in rounds]
            row["beyond_import_seconds"] = spread(beyond)
        rows.append({"what": name, **row, "traces": "traces" in row and int(row["traces"]["greatest"]) or None})
    return rows


def print_table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Prints the rows."""
    from rich.table import Table

    from benchmarks.report import console

    table = Table(title=title, title_justify="left")
    table.add_column("what", no_wrap=True)
    for head in ["first step s", "least..greatest", *list(COLUMNS.values())[1:], "traces"]:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        medians = [f"{row[key]['median']:.2f}" if row.get(key) else "" for key in COLUMNS]
        first = row["first_step_seconds"]
        spread = f"{first['least']:.2f}..{first['greatest']:.2f}"
        table.add_row(row["what"], medians[0], spread, *medians[1:], str(row["traces"] or ""))
    console.print(table)


@contextlib.contextmanager
def _one_step(ended: Callable[[], Any]) -> Iterator[None]:
    """Makes commands end after their first step, however many they plan; `ended` is called at the end of the step.

    The loop is replaced when a command loads the engine, so that the command itself imports TensorFlow.
    """
    from tfrun import load_engine

    load = load_engine.engine

    @contextlib.contextmanager
    def engine(log: Path | None) -> Iterator[Any]:
        with load(log) as opened:
            loop = opened[0].loop
            train = loop.train

            def first_step(program: Any, run: Any, plan: Any, write: Any, show: Any, *rest: Any) -> Any:
                def shown(*values: Any) -> None:
                    ended()
                    show(*values)

                return train(program, run, dataclasses.replace(plan, last_step=1), write, shown, *rest)

            loop.train = first_step
            try:
                yield opened
            finally:
                loop.train = train

    load_engine.engine = engine
    try:
        yield
    finally:
        load_engine.engine = load


def main() -> None:
    """Runs the commands in the first argument, a JSON list.

    Prints when the last command began and when its first step ended, by the monotonic clock.
    """
    from tfrun import cli

    marks: dict[str, float] = {}
    with _one_step(lambda: marks.update(first_step=time.monotonic())):
        for words in json.loads(sys.argv[1]):
            marks["command"] = time.monotonic()
            exit_code = cli.main(words)
            if exit_code != 0:
                raise SystemExit(exit_code)
    print(json.dumps(marks))


if __name__ == "__main__":
    main()
