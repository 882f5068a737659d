"""Validation and test rows of files of their own, and the column by which rows are split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.config.catalog import Catalog, load_catalog
from tfrun.config.column_kinds import CategoryKind
from tfrun.config.data_settings import DataSettings, SplitSettings
from tfrun.data.arrays import StoredArray
from tfrun.data.data_set import DataSet
from tfrun.data.fingerprint import fingerprint
from tfrun.data.given_splits import with_given_splits
from tfrun.data.sources import load_table
from tfrun.data.splitting.split import split
from tfrun.data.stored_texts import StoredTexts, join_texts
from tfrun.data.table import Table
from tfrun.errors import DataError

ROWS = "id,size,city,kind\n" + "".join(f"q{k},{k},{'ab'[k % 2]},{'01'[k % 2]}\n" for k in range(12))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], str]:
    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


@pytest.fixture
def settings(write: Callable[[str, str], str]) -> Callable[..., DataSettings]:
    """Makes the config's `data` of a CSV file of twelve rows."""

    def make(params: dict[str, Any] | None = None, **changes: Any) -> DataSettings:
        values: dict[str, Any] = {
            "name": "csv",
            "params": {"path": write("rows.csv", ROWS), "target": "kind", "exclude": ["id"]} | (params or {}),
            "batch_size": 2,
            "validation_split": 0.25,
            "test_split": 0.25,
            "split_seed": 0,
            "target_scaling": "standard",
            "residency": "auto",
            "limit_rows": None,
            "sample_weight": None,
            "missing_target": "error",
            "text": {},
        }
        return DataSettings(**values | changes)

    return make


def test_rows_of_further_files_lie_behind_those_to_train_on(
    settings: Callable[..., DataSettings], write: Callable[[str, str], str], catalog: Catalog
) -> None:
    val = write("val.csv", "city,more,kind,size\nc,1,1.0,\na,1,0,2.5\n")
    test = write("test.csv", "\n# a comment\nkind,size,city\n1,7,\n")
    data = settings(validation_path=val, test_path=test)
    table = load_table(data, catalog)
    assert table.columns["size"][11:].tolist() == pytest.approx([11.0, np.nan, 2.5, 7.0], nan_ok=True)
    assert table.columns["city"][11:].tolist() == ["b", "c", "a", ""]
    assert table.target[11:].tolist() == ["1", "1", "0", "1"]  # 1.0 is the class 1, as the training file spells it
    assert table.given is not None
    assert {name: rows.tolist() for name, rows in table.given.items()} == {"val": [12, 13], "test": [14]}
    assert [table.find(row)[0].rpartition("/")[2] for row in (0, 12, 14)] == ["rows.csv:2", "val.csv:2", "test.csv:4"]
    splits = split(table, data)
    assert {name: sorted(rows.tolist()) for name, rows in splits.rows.items()} == {
        "train": list(range(12)),
        "val": [12, 13],
        "test": [14],
    }
    assert splits.rule == {"by": "stratified", "given": ["test", "val"]}


def test_only_what_is_not_given_is_cut(
    settings: Callable[..., DataSettings], write: Callable[[str, str], str], catalog: Catalog
) -> None:
    data = settings(test_path=write("test.csv", "kind,size,city\n1,7,a\n"))
    rows = split(load_table(data, catalog), data).rows
    assert {name: len(numbers) for name, numbers in rows.items()} == {"train": 9, "val": 3, "test": 1}
    assert rows["test"].tolist() == [12]


def test_the_training_file_decides_what_columns_are(
    settings: Callable[..., DataSettings], write: Callable[[str, str], str], catalog: Catalog
) -> None:
    """A column of digits in a file of few rows is still one of texts, and a target of one class still has classes."""
    data = settings({"text_columns": ["size"]}, test_path=write("t.csv", "kind,size,city\n1,007,1\n"))
    table = load_table(data, catalog)
    assert (table.columns["size"][12], table.columns["city"][12], table.task) == ("007", "1", "classification")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind,size\n1,7\n", r"^data\.test_path: .* a column that isn't in .*test\.csv\. Received: 'city'"),
        ("kind,size,city\n1,big,a\n", r"test\.csv:2, column 'size': not a number. Received: 'big'"),
        ("size,city\n1,a\n", r"^data\.target: no such column in .*test\.csv"),
        ("kind,size,city\n", r"^data\.test_path: .*test\.csv has a header but no rows"),
        ("kind,size,city\n,1,a\n", r"test\.csv:2, column 'kind': the target is empty"),
    ],
)
def test_files_that_do_not_fit_are_an_error(
    text: str,
    message: str,
    settings: Callable[..., DataSettings],
    write: Callable[[str, str], str],
    catalog: Catalog,
) -> None:
    with pytest.raises(DataError, match=message):
        load_table(settings(test_path=write("test.csv", text)), catalog)


def test_rows_without_a_target_are_dropped_from_all_files(
    settings: Callable[..., DataSettings], write: Callable[[str, str], str], catalog: Catalog
) -> None:
    data = settings(
        {"path": write("rows.csv", ROWS + "x,1,a,\n")},
        missing_target="drop",
        validation_path=write("val.csv", "kind,size,city\n,1,a\n1,2,b\n"),
    )
    table = load_table(data, catalog)
    assert table.given is not None and table.given["val"].tolist() == [12]
    assert table.find(12)[0].endswith("val.csv:3")


