"""Columns of ids, read from each format: integers stay integers, lists are bags, and all mean what texts mean."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfrun.components.datasets import csv_file
from tfrun.components.datasets.columns import ColumnOptions, read_table
from tfrun.components.datasets.csv import csv
from tfrun.components.datasets.npz import npz
from tfrun.components.datasets.parquet import parquet
from tfrun.data.adapters.memory_columns import MemoryColumns
from tfrun.data.bags import Bags
from tfrun.data.fingerprint import fingerprint
from tfrun.data.integer_texts import IntegerTexts
from tfrun.data.pieces import Keep, RowPieces
from tfrun.data.store import Stores
from tfrun.data.table import Table, TrainedColumns
from tfrun.data.table_checks import check_table
from tfrun.errors import DataError

N = 12
USERS = [2**60 + 1, None, -5, 7] * 3
ITEMS = [2**64 - 2, 3, 3, None] * 3
GENRES = [[4, 17], None, [], [4, None, 5, 6, 7]] * 3
TAGS = [["Science Fiction", "a"], ["a", ""], None, [None]] * 3
TEXTS = {
    "user": [str(2**60 + 1), "", "-5", "7"] * 3,
    "item": [str(2**64 - 2), "3", "3", ""] * 3,
    "genres": ["4 17", "", "", "4 5 6 7"] * 3,
    "tags": ["Science\u00a0Fiction a", "a", "", ""] * 3,
    "pair": ["1 2", "3 4"] * 6,
}
ENCODINGS: dict[str, dict[str, Any]] = {
    "user": {"name": "hash", "bins": 5},
    "item": {"name": "category"},
    **{name: {"name": "tokens"} for name in ("genres", "tags", "pair")},
}
READ_AGAIN = TrainedColumns(numbers=(), texts=tuple(TEXTS), targets=(None,))


def cells() -> dict[str, Any]:
    return {
        "user": pa.array(USERS, pa.int64()),
        "item": pa.array(ITEMS, pa.uint64()),
        "genres": pa.array(GENRES, pa.list_(pa.int32())),
        "tags": pa.array(TAGS, pa.large_list(pa.string())),
        "pair": pa.array([[1, 2], [3, 4]] * 6, pa.list_(pa.int64(), 2)),
        "y": pa.array(np.arange(N) / 4),
    }


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Writes two files of several row groups."""
    table = pa.table(cells())
    for part in range(2):
        pq.write_table(table.slice(6 * part, 6), tmp_path / f"{part}.parquet", row_group_size=4)
    return str(tmp_path / "*.parquet")


def read(path: str, **options: Any) -> Table:
    return check_table(parquet(path, "y", text_encodings=ENCODINGS, **options), "parquet")


def check(table: Table) -> None:
    for name, texts in TEXTS.items():
        column = table.columns[name]
        assert isinstance(column, IntegerTexts if name in ("user", "item") else Bags)
        assert column[:].tolist() == texts


