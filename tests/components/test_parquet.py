"""`data=parquet`: what each type becomes, shards, and errors that name the file, the row and the column."""

from __future__ import annotations

import datetime
import decimal
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from tfrun.components.datasets.parquet import parquet
from tfrun.data.table import Table, TrainedColumns
from tfrun.data.table_checks import check_table
from tfrun.errors import DataError

N = 12
Y = [k * 1.5 for k in range(N)]


def write(path: Path, columns: dict[str, Any], *, rows: int = N, group: int = 5) -> str:
    """Writes columns and a target y; row groups of 5 rows."""
    pq.write_table(pa.table({**columns, "y": pa.array([k * 1.5 for k in range(rows)])}), path, row_group_size=group)
    return str(path)


def read(path: Any, target: Any = "y", **options: Any) -> Table:
    return check_table(parquet(path, target, **options), "parquet")


def test_numbers_are_float64_and_null_is_missing(tmp_path: Path) -> None:
    columns = {
        "small": pa.array([None, *range(1, N)], pa.int8()),
        "single": pa.array(np.arange(N) / 4, pa.float32()),
        "half": pa.array(np.arange(N, dtype=np.float16)),
        "price": pa.array([decimal.Decimal("1.25")] * N),
        "coded": pa.array([3, 7] * 6).dictionary_encode(),
        "large": pa.array([2**53 - k for k in range(N)]),
    }
    table = read(write(tmp_path / "x.parquet", columns))
    assert {name: column.dtype for name, column in table.columns.items()} == dict.fromkeys(columns, np.float64)
    np.testing.assert_array_equal(table.columns["small"], [np.nan, *range(1, N)])
    np.testing.assert_array_equal(table.columns["single"][:3], [0, 0.25, 0.5])
    np.testing.assert_array_equal(table.columns["coded"][:3], [3, 7, 3])
    assert table.columns["price"][0] == 1.25
    assert table.columns["large"][3] == 2.0**53 - 3
    np.testing.assert_array_equal(table.target, Y)


BERLIN = pa.timestamp("us", "Europe/Berlin")
NOON = datetime.datetime(2024, 1, 31, 12, 0, 5)


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        (pa.array([True, None, False] * 4), ["true", "", "false"]),
        (pa.array(["a", None, ""] * 4), ["a", "", ""]),
        (pa.array(["a", None, "b"] * 4).dictionary_encode(), ["a", "", "b"]),
        (pa.array([datetime.date(2024, 1, 31), None, datetime.date(1, 1, 1)] * 4), ["2024-01-31", "", "0001-01-01"]),
        (pa.array([NOON] * N, pa.timestamp("ns")), ["2024-01-31T12:00:05"]),
        (pa.array([NOON.replace(microsecond=500_000)] * N, pa.timestamp("us")), ["2024-01-31T12:00:05.5"]),
        (pa.array([NOON] * N, pa.timestamp("us", "UTC")), ["2024-01-31T12:00:05Z"]),
        (pa.array([NOON] * N, pa.timestamp("us", "UTC")).cast(BERLIN), ["2024-01-31T12:00:05Z"]),
        (pa.array([datetime.time(7, 30)] * N, pa.time64("us")), ["07:30:00"]),
    ],
)
def test_texts_are_those_of_a_csv(cells: pa.Array, texts: list[str], tmp_path: Path) -> None:
    table = read(write(tmp_path / "x.parquet", {"x": cells}))
    assert table.columns["x"][: len(texts)].tolist() == texts


def test_numbers_that_are_names(tmp_path: Path) -> None:
    columns = {"id": pa.array([2**60 + k for k in range(N)]), "zip": pa.array([None, *([1.0, 2.0] * 6)][:N])}
    table = read(write(tmp_path / "x.parquet", columns), text_columns=["id", "zip"])
    assert table.columns["id"][:2].tolist() == ["1152921504606846976", "1152921504606846977"]
    assert table.columns["zip"][:3].tolist() == ["", "1", "2"]


def test_lists_of_one_length_are_arrays(tmp_path: Path) -> None:
    images = np.arange(N * 6, dtype=np.uint8).reshape(N, 2, 3)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(N * 4.0, dtype=np.float32).reshape(N, 4))
    columns = {"image": pa.array(images.tolist(), pa.list_(pa.list_(pa.uint8()))), "tensor": tensors}
    table = read(write(tmp_path / "x.parquet", columns))
    np.testing.assert_array_equal(table.columns["image"], images)
    assert table.columns["image"].dtype == np.uint8
    assert (table.columns["tensor"].shape, table.columns["tensor"].dtype) == ((N, 4), np.float32)


