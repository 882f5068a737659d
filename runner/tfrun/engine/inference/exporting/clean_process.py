"""Compares an exported model with its run, in a process that hasn't imported tfrun, or in Node."""

from __future__ import annotations

import math
import reprlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrun.config import registry
from tfrun.engine.inference.exporting import javascript
from tfrun.engine.inference.exporting.format import ExportError, Format
from tfrun.errors import some
from tfrun.files import strict_json

TOLERANCE = 1e-4  # relative to the size of the predictions

MAX_CELLS = 6  # of a row in a message
SMALL_BATCHES, LARGE_BATCH = (1, 7), 300  # beside a batch of all rows
LARGE_BYTES = 2**24  # rows of arrays that would take more aren't repeated to the large batch

CHECK = """
import json, sys
import numpy as np
path, folder, *modules = sys.argv[1:]
with np.load(folder + "/rows.npz") as saved:
    all_rows = {{name: saved[key] for key, name in json.load(open(folder + "/names.json")).items()}}
{loader}
if {alone}:
    assert not any(name.partition(".")[0] == "tfrun" for name in sys.modules), "tfrun was imported"
arrays = []
for size in {batches}:
    outputs = predict({{name: values[np.arange(size) % len(values)] for name, values in all_rows.items()}})
    outputs = outputs if isinstance(outputs, dict) else {{"output": outputs}}
    arrays += [np.array(outputs[name]) for name in sorted(outputs)]
np.savez(folder + "/outputs.npz", *arrays)
"""


def largest_difference(
    path: Path,
    format: Format,
    *,
    rows: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    sizes: Mapping[str, float],
    imports: Sequence[str] = (),
    tolerance: float = TOLERANCE,
) -> float:
    """Returns the largest difference between the predictions of an exported model and those of the run.

    The model predicts all rows together, and batches of 1, 7 and 300 of them, which are repeated as often as needed.

    Args:
        path: the exported model.
        format: its format.
        rows: raw rows by column.
        expected: the run's predictions for them by output.
        sizes: the sizes of these predictions by output, see `outputs.sizes`.
        imports: the modules that have to be imported first, see `Format.imports`.
        tolerance: the largest difference that is no error, as a share of these sizes.

    Raises:
        ExportError: it can't be loaded there, or they differ.
    """
    batches = _batches(rows)
    node = javascript.find(path.parent) if format.in_javascript else None
    if node is not None:
        computed = javascript.outputs(node, path, rows=rows, batches=batches, names=sorted(expected))
    else:
        computed = {"": _outputs(path, format, rows=rows, batches=batches, imports=imports)}
    largest = 0.0
    for where, outputs in computed.items():
        wanted = [(size, name) for size in batches for name in sorted(expected)]
        for (size, name), output in zip(wanted, outputs, strict=True):
            right = expected[name][np.arange(size) % len(expected[name])]
            difference = _difference(output, right)
            if not difference <= tolerance * sizes[name]:
                what = f"{name}{where and f' on {where}'}, of {size} rows together"
                raise ExportError(
                    f"{path.name}: gives other predictions than the run, off by {difference:.3g} in {what}"
                    f"{_worst_row(output, right, rows)}"
                )
            largest = max(largest, difference)
    return largest


def _batches(rows: Mapping[str, np.ndarray]) -> list[int]:
    """Returns the numbers of rows that are predicted together."""
    num_rows = len(next(iter(rows.values())))
    bytes_of_row = sum(values.nbytes for values in rows.values()) / max(1, num_rows)
    large = [LARGE_BATCH] if bytes_of_row * LARGE_BATCH <= LARGE_BYTES else []
    return [num_rows, *SMALL_BATCHES, *large]


def _difference(output: np.ndarray, right: np.ndarray) -> float:
    """Returns the largest difference, inf for another shape, and nan if only one of two values is nan."""
    if output.shape != right.shape:
        return math.inf
    are_both_undefined = np.isnan(output) & np.isnan(right)  # a mean over no words, for example
    return float(np.max(np.where(are_both_undefined, 0.0, np.abs(output - right)), initial=0.0))


def _worst_row(output: np.ndarray, right: np.ndarray, rows: Mapping[str, np.ndarray]) -> str:
    """Returns where the predictions differ most, and the first cells there; nothing if the shapes differ."""
    if output.shape != right.shape or not output.size:
        return ""
    distance = np.where(np.isnan(output) ^ np.isnan(right), np.inf, np.nan_to_num(np.abs(output - right)))
    num_rows = len(next(iter(rows.values())))
    k = int(np.argmax(distance.reshape(len(distance), -1).max(axis=1))) % num_rows
    cells = [f"{name}={reprlib.repr(values[k].item())}" for name, values in rows.items() if values[k].size == 1]
    return f", most in row {k + 1} of {num_rows}: {some(cells, MAX_CELLS)}" if cells else ""


def _outputs(
    path: Path, format: Format, *, rows: Mapping[str, np.ndarray], batches: Sequence[int], imports: Sequence[str]
) -> list[np.ndarray]:
    """Returns an exported model's outputs for each batch, sorted by name, in a clean process. Raises ExportError."""
    modules = registry.modules() if format.needs_tfrun else imports
    search = [path for path in sys.path if path] if format.needs_tfrun else []
    code = CHECK.format(loader=format.loader, alone=not format.needs_tfrun, batches=list(batches))
    with tempfile.TemporaryDirectory() as folder:
        names = {f"c{k}": name for k, name in enumerate(rows)}
        arrays: dict[str, Any] = {key: rows[name] for key, name in names.items()}
        np.savez(Path(folder, "rows.npz"), **arrays)
        Path(folder, "names.json").write_text(strict_json.dumps(names))
        command = [sys.executable, "-c", f"import sys\nsys.path[:0] = {search!r}\n{code}", str(path), folder, *modules]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1][:300]
            raise ExportError(f"{path.name}: can't be used in a process of its own: {last}")
        if not Path(folder, "outputs.npz").exists():
            raise ExportError(f"{path.name}: can't be used in a process of its own: it ended before it had predicted")
        with np.load(Path(folder, "outputs.npz")) as saved:
            return [saved[key] for key in saved.files]
