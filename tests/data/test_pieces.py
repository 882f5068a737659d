"""Rows that are read a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tfrun.components.datasets.csv import csv
from tfrun.components.datasets.images import images
from tfrun.components.datasets.npz import npz
from tfrun.components.datasets.parquet import parquet
from tfrun.data.kinds import ArrayColumn, CategoryColumn, NumberColumn
from tfrun.data.pieces import Keep, Piece, cells_to_keep, cut, rows_of_piece, whole
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table, TrainedColumns
from tfrun.data.targets import FittedTarget
from tfrun.errors import ConfigError, DataError

TRAINED = TrainedColumns(("x",), ("kind",), targets=(None,))
ALL = Keep(None)


def rows(pieces: Sequence[Piece]) -> dict[str, list[Any]]:
    """Returns the columns of some pieces, joined."""
    return {
        name: [c for piece in pieces for c in piece.table.columns[name].tolist()] for name in pieces[0].table.columns
    }


def kept(pieces: Sequence[Piece]) -> dict[str, list[Any]]:
    names = pieces[0].kept
    return {name: [cell for piece in pieces for cell in pa.array(piece.kept[name]).to_pylist()] for name in names}


def sizes(pieces: Sequence[Piece]) -> list[int]:
    return [len(piece.table.target) for piece in pieces]


@pytest.fixture
def rows_csv(tmp_path: Path) -> Path:
    """A file whose lines are longer than the blocks that it is read in."""
    lines = [f"{k:03d},{k % 7}.5,{'ab'[k % 2]},{'long ' * 3000}{k}" for k in range(250)]
    (tmp_path / "rows.csv").write_text("id,x,kind,text\n" + "\n".join(lines) + "\n")
    return tmp_path / "rows.csv"


@pytest.mark.parametrize("num_rows", [1, 100, 125, 250, 1000])
def test_a_csv_file_gives_the_same_rows_in_pieces(num_rows: int, rows_csv: Path) -> None:
    at_once = csv(str(rows_csv), "y", rows_only=True, trained_columns=TRAINED)
    pieces = list(csv(str(rows_csv), "y", rows_only=True, trained_columns=TRAINED, in_pieces=ALL).read(num_rows))
    assert sizes(pieces) == [min(num_rows, 250 - k) for k in range(0, 250, num_rows)]
    assert rows(pieces) == {name: column.tolist() for name, column in at_once.columns.items()}
    assert kept(pieces)["id"] == [f"{k:03d}" for k in range(250)]
    assert kept(pieces)["x"][:2] == ["0.5", "1.5"]
    assert list(kept(pieces)) == ["id", "x", "kind", "text"]
    assert pieces[-1].table.find(0)[0] == f"{rows_csv}:{2 + sum(sizes(pieces)[:-1])}"


def test_a_cell_is_found_in_whatever_piece_it_is(tmp_path: Path) -> None:
    lines = [f"{k},a" for k in range(10)]
    for cell, says in (
        ("seven", ":9, column 'x': not a number. Received: 'seven' (1 such cells, 9 numbers)"),
        ("1e999", ":9, column 'x': not finite. Received: '1e999'"),
    ):
        (tmp_path / "rows.csv").write_text("x,kind\n" + "\n".join([*lines[:7], f"{cell},a", *lines[8:]]) + "\n")
        read = csv(str(tmp_path / "rows.csv"), "y", rows_only=True, trained_columns=TRAINED, in_pieces=Keep()).read(3)
        assert sizes([next(read), next(read)]) == [3, 3]
        with pytest.raises(DataError) as raised:
            next(read)
        assert says in str(raised.value)


def test_a_file_without_rows_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,kind\n")
    pieces = csv(str(tmp_path / "rows.csv"), "y", rows_only=True, trained_columns=TRAINED, in_pieces=Keep())
    with pytest.raises(DataError, match="has a header but no rows; at least 1 is needed"):
        pieces.begun(10)


def test_errors_of_the_first_piece_come_at_once(rows_csv: Path) -> None:
    pieces = csv(str(rows_csv), "y", rows_only=True, trained_columns=TRAINED, in_pieces=Keep(("id",)))
    assert sizes(list(pieces.begun(100))) == [100, 100, 50]
    rows_csv.write_text("id,x,kind,text\n1,one,a,b\n")
    with pytest.raises(DataError, match="rows.csv:2, column 'x': not a number. Received: 'one'"):
        csv(str(rows_csv), "y", rows_only=True, trained_columns=TRAINED, in_pieces=Keep()).begun(10)


def test_parquet_files_keep_their_types_in_pieces(tmp_path: Path) -> None:
    at = pa.array([0, None, 2], pa.timestamp("ms", "UTC"))
    for k, type in enumerate([pa.int64(), pa.int32()]):
        columns = {
            "id": pa.array([k, None, 2], type),
            "at": at,
            "x": [1.0, None, 3.0],
            "kind": pa.array(["a", "b", None]).dictionary_encode(),
            "more": [{"a": 1}, None, {"a": 2}],
        }
        pq.write_table(pa.table(columns), tmp_path / f"{k}.parquet")
    options: Any = {"rows_only": True, "trained_columns": TRAINED}
    at_once = parquet(str(tmp_path), "y", **options)
    for num_rows in (2, 4, 6):
        pieces = list(parquet(str(tmp_path), "y", in_pieces=ALL, **options).read(num_rows))
        assert str(rows(pieces)) == str({name: column.tolist() for name, column in at_once.columns.items()})
        types = [cells.type for piece in pieces for cells in piece.kept.values()]
        assert types[:4] == [pa.int64(), at.type, pa.float64(), pa.string()]
        assert types == types[:5] * len(pieces)
        assert kept(pieces)["id"] == [0, None, 2, 1, None, 2]
        assert kept(pieces)["kind"] == ["a", "b", None] * 2
        assert kept(pieces)["more"] == [{"a": 1}, None, {"a": 2}] * 2


@pytest.mark.parametrize("turned", [False, True])
def test_kept_columns_have_one_type_in_all_files(turned: bool, tmp_path: Path) -> None:
    whole_numbers, fractions, texts = pa.array([1, 2]), pa.array([1.5, None]), pa.array(["a", "b"])
    huge = [2**62 + 1, 2]
    first = {"x": whole_numbers, "number": whole_numbers, "text": pa.nulls(2), "mixed": whole_numbers, "huge": huge}
    second = {"x": fractions, "number": fractions, "text": texts, "mixed": texts, "huge": fractions}
    for k, columns in enumerate([second, first] if turned else [first, second]):
        pq.write_table(pa.table({**columns, "kind": texts}), tmp_path / f"{k}.parquet")
    options: Any = {"rows_only": True, "trained_columns": TRAINED}

    def pieces(*names: str) -> list[Piece]:
        return list(parquet(str(tmp_path), "y", in_pieces=Keep(names), **options).read(3))

    read = pieces("x", "number", "text")
    assert [cells.type for cells in read[0].kept.values()] == [pa.float64(), pa.float64(), pa.string()]
    numbers = [1.5, None, 1.0, 2.0] if turned else [1.0, 2.0, 1.5, None]
    words = ["a", "b", None, None] if turned else [None, None, "a", "b"]
    assert kept(read) == {"x": numbers, "number": numbers, "text": words}
    with pytest.raises(DataError, match="1.parquet, column 'mixed': must have one type in all files to be kept. Rec"):
        pieces("mixed")
    with pytest.raises(DataError, match="column 'huge': can't be kept as double of all files: Integer value 46116860"):
        pieces("huge")


def test_arrays_of_an_archive_are_kept(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.arange(10.0).reshape(5, 2), id=np.arange(5), name=np.array(list("abcde")))
    trained = TrainedColumns((), (), targets=(None,), arrays=("x",))
    pieces = list(npz(str(tmp_path / "rows.npz"), rows_only=True, trained_columns=trained, in_pieces=ALL).read(2))
    assert rows(pieces) == {"x": np.arange(10.0).reshape(5, 2).tolist()}
    assert kept(pieces) == {"id": [0, 1, 2, 3, 4], "name": list("abcde")}
    others: Any = {"objects": np.array([{}] * 5), "few": np.arange(4)}
    np.savez(tmp_path / "rows.npz", x=np.arange(10.0).reshape(5, 2), **others)
    pieces = list(npz(str(tmp_path / "rows.npz"), rows_only=True, trained_columns=trained, in_pieces=ALL).read(2))
    assert kept(pieces) == {"row": [0, 1, 2, 3, 4]}
    with pytest.raises(ConfigError, match="keep: no such column in .*rows.npz. Received: 'id'. Known: row."):
        npz(str(tmp_path / "rows.npz"), rows_only=True, trained_columns=trained, in_pieces=Keep(("id",)))


def test_images_are_decoded_piece_by_piece(tmp_path: Path) -> None:
    (tmp_path / "photos" / "new").mkdir(parents=True)
    names = ["a.png", "b.png", "new/c.png"]
    for k, name in enumerate(names):
        Image.new("L", (2, 2), 10 * k).save(tmp_path / "photos" / name)
    options: Any = {"size": (1, 1), "channels": 1, "rows_only": True, "in_pieces": ALL}
    trained = TrainedColumns((), (), targets=(("cat", "dog"),), arrays=("image",))
    pieces = list(images(str(tmp_path / "photos"), trained_columns=trained, **options).read(2))
    assert [piece.table.columns["image"].reshape(-1).tolist() for piece in pieces] == [[0, 10], [20]]
    assert kept(pieces) == {"file": names}
    assert pieces[1].table.find(0)[0] == str(tmp_path / "photos" / "new" / "c.png")
    with pytest.raises(ConfigError, match="keep: no such column in .*photos. Received: 'fle'. Known: file. Did you"):
        images(str(tmp_path / "photos"), trained_columns=trained, **{**options, "in_pieces": Keep(("fle",))})

    table = tmp_path / "photos" / "table.csv"
    table.write_text("n,path,label\n01,new/c.png,cat\n02,a.png,\n03,b.png,dog\n")
    pieces = list(images(str(table), image="path", trained_columns=trained, **options).read(2))
    assert [piece.table.columns["image"].reshape(-1).tolist() for piece in pieces] == [[20, 0], [10]]
    assert kept(pieces) == {"n": ["01", "02", "03"], "path": ["new/c.png", *names[:2]], "label": ["cat", "", "dog"]}
    (tmp_path / "photos" / "b.png").unlink()
    read = images(str(table), image="path", trained_columns=trained, **options).read(2)
    next(read)
    with pytest.raises(DataError, match="table.csv:4, .*b.png: no such file"):
        next(read)


def test_a_table_that_has_been_read_is_cut(homes: Callable[..., Table]) -> None:
    table = homes()
    pieces = list(cut(table, cells_to_keep(table, Keep(("city",)))).read(4))
    assert sizes(pieces) == [4, 4, 2]
    assert rows(pieces)["city"] == kept(pieces)["city"] == table.columns["city"].tolist()
    assert [piece.table.find(1) for piece in pieces] == [table.find(row) for row in (1, 5, 9)]
    assert [piece.table.first_row for piece in pieces] == [0, 4, 8]
    arrays = homes(columns={"image": np.zeros((10, 2))})
    assert kept(list(cut(arrays, cells_to_keep(arrays, ALL)).read(6)))["row"] == list(range(10))
    assert [piece.table for piece in whole(table).read(4)] == [table]


def test_a_piece_has_as_many_rows_as_its_arrays_let_it() -> None:
    targets = {"output": FittedTarget("regression")}
    flat = Preprocessing(columns=(NumberColumn("x", 0.0, 0.0, 1.0, ()), CategoryColumn("k", ("a",))), targets=targets)
    assert rows_of_piece(flat) == 65536
    # 2^26 bytes at 16 for each of 28 · 28 values and the column: 5343 rows, in whole 1024
    assert rows_of_piece(Preprocessing(columns=(ArrayColumn("x", (28, 28)),), targets=targets)) == 5 * 1024
    assert rows_of_piece(Preprocessing(columns=(ArrayColumn("x", (512, 512, 3)),), targets=targets)) == 1024