def test_targets(tmp_path: Path) -> None:
    columns = {"b": pa.array([k % 3 == 0 for k in range(N)]), "i": pa.array([0, 1] * 6), "x": pa.array(Y)}
    path = write(tmp_path / "x.parquet", columns)
    flag, number = read(path, "b", columns=["x"]), read(path, "i", columns=["x"])
    assert (flag.task, flag.target[:2].tolist()) == ("classification", ["true", "false"])
    assert (number.task, number.target[:2].tolist()) == ("classification", ["0", "1"])
    assert read(path, "i", task="regression", columns=["x"]).target.dtype == np.float64
    assert read(path, ["y", "b"], columns=["x"]).others["b"].task == "classification"


def test_further_cells_count_as_missing(tmp_path: Path) -> None:
    columns = {"n": pa.array([-999.0, 2.0] * 6), "t": pa.array(["x", "a", "b"] * 4)}
    table = read(write(tmp_path / "x.parquet", columns), missing=["-999", "x"])
    np.testing.assert_array_equal(table.columns["n"][:2], [np.nan, 2])
    assert table.columns["t"][:2].tolist() == ["", "a"]


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (pa.array([{"a": 1}] * N), ", column 'x': no numbers, texts or arrays of numbers. Received: struct<a: int64>."),
        (pa.array([["a"]] * N), "Received: list<element: string>. Read ids as tokens, in data.text, or join"),
        (pa.array([datetime.timedelta(seconds=1)] * N), "duration[us]. Write a number of seconds"),
        (pa.array([b"x"] * N), "Received: binary."),
        (
            pa.array([1] * 6 + [2**53 + 1] * 6),
            ": row 1 of row group 1, column 'x': float64 lacks the digits of whole numbers beyond 2^53. "
            "Received: 9007199254740993. If it is an id: data.text_columns=[x]",
        ),
        (pa.array([1] * 11 + [2**63], pa.uint64()), ": row 1 of row group 2, column 'x': float64 lacks"),
        (pa.array([-(2**60)] + [None] * 11, pa.int64()), ": row 0 of row group 0, column 'x': float64 lacks"),
        (
            pa.array([[1, 2]] * 7 + [[1]] * 5),
            ": row 2 of row group 1, column 'x': all lists must have one length. Received: 1 values, and 2 before.",
        ),
        (pa.array([[[1], [2]]] * 7 + [[[1], [2, 3]]] * 5), ": row 2 of row group 1, column 'x': all lists must"),
        (pa.array([[1, 2]] * 7 + [None] * 5), ": row 2 of row group 1, column 'x': arrays can have no missing"),
        (pa.array([[1, 2]] * 7 + [[1, None]] * 5), ": row 2 of row group 1, column 'x': arrays can have no missing"),
        (pa.array([1.0] * 7 + [np.inf] * 5), ": row 2 of row group 1, column 'x': not finite. Received: 'inf'"),
        (pa.nulls(N), "column 'x' of {path} is empty. Leave it out with data.exclude=[x]"),
    ],
)
def test_cells_that_can_not_be_used(cells: pa.Array, says: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"x": cells})
    with pytest.raises(DataError, match=re.escape(says.replace("{path}", path))) as error:
        read(path)
    assert path in str(error.value)
    with pytest.raises(DataError, match="there are no columns to learn from"):  # what isn't read can be of any type
        read(path, exclude=["x"])


def save_to_disk(folder: Path, table: pa.Table) -> str:
    """Writes the files of Hugging Face's `Dataset.save_to_disk`: streams of Arrow, named by state.json."""
    folder.mkdir()
    names = [f"data-{k:05d}-of-00002.arrow" for k in range(2)]
    for name, part in zip(names, (table.slice(0, 7), table.slice(7)), strict=True):
        with pa.ipc.new_stream(folder / name, table.schema) as stream:
            stream.write_table(part)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")
    return str(folder)


def feather_file(folder: Path, table: pa.Table) -> str:
    folder.mkdir()
    feather.write_feather(table, folder / "x.feather")
    return str(folder / "x.feather")


def shards(folder: Path, table: pa.Table) -> str:
    (folder / "more").mkdir(parents=True)
    pq.write_table(table.slice(0, 4), folder / "more" / "a.parquet")
    feather.write_feather(table.slice(4, 3), folder / "more" / "b.arrow", compression="lz4")
    pq.write_table(table.slice(7), folder / "part-2.parquet")
    (folder / "_SUCCESS").write_text("")
    (folder / "_metadata.parquet").write_text("")
    return str(folder)


@pytest.mark.parametrize("save", [save_to_disk, feather_file, shards])
def test_all_formats_hold_the_same_rows(save: Callable[[Path, pa.Table], str], tmp_path: Path) -> None:
    rows = pa.table({"n": list(range(N)), "t": ["a", "b", None] * 4, "y": Y})
    table = read(save(tmp_path / "rows", rows))
    np.testing.assert_array_equal(table.columns["n"], range(N))
    assert table.columns["t"].tolist() == ["a", "b", ""] * 4
    np.testing.assert_array_equal(table.target, Y)