def test_weights_are_read_from_all_files(
    settings: Callable[..., DataSettings], write: Callable[[str, str], str], catalog: Catalog
) -> None:
    data = settings(sample_weight="size", test_path=write("test.csv", "kind,size,city\n1,7,a\n"))
    table = load_table(data, catalog)
    assert table.weights is not None and table.weights.tolist() == [*range(12), 7]
    assert list(table.columns) == ["city"]


def test_a_column_that_splits_is_no_input_unless_it_is_named(
    settings: Callable[..., DataSettings], catalog: Catalog
) -> None:
    ids = [f"q{k}" for k in range(12)]
    for params, columns in (
        ({}, ["size", "city"]),
        ({"exclude": None}, ["size", "city"]),
        ({"columns": ["size"], "exclude": None}, ["size"]),
        ({"columns": ["id", "size"], "exclude": None}, ["id", "size"]),
    ):
        table = load_table(settings(params, split=SplitSettings("group", "id")), catalog)
        assert (list(table.columns), table.split_cells.tolist()) == (columns, ids)
    as_category = settings(kinds={"id": CategoryKind()}, split=SplitSettings("group", "id"))
    assert list(load_table(as_category, catalog).columns) == ["size", "city"]
    with pytest.raises(DataError, match="^data.split.column: is the target. Received: 'kind'"):
        load_table(settings(split=SplitSettings("group", "kind")), catalog)


def test_predicting_needs_neither_files_nor_columns_of_splits(
    settings: Callable[..., DataSettings], catalog: Catalog
) -> None:
    data = settings(split=SplitSettings("group", "none"), test_path="none.csv")
    table = load_table(data, catalog, rows_only=True)
    assert (list(table.columns), table.given, table.split_cells) == (["size", "city"], None, None)


def test_what_splits_the_rows_is_part_of_the_fingerprint(homes: Callable[..., Table]) -> None:
    cells = np.array(list("abcdefghij"), dtype=object)
    tables = [
        homes(),
        homes(given={"val": np.array([9])}),
        homes(given={"test": np.array([9])}),
        homes(given={"val": np.array([8])}),
        homes(split_cells=cells),
        homes(split_cells=cells[::-1]),
    ]
    assert len(set(map(fingerprint, tables))) == 6
    assert fingerprint(homes(given={"val": np.array([9], "int32")})) == fingerprint(tables[1])


def data_set(read: Callable[..., Table], data: DataSettings) -> DataSet:
    return DataSet(data, read, {}, ())


def test_a_data_set_of_a_plugin_has_the_column_in_its_table(
    homes: Callable[..., Table], settings: Callable[..., DataSettings]
) -> None:
    data = settings({"target": None}, split=SplitSettings("group", "city"))
    table = data_set(homes, data).read()
    assert (list(table.columns), table.split_cells[:3].tolist()) == (["size", "flat"], ["b", "a", ""])
    with pytest.raises(DataError, match="homes.csv: data.split.column: no such column. Received: 'cty'. .* 'city'"):
        data_set(homes, settings({"target": None}, split=SplitSettings("group", "cty"))).read()
    images = {"image": np.ones((10, 2, 2))}
    with pytest.raises(DataError, match="must be a column of numbers or texts. Received: 'image'"):
        data_set(lambda: homes(columns=images), settings({}, split=SplitSettings("group", "image"))).read()
    alone = {"city": homes().columns["city"]}
    with pytest.raises(DataError, match="is the only column to learn from. Received: 'city'"):
        data_set(lambda: homes(columns=alone), settings({}, split=SplitSettings("group", "city"))).read()


def test_texts_on_disk_are_joined(tmp_path: Path) -> None:
    np.array([1, 0, 1], np.int32).tofile(tmp_path / "codes")
    stored = StoredTexts(StoredArray(str(tmp_path / "codes"), 0, shape=(3,), dtype="int32"), ["a", "b"])
    memory = np.array(["c", "", "a"], dtype=object)
    cases: list[tuple[list[np.ndarray | StoredTexts], str]] = [
        ([stored, memory, stored], "babc_abab"),
        ([memory, stored], "c_abab"),
    ]
    for columns, expected in cases:
        assert join_texts(columns)[:].tolist() == [text.replace("_", "") for text in expected]


def test_arrays_on_disk_stay_there(
    homes: Callable[..., Table], settings: Callable[..., DataSettings], tmp_path: Path
) -> None:
    images = np.arange(80, dtype=np.uint8).reshape(20, 2, 2)
    images.tofile(tmp_path / "images")
    parts = [StoredArray(str(tmp_path / "images"), 40 * k, shape=(10, 2, 2), dtype="uint8") for k in range(2)]
    tables = [homes(columns={"image": part}) for part in parts]
    reads = iter(tables[1:])
    table = with_given_splits(
        tables[0],
        DataSet(settings(validation_path="val.npz"), lambda path: next(reads), {}, ()),
    )
    column = table.columns["image"]
    assert isinstance(column, StoredArray) and column.shape == (20, 2, 2)
    np.testing.assert_array_equal(column[np.array([15, 0, 9, 10])], images[[15, 0, 9, 10]])
    np.testing.assert_array_equal(column[8:12], images[8:12])
    np.testing.assert_array_equal(column.select(np.array([3, 11]))[0:2], images[[3, 11]])
    assert tables[1].source == "homes.csv" and table.source == "homes.csv, homes.csv"
