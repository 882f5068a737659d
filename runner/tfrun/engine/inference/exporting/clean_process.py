"""Comparing an exported model with its run, in a process that hasn't imported tfrun."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrun.config import registry
from tfrun.engine.inference.exporting.format import ExportError, Format
from tfrun.files import strict_json

TOLERANCE = 1e-4  # relative to the size of the predictions

CHECK = """
import json, sys
import numpy as np
path, folder, *modules = sys.argv[1:]
with np.load(folder + "/rows.npz") as saved:
    rows = {{name: saved[key] for key, name in json.load(open(folder + "/names.json")).items()}}
{loader}
if {alone}:
    assert not any(name.partition(".")[0] == "tfrun" for name in sys.modules), "tfrun was imported"
outputs = outputs if isinstance(outputs, dict) else {{"output": outputs}}
np.savez(folder + "/outputs.npz", *(np.asarray(outputs[name]) for name in sorted(outputs)))
"""


def largest_difference(
    path: Path,
    format: Format,
    *,
    rows: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    sizes: Mapping[str, float],
    imports: Sequence[str] = (),
) -> float:
    """Returns the largest difference between an exported model's predictions, in a clean process, and the run's.

    Args:
        path: the exported model.
        format: its format.
        rows: raw rows by column.
        expected: the run's predictions for them by output.
        sizes: how large they are, see `outputs.sizes`.
        imports: the modules that have to be imported first, see `Format.imports`.

    Raises:
        ExportError: it can't be loaded there, or they differ.
    """
    largest = 0.0
    for (name, right), output in zip(
        sorted(expected.items()), _outputs(path, format, rows=rows, imports=imports), strict=True
    ):
        difference = float(np.max(np.abs(output - right), initial=0.0))
        if output.shape != right.shape or not difference <= TOLERANCE * sizes[name]:
            raise ExportError(f"{path.name}: gives other predictions than the run, off by {difference:.3g} in {name}")
        largest = max(largest, difference)
    return largest


def _outputs(path: Path, format: Format, *, rows: Mapping[str, np.ndarray], imports: Sequence[str]) -> list[np.ndarray]:
    """Returns the outputs of an exported model in a clean process, sorted by name. Raises ExportError."""
    modules = registry.modules() if format.needs_tfrun else imports
    search = [path for path in sys.path if path] if format.needs_tfrun else []
    code = f"import sys\nsys.path[:0] = {search!r}\n" + CHECK.format(loader=format.loader, alone=not format.needs_tfrun)
    with tempfile.TemporaryDirectory() as folder:
        names = {f"c{k}": name for k, name in enumerate(rows)}
        arrays: dict[str, Any] = {key: rows[name] for key, name in names.items()}
        np.savez(Path(folder, "rows.npz"), **arrays)
        Path(folder, "names.json").write_text(strict_json.dumps(names))
        command = [sys.executable, "-c", code, str(path), folder, *modules]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1][:300]
            raise ExportError(f"{path.name}: can't be used in a process of its own: {last}")
        if not Path(folder, "outputs.npz").exists():
            raise ExportError(f"{path.name}: can't be used in a process of its own: it ended before it had predicted")
        with np.load(Path(folder, "outputs.npz")) as saved:
            return [saved[key] for key in saved.files]
