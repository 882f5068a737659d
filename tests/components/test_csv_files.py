"""Several CSV files as one table, and compressed ones."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tfrun.components.datasets.csv import csv
from tfrun.data.fingerprint import fingerprint
from tfrun.data.table import TrainedColumns
from tfrun.errors import DataError

HEADER = "size,city,y\n"
ROWS = [f"{k},{'ab'[k % 2]},{k / 4}\n" for k in range(12)]


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has the rows in one file, and in four with the names 1.csv to 4.csv in a folder; the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "all.csv").write_text(HEADER + "".join(ROWS))
    (tmp_path / "parts").mkdir()
    for k in range(4):
        (tmp_path / f"parts/{k + 1}.csv").write_text(HEADER + "".join(ROWS[3 * k : 3 * k + 3]))
    return tmp_path


def test_several_files_are_the_same_as_one(folder: Path) -> None:
    parts = [f"parts/{k}.csv" for k in (1, 2, 3, 4)]
    whole = csv("all.csv", "y")
    for path in ("parts/*.csv", parts, ["parts/[12].csv", "parts/3.csv", "parts/4.csv"], "**/[1-4].csv"):
        table = csv(path, "y")
        assert fingerprint(csv(path, "y")) == fingerprint(csv("all.csv", "y"))
        assert table.source == "parts/1.csv and 3 more"
        assert [table.find(row)[0] for row in (0, 2, 3, 11)] == [
            "parts/1.csv:2",
            "parts/1.csv:4",
            "parts/2.csv:2",
            "parts/4.csv:4",
        ]
    assert whole.find(11)[0] == "all.csv:13"
    reordered = csv(parts[::-1], "y")
    assert reordered.target[:3].tolist() == [9 / 4, 10 / 4, 11 / 4]  # a list keeps its order


def test_the_kind_of_a_column_is_guessed_over_all_files(folder: Path) -> None:
    (folder / "parts/4.csv").write_text(f"{HEADER}x,a,1\nw,a,1\nv,a,1\n,a,2\n" + "u,b,2\n" * 9)
    assert csv("parts/*.csv", "y").columns["size"].tolist()[:2] == ["0", "1"]
    (folder / "parts/4.csv").write_text(HEADER + "x,a,1\n")
    with pytest.raises(DataError, match=r"^parts/4\.csv:2, column 'size': not a number. Received: 'x' \(1 such cell"):
        csv("parts/*.csv", "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "size,town,y\n1,a,1\n",
            r"^parts/4\.csv:1: must have the header of parts/1\.csv, size, city, y. .*: size, t",
        ),
        ("", r"^data\.path: parts/4\.csv is empty"),
        ("\n# a comment\nsize,city,y\n1,a\n", r"^parts/4\.csv:4: 2 cells where the header has 3"),
        ('size,city,y\n1,"a\n,2\n', r"^parts/4\.csv:2: a quote is opened and never closed"),
        ("size,city,y\n1,a,1\n1,a,inf\n", r"^parts/4\.csv:3, column 'y': not finite. Received: 'inf'"),
        ("size,city,y\n1,\udce9,1\n", r"^parts/4\.csv:2: not UTF-8 text. Received: byte 0xe9"),
    ],
)
def test_mistakes_name_the_file_they_are_in(folder: Path, text: str, message: str) -> None:
    (folder / "parts/4.csv").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=message):
        csv("parts/*.csv", "y")


def test_a_quote_that_is_open_at_the_end_of_a_file_does_not_run_into_the_next_one(folder: Path) -> None:
    (folder / "parts/2.csv").write_text('size,city,y\n1,a,1\n1,b,"2\n')
    with pytest.raises(DataError, match=r"^parts/2\.csv:3: a quote is opened and never closed"):
        csv("parts/*.csv", "y")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "parts",
            r"^data\.path: must be a file, not a folder. Received: .parts.. For its files: .data.path=.parts/\*\.csv",
        ),
        ("parts/*.txt", r"^data\.path: no file has a name of this pattern. Received: 'parts/\*\.txt'"),
        (["parts/1.csv", "parts/9.csv"], r"^data\.path: no such file. Received: 'parts/9\.csv'"),
        (["parts/1.csv", "parts/*.csv"], r"^data\.path: names a file twice. Received: 'parts/1\.csv'"),
        ([], r"^data\.path: must name at least one file"),
    ],
)
def test_paths_that_name_no_files_are_an_error(folder: Path, path: str | list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        csv(path, "y")


def test_a_file_may_have_a_name_like_a_pattern(folder: Path) -> None:
    (folder / "all.csv").rename("all[1].csv")
    assert len(csv("all[1].csv", "y").target) == 12


def test_rows_for_a_run_come_from_several_files_too(folder: Path) -> None:
    trained = TrainedColumns(("size",), ("city",), (None,))
    table = csv("parts/*.csv", "y", trained_columns=trained)
    assert table.columns["size"].tolist() == list(map(float, range(12)))


@pytest.mark.parametrize("ending", PACKERS)
def test_compressed_files_are_the_same_as_others(folder: Path, ending: str) -> None:
    content = ("\ufeffsep=,\n\n" + HEADER + "".join(ROWS)).encode()
    (folder / f"all.csv.{ending}").write_bytes(PACKERS[ending](content))
    table = csv(f"all.csv.{ending}", "y")
    assert table.find(11)[0] == f"all.csv.{ending}:15"
    assert fingerprint(table) == fingerprint(csv("all.csv", "y"))
    (folder / "word.csv").write_bytes(PACKERS[ending]((HEADER + "".join(ROWS) + "1,a,four\n").encode()))
    with pytest.raises(DataError, match=r"^word\.csv:14, column 'y': not a number. Received: 'four'"):
        csv("word.csv", "y")


@pytest.mark.parametrize("ending", PACKERS)
def test_a_compressed_file_that_is_not_whole_is_an_error(folder: Path, ending: str) -> None:
    dice = np.random.default_rng(0)
    packed = PACKERS[ending]((HEADER + "".join(f"{dice.random()},a,{dice.random()}\n" for _ in range(20000))).encode())
    (folder / "cut.csv").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"^data\.path: cut\.csv can't be unpacked \(\w+\), it is damaged or not whole"):
        csv("cut.csv", "y")


def test_an_archive_of_files_is_an_error(folder: Path) -> None:
    (folder / "all.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(DataError, match=r"^data\.path: all\.zip is compressed \(zip\); unpack it first"):
        csv("all.zip", "y")