def test_patterns_and_lists_of_files(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write(tmp_path / f"{name}.parquet", {"x": pa.array([float(ord(name))] * N)})
    table = read(str(tmp_path / "[ab].parquet"))
    assert table.columns["x"][[0, N]].tolist() == [97.0, 98.0]
    table = read([str(tmp_path / "c.parquet"), str(tmp_path / "a.parquet")])
    assert sorted(set(table.columns["x"])) == [97.0, 99.0]
    assert table.find(N + 6, "x")[0].endswith("row 1 of row group 1")


def test_class_labels_of_hugging_face_are_texts(tmp_path: Path) -> None:
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    rows = pa.table({"label": [1, 0, -1] * 4, "x": Y})
    rows = rows.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(rows, tmp_path / "x.parquet")
    table = read(str(tmp_path / "x.parquet"), "label")
    assert (table.task, table.target[:3].tolist()) == ("classification", ["dog", "cat", ""])


def test_the_index_of_pandas_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "x.parquet", {"x": pa.array(Y), "__index_level_0__": pa.array(range(N))})
    assert list(read(path).columns) == ["x"]
    assert "__index_level_0__ is an index of pandas" in caplog.text
    assert list(read(path, columns=["__index_level_0__"]).columns) == ["__index_level_0__"]


def different(folder: Path, second: dict[str, Any]) -> str:
    write(folder / "1.parquet", {"n": pa.array(range(N)), "t": pa.array(["a", "b"] * 6)})
    write(folder / "2.parquet", second)
    return str(folder)


TEXTS = pa.array(["a", "b"] * 6)


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ({"n": pa.array(range(N))}, "2.parquet: lacks a column that"),
        (
            {"n": TEXTS, "t": TEXTS},
            "2.parquet, column 'n': must have one type in all files. Received: string, and int64",
        ),
        ({"n": pa.array(range(N)), "t": TEXTS, "u": TEXTS}, "2.parquet: has a column that"),
        ({"n": pa.array([2**60] * N), "t": TEXTS}, "2.parquet: row 0 of row group 0, column 'n': float64 lacks"),
    ],
)
def test_a_shard_with_another_schema_is_named(second: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(says)):
        read(different(tmp_path, second))


def test_shards_may_differ_in_what_does_not_matter(tmp_path: Path) -> None:
    """In the width of numbers, the order of columns, a column without any value, and in columns that aren't read."""
    write(tmp_path / "0.parquet", {"n": pa.array(range(N), pa.int8()), "t": pa.nulls(N)})
    table = read(different(tmp_path, {"t": TEXTS, "n": pa.array(Y), "u": TEXTS}), columns=["n", "t"])
    assert table.columns["t"][[0, N]].tolist() == ["", "a"]
    assert table.columns["n"][-1] == Y[-1]


def test_rows_for_a_trained_run(tmp_path: Path) -> None:
    columns = {"t": TEXTS, "more": pa.array([{"a": 1}] * N), "a": pa.array([[1, 2]] * N), "n": pa.nulls(N)}
    path = write(tmp_path / "x.parquet", columns)
    trained = TrainedColumns(numbers=("n",), texts=("t",), targets=(None,), arrays=("a",))
    table = read(path, "gone", rows_only=True, trained_columns=trained)
    assert {name: column.shape for name, column in table.columns.items()} == {"t": (N,), "a": (N, 2), "n": (N,)}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.parquet", b"PAR1 and nothing that makes sense PAR1", "x.parquet can't be read: "),
        ("x.csv", b"a,b\n1,2\n", "Received: b'a,b\\n1,2\\n'. For text with a separator, use data=csv"),
        ("x.npz", b"PK\x03\x04 and more", "Received: b'PK\\x03\\x04 and'. For .npz files, use data=npz"),
        ("x.arrow", b"ARROW1\0\0", "x.arrow can't be read: "),
        ("x.feather", b"FEA1....", "is Feather of version 1. Write it anew"),
    ],
)
def test_files_that_can_not_be_read(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(says)):
        read(str(tmp_path / name))


def test_folders_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.path: no file of this folder ends in \.parquet"):
        read(str(tmp_path))
    with pytest.raises(DataError, match="no file has a name of this pattern"):
        read(str(tmp_path / "*.parquet"))
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(
        DataError, match=r"holds several data sets\. .*Known: train, test. For example: data.path=.*train"
    ):
        read(str(tmp_path))


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "x.parquet", {"x": pa.array(np.random.default_rng(0).normal(size=N))}))
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.parquet can't be read: "):
        read(str(path))