def test_parquet_keeps_integers_and_lists(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(IntegerTexts, "__getitem__", lambda self, rows: pytest.fail("texts are made"))
        patch.setattr(Bags, "__getitem__", lambda self, rows: pytest.fail("texts are made"))
        table = read(path)
    check(table)
    assert table.columns["user"].numbers.dtype == np.int64 and table.columns["item"].numbers.dtype == np.uint64


def test_columns_on_disk_are_those_of_the_memory(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fingerprint(read(path))
    monkeypatch.setenv("TFRUN_DATA_MEMORY", "100")
    stores = Stores(tmp_path / "stores")
    for options in ({}, {"trained_columns": READ_AGAIN}):
        table = read(path, stores=stores, **options)
        check(table)
        assert all(column.is_stored for column in table.columns.values())
        assert fingerprint(table) == expected
    assert len([place for place in stores.folder.glob("*") if (place / "manifest.json").exists()]) == 1


def test_a_trained_run_reads_them_a_piece_at_a_time(path: str) -> None:
    pieces = parquet(path, "y", text_encodings=ENCODINGS, trained_columns=READ_AGAIN, in_pieces=Keep(("genres",)))
    assert isinstance(pieces, RowPieces)
    first, *others = pieces.read(5)
    assert [len(piece.table.target) for piece in (first, *others)] == [5, 5, 2]
    assert {name: first.table.columns[name][:].tolist() for name in TEXTS} == {n: TEXTS[n][:5] for n in TEXTS}
    assert first.kept["genres"].to_pylist()[:4] == GENRES[:4]


def test_further_spellings_of_no_value(path: str) -> None:
    table = read(path, missing=["7", "4"])
    assert table.columns["user"][:4].tolist() == [str(2**60 + 1), "", "-5", ""]
    assert table.columns["genres"][:4].tolist() == ["17", "", "", "5 6"]


def in_memory() -> Table:
    options = ColumnOptions(target="y", text_encodings=ENCODINGS)
    columns = {name: column for name, column in cells().items() if name != "pair"}
    arrays = {"pair": np.array([[1, 2], [3, 4]] * 6)}
    return read_table(MemoryColumns("mine", pa.table(columns), arrays=arrays, options=options), options)


def test_rows_from_python_are_the_same() -> None:
    check(in_memory())


def test_arrays_of_an_archive_are_the_same(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "x.npz", user=np.array([2**60 + 1, 2, 3] * 4), pair=np.array([[1, 2], [3, 4]] * 6), y=np.ones(N)
    )
    table = npz(str(tmp_path / "x.npz"), ["user", "pair"], text_encodings=ENCODINGS)
    assert isinstance(table, Table) and isinstance(table.columns["user"], IntegerTexts)
    assert table.columns["user"][:2].tolist() == [str(2**60 + 1), "2"]
    assert table.columns["pair"][:].tolist() == TEXTS["pair"]


@pytest.fixture
def write_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Returns what writes a column `user` and a target; the file is read in many blocks."""
    monkeypatch.setattr(csv_file, "BLOCK_BYTES", 64)

    def write(users: Any, name: str = "x.csv") -> str:
        (tmp_path / name).write_text("user,y\n" + "".join(f"{user},{k}\n" for k, user in enumerate(users)))
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize("memory", ["100", "1000000000"])
def test_whole_numbers_in_a_csv_file_stay_integers(
    memory: str, write_csv: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFRUN_DATA_MEMORY", memory)
    path = write_csv([*TEXTS["user"], " 12 "])
    for trained in (None, TrainedColumns(numbers=(), texts=("user",), targets=(None,))):
        stores = Stores(tmp_path / "stores")
        table = csv(path, "y", text_encodings=ENCODINGS, trained_columns=trained, stores=stores, missing=["7"])
        assert isinstance(table, Table) and isinstance(table.columns["user"], IntegerTexts)
        assert table.columns["user"].is_stored == (memory == "100")
        assert table.columns["user"][:].tolist() == ["" if t == "7" else t for t in TEXTS["user"]] + ["12"]


@pytest.mark.parametrize("strange", ["007", "+7", "7.0", "NA", "x7", str(2**63), str(-(2**63)), "1_000", "-0"])
@pytest.mark.parametrize("place", [0, 30])
def test_other_texts_in_a_csv_file_stay_what_they_are(strange: str, place: int, write_csv: Callable[..., str]) -> None:
    users = [str(k) for k in range(40)]
    users[place] = strange
    table = csv(write_csv(users), "y", text_encodings=ENCODINGS)
    assert isinstance(table, Table) and isinstance(table.columns["user"], np.ndarray)
    assert table.columns["user"].tolist() == users


def test_formats_have_the_same_fingerprint(write_csv: Callable[..., str], tmp_path: Path) -> None:
    numbers = pa.table({"user": pa.array(USERS, pa.int64()), "y": pa.array(np.arange(N, dtype=float))})
    pq.write_table(numbers, tmp_path / "x.parquet")
    spelt = pa.table({"user": TEXTS["user"], "y": numbers["y"]})
    pq.write_table(spelt, tmp_path / "spelt.parquet")
    ids = {
        fingerprint(csv(write_csv(TEXTS["user"]), "y", text_encodings=ENCODINGS)),
        fingerprint(read(str(tmp_path / "x.parquet"))),
        fingerprint(read(str(tmp_path / "spelt.parquet"))),
        # as a version before did, which made texts of integers
        fingerprint(parquet(str(tmp_path / "x.parquet"), "y", text_columns=["user"])),
    }
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([1] * 6 + [-(2**63)] * 6), "row 6 of row group 0, column 'user': ids must be int64 numbers"),
        (pa.array([[1.5]] * N), "column 'user': a list of ids holds whole numbers or texts. Received: list<"),
        (pa.array([[[1]]] * N), "column 'user': a list of ids holds whole numbers or texts. Received: list<"),
        (
            pa.array([[1]] * 6 + [[1, -(2**63)]] * 6),
            "row 6 of row group 0, column 'user': ids must be int64 numbers, as in the first file, and not "
            "-9223372036854775808. Received: -9223372036854775808",
        ),
    ],
)
def test_ids_that_can_not_be_kept(column: pa.Array, says: str, tmp_path: Path) -> None:
    name = "hash" if pa.types.is_integer(column.type) else "tokens"
    pq.write_table(pa.table({"user": column, "y": np.arange(N) / 4}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=re.escape(says)):
        parquet(str(tmp_path / "x.parquet"), "y", text_encodings={"user": {"name": name}})


def test_files_whose_numbers_do_not_fit_together(tmp_path: Path) -> None:
    for name, type, last in (("a", pa.int32(), 5), ("b", pa.uint64(), 2**63)):
        columns = {"user": pa.array([1] * 11 + [last], type), "y": np.arange(N) / 4}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    with pytest.raises(
        DataError, match=r"b.parquet: row 11 of row group 0, column 'user': ids must be int64 numbers, as"
    ):
        read(str(tmp_path / "*.parquet"))


def test_a_file_in_which_no_list_has_a_value(tmp_path: Path) -> None:
    y = np.arange(N) / 4
    pq.write_table(pa.table({"genres": pa.array([[1, 2]] * N), "y": y}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"genres": pa.nulls(N), "y": y}), tmp_path / "b.parquet")
    assert read(str(tmp_path / "*.parquet")).columns["genres"][10:14].tolist() == ["1 2", "1 2", "", ""]


def test_a_target_is_no_id(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": np.arange(N) / 4, "y": [0, 7, 7] * 4}), tmp_path / "x.parquet")
    table = parquet(str(tmp_path / "x.parquet"), "y", text_encodings={"y": {"name": "hash"}}, task="classification")
    assert isinstance(table, Table) and table.target.tolist() == ["0", "7", "7"] * 4
