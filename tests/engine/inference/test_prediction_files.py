"""Files of predictions: their formats, how cells and numbers are written, and that they come whole or not at all."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from tfrun.engine.inference.prediction_files import PredictionFile, free_names
from tfrun.errors import ConfigError, ResourceError
from tfrun.files.failpoints import set_failpoint

SOLD = {"sold": np.array(["yes", "no"], dtype=object), "sold=yes": np.array([0.75, 0.5])}


def write(path: Path, predicted: Any, kept: Any = None, *, formats: Any = None) -> list[str]:
    with PredictionFile.open(path, formats=formats or {}) as file:
        file.write(kept or {}, predicted)
    return file.names


def test_the_ending_says_the_format(tmp_path: Path) -> None:
    text = '"sold","sold=yes"\n"yes",0.75\n"no",0.5\n'
    assert write(tmp_path / "new" / "out.csv", SOLD) == ["sold", "sold=yes"]
    assert (tmp_path / "new" / "out.csv").read_text() == text
    write(tmp_path / "out.csv.gz", SOLD)
    assert gzip.decompress((tmp_path / "out.csv.gz").read_bytes()).decode() == text
    columns = {"sold": ["yes", "no"], "sold=yes": [0.75, 0.5]}
    write(tmp_path / "out.parquet", SOLD)
    assert parquet.read_table(tmp_path / "out.parquet").to_pydict() == columns
    for name in ("out.feather", "out.arrow"):
        write(tmp_path / name, SOLD)
        assert feather.read_table(tmp_path / name).to_pydict() == columns


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.parquet", "out.arrow"])
def test_pieces_follow_each_other(name: str, tmp_path: Path) -> None:
    with PredictionFile.open(tmp_path / name, formats={}) as file:
        file.write({"id": pa.array([1, 2])}, {"y": np.array([0.5, 1.5])})
        file.write({"id": pa.chunked_array([[3], [4]])}, {"y": np.array([2.5, 3.5])})
    if name.endswith(".parquet"):
        rows = list(map(tuple, zip(*parquet.read_table(tmp_path / name).to_pydict().values(), strict=True)))
    elif name.endswith(".arrow"):
        rows = list(map(tuple, zip(*feather.read_table(tmp_path / name).to_pydict().values(), strict=True)))
    else:
        opened = gzip.open if name.endswith(".gz") else open
        with opened(tmp_path / name, "rt") as text:
            rows = [(int(a), float(b)) for a, b in list(csv.reader(text))[1:]]
    assert rows == [(1, 0.5), (2, 1.5), (3, 2.5), (4, 3.5)]


def test_kept_cells_are_written_as_they_are(tmp_path: Path) -> None:
    texts = ["007", "a,b", 'say "no"', "two\nlines", "", None, " 5 "]
    with open(tmp_path / "expected.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([[text or "", k] for k, text in enumerate(texts)])
    write(tmp_path / "out.csv", {"y": np.arange(7)}, {"id": pa.array(texts)})
    assert (tmp_path / "out.csv").read_text() == '"id","y"\n' + (tmp_path / "expected.csv").read_text()
    cells = {
        "n": pa.array([2**60, None], pa.int64()),
        "at": pa.array([datetime.datetime(2024, 1, 31, 12, 30), None], pa.timestamp("ns")),
        "day": pa.array([datetime.date(2024, 1, 31), None]),
        "paid": pa.array([decimal.Decimal("12.50"), None]),
        "ok": pa.array([True, None]),
        "f": pa.array([0.1, None]),
    }
    write(tmp_path / "out.csv", {"y": np.arange(2)}, cells)
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[1:] == [f"{2**60},2024-01-31T12:30:00,2024-01-31,12.50,true,0.1,0", ",,,,,,1"]
    for name in ("out.parquet", "out.arrow"):
        write(tmp_path / name, {"y": np.arange(2)}, cells)
        read = (parquet if name.endswith("parquet") else feather).read_table(tmp_path / name)
        assert read.schema.types == [*(cell.type for cell in cells.values()), pa.int64()]
        assert read.column("n").to_pylist() == [2**60, None]


def test_lists_have_no_cells_in_csv(tmp_path: Path) -> None:
    kept = {"image": pa.array([[1, 2], [3]])}
    with pytest.raises(ConfigError, match=r"keep: a CSV file has no cells for list<.*: int64>. Received: 'image'."):
        write(tmp_path / "out.csv", {"y": np.arange(2)}, kept)
    assert not list(tmp_path.iterdir())
    write(tmp_path / "out.parquet", {"y": np.arange(2)}, kept)
    assert parquet.read_table(tmp_path / "out.parquet").column("image").to_pylist() == [[1, 2], [3]]


def test_a_prediction_gives_way_to_a_kept_column(tmp_path: Path) -> None:
    names = write(tmp_path / "out.csv", {"y": np.array([1.25])}, {"y": pa.array([1.0])}, formats={"y": "%.1f"})
    assert names == ["y", "predicted_y"]
    assert (tmp_path / "out.csv").read_text() == '"y","predicted_y"\n1,1.2\n'
    taken = dict.fromkeys(["y", "predicted_y"])
    assert free_names(["y", "y_std", "predicted_predicted_y"], taken=taken) == [
        "predicted_predicted_predicted_y",
        "y_std",
        "predicted_predicted_y",
    ]


def test_numbers_are_written_with_their_decimals(tmp_path: Path) -> None:
    numbers = np.array([1234.5678, -0.0004, 2.0, np.nan, np.inf, 1e-9])
    write(tmp_path / "out.csv", {"a": numbers, "b": numbers, "c": numbers}, formats={"a": "%.2f", "b": "%.6g"})
    rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()[1:]]
    assert [row[0] for row in rows] == ["1234.57", "0.00", "2.00", "nan", "inf", "0.00"]
    assert [row[1] for row in rows] == ["1234.57", "-0.0004", "2", "nan", "inf", "1e-09"]
    assert [float(row[2]) for row in rows[:3]] == numbers[:3].tolist()
    write(tmp_path / "out.parquet", {"a": numbers[:3]}, formats={"a": "%.2f"})
    assert parquet.read_table(tmp_path / "out.parquet").column("a").to_pylist() == numbers[:3].tolist()


def test_a_file_is_replaced_as_a_whole_and_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious.csv").write_text("precious")
    (tmp_path / "out.csv").symlink_to("precious.csv")
    write(tmp_path / "out.csv", {"a": np.ones(1)})
    assert (tmp_path / "out.csv").read_text() == '"a"\n1\n'
    assert (tmp_path / "precious.csv").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "precious.csv"]


def test_an_error_leaves_the_earlier_file(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("earlier")
    with pytest.raises(KeyboardInterrupt), PredictionFile.open(tmp_path / "out.csv", formats={}) as file:
        file.write({}, {"a": np.ones(3)})
        raise KeyboardInterrupt
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out.csv": "earlier"}


@pytest.mark.parametrize(
    "place", ["predictions.write", "predictions.write:2", "predictions.sync", "predictions.rename"]
)
def test_a_full_disk_leaves_the_earlier_file(place: str, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("earlier")
    set_failpoint(f"{place}=full+")
    try:
        with (
            pytest.raises(ResourceError, match="out: .*out.csv can't be written: No space left on device"),
            PredictionFile.open(tmp_path / "out.csv", formats={}) as file,
        ):
            file.write({}, {"a": np.ones(3)})
            file.write({}, {"a": np.ones(3)})
    finally:
        set_failpoint("")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out.csv": "earlier"}


def test_a_process_that_is_killed_leaves_no_half_file(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
import numpy as np
from tfrun.engine.inference.prediction_files import PredictionFile
with PredictionFile.open(Path(sys.argv[1]), formats={}) as file:
    for _ in range(3):
        file.write({}, {"a": np.arange(100000)})
"""
    command = [sys.executable, "-c", code, str(tmp_path / "out.csv")]
    killed = subprocess.run(command, env={**os.environ, "TFRUN_FAILPOINT": "predictions.write:3"})
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.csv.") and left.stat().st_size > 0
    write(tmp_path / "out.csv", SOLD)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_file_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="out: .* can't be written"):
        write(tmp_path / "file" / "out.csv", {"a": np.zeros(1)})
