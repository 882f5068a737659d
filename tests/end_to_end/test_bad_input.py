"""Every line of bad_input.yaml: its exit code, one line that says what is wrong, and nothing left behind."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from tfrun import cli

TABLE = yaml.safe_load(Path(__file__).with_name("bad_input.yaml").read_text(encoding="utf-8"))
OLD_RUN = Path(__file__).parents[1] / "data_files" / "old_run"
X, Y = np.arange(40.0).reshape(20, 2), np.arange(20.0)
ARCHIVES: dict[str, Callable[[], dict[str, Any]]] = {
    "objects.npz": lambda: {"x": np.array([[{}]] * 20), "y": Y},
    "lengths.npz": lambda: {"x": X, "y": Y[:19]},
    "nan.npz": lambda: {"x": np.where(X == 15, np.nan, X), "y": Y},
    "flat.npz": lambda: {"x": Y, "y": Y},
    "pairs.npz": lambda: {"x": X, "y": Y},
    "words.npz": lambda: {"x": np.where(X == 15, 30, X % 10).astype(int), "y": Y},
}
PARQUET: dict[str, Callable[[], dict[str, Any]]] = {
    "nested.parquet": lambda: {"s": [{"a": k} for k in range(20)], "y": Y},
    "ragged.parquet": lambda: {"a": [[1, 2]] * 19 + [[1]], "y": Y},
    "smallest.parquet": lambda: {"id": [-(2**63)] + [1] * 19, "y": Y},
    "large.parquet": lambda: {"id": [2**53 + k for k in range(20)], "y": Y},
    "nulls.parquet": lambda: {"n": pa.nulls(20), "y": Y},
    "holes.parquet": lambda: {"n": Y, "y": pa.array([None, *range(19)], pa.int32())},
    "shards/1.parquet": lambda: {"n": Y, "t": ["a", "b"] * 10, "y": Y},
    "shards/2.parquet": lambda: {"n": ["1"] * 20, "t": ["a", "b"] * 10, "y": Y},
}

IMAGES = {  # folder -> the images of each class, of one pixel, and a file of the first class
    "photos": ({"cat": 8, "dog": 8}, "notes.txt"),
    "broken_photos": ({"cat": 8, "dog": 8}, "broken.jpg"),
    "cats": ({"cat": 12}, "notes.txt"),
    "bare": ({"cat": 12, "dog": 0}, "notes.txt"),
}


def write_images(folder: Path, classes: dict[str, int], more: str) -> None:
    for label, count in classes.items():
        (folder / label).mkdir(parents=True)
        for k in range(count):
            Image.new("L", (1, 1), k).save(folder / label / f"{k}.png")
    (folder / min(classes) / more).write_text("no image")


def write_files(folder: Path, line: str) -> None:
    """Writes those of the table's files that a command line names."""
    for name, content in TABLE["files"].items():
        if name in line:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    for name, arrays in ARCHIVES.items():
        if name in line:
            np.savez(folder / name, **arrays())
    for name, columns in PARQUET.items():
        if name.partition("/")[0] in line:
            (folder / name).parent.mkdir(exist_ok=True)
            pq.write_table(pa.table(columns()), folder / name)
    if "old_run" in line:
        shutil.copytree(OLD_RUN, folder / OLD_RUN.name)
    for name, (classes, more) in IMAGES.items():
        if f"={name}" in line:
            write_images(folder / name, classes, more)


def test_the_table_is_long_enough() -> None:
    assert len(TABLE["cases"]) >= 120


@pytest.mark.parametrize(("line", "code", "says"), TABLE["cases"], ids=[case[0] for case in TABLE["cases"]])
def test_bad_input_is_told_in_a_line(
    line: str,
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, line)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words = [word.removesuffix(".py") if word.startswith("plugins=") else word for word in shlex.split(line)]
    status = cli.main(words)
    printed = capsys.readouterr().err
    assert (status, says in printed) == (code, True), printed
    assert printed.startswith("tfrun: error: ") and printed.count("\n") == 1
    left = {
        path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "__pycache__" not in str(path)
    }
    assert left == before
