"""What a data set's function may return beside a table: frames, and iterables of rows or batches."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfrun.components.datasets.parquet import parquet
from tfrun.data.adapters import Call, ReturnedRows
from tfrun.data.data_set import DataSet
from tfrun.data.fingerprint import fingerprint
from tfrun.data.table import Table, TrainedColumns
from tfrun.errors import DataError, ResourceError
from tfrun.table import Rows

ROWS = 12
X = np.arange(24.0, dtype="float32").reshape(ROWS, 2)
NUMBERS = np.linspace(0.5, 6.0, ROWS)
CLASSES = np.arange(ROWS) % 3
WEIGHTS = np.linspace(1.0, 2.0, ROWS)
TOWNS = ["Bonn", "Ulm", "Jena"] * 4
COLUMNS: dict[str, Any] = {
    "rooms": [1, 2, None, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    "town": TOWNS,
    "new": [True, False] * 6,
    "sold": [datetime.date(2024, 1, day + 1) for day in range(ROWS)],
    "price": NUMBERS.tolist(),
}


def table_of(value: Any, **known: Any) -> Table:
    params = known.pop("params", {"target": "price"})
    return ReturnedRows.of(value, Call("mine", "mine.py:3", params, **known)).table()


def by_index(elements: list[Any]) -> Any:
    """Returns a source as Grain's are: it has a length, and gives an element by its number."""
    return type("Indexed", (), {"__len__": lambda _: len(elements), "__getitem__": lambda _, k: elements[k]})()


def batches(*arrays: Any, size: int = 5) -> list[Any]:
    return [tuple(array[start : start + size] for array in arrays) for start in range(0, ROWS, size)]


def rows_of(*arrays: Any) -> list[Any]:
    return list(zip(*arrays, strict=True))


def tf_rows(*arrays: Any) -> Any:
    return pytest.importorskip("tensorflow").data.Dataset.from_tensor_slices(arrays)


def keras_batches(*arrays: Any) -> Any:
    keras = pytest.importorskip("keras")
    given = batches(*arrays)

    class Batches(keras.utils.PyDataset):  # type: ignore[name-defined]
        def __len__(self) -> int:
            return len(given)

        def __getitem__(self, index: int) -> Any:
            return given[index]

    return Batches()


def grain_rows(*arrays: Any) -> Any:
    return pytest.importorskip("grain").MapDataset.source(rows_of(*arrays))


ITERABLES: dict[str, Callable[..., Any]] = {
    "rows of tf.data": tf_rows,
    "batches of tf.data": lambda *arrays: tf_rows(*arrays).batch(5),
    "tf.data without a known length": lambda *arrays: tf_rows(*arrays).filter(lambda *_: True).batch(5),
    "a PyDataset": keras_batches,
    "a source of rows": lambda *arrays: by_index(rows_of(*arrays)),
    "a source of batches": lambda *arrays: by_index(batches(*arrays)),
    "Grain": grain_rows,
    "a list of rows": rows_of,
    "a generator function": lambda *arrays: Rows(lambda: iter(rows_of(*arrays)), ROWS),
    "a generator": lambda *arrays: Rows(iter(batches(*arrays)), 3),
    "whole arrays": lambda *arrays: arrays,
}


@pytest.mark.parametrize("kind", ITERABLES)
def test_an_iterable_gives_its_rows_in_their_order(kind: str) -> None:
    table = table_of(ITERABLES[kind](X, NUMBERS, WEIGHTS), params={})
    assert (list(table.columns), table.target_name, table.task) == (["x"], "y", "regression")
    assert table.columns["x"].dtype == np.float32
    np.testing.assert_array_equal(table.columns["x"], X)
    np.testing.assert_array_equal(table.target, NUMBERS)
    assert table.weights is not None
    np.testing.assert_array_equal(table.weights, WEIGHTS)
    classes = table_of(ITERABLES[kind](X.astype("uint8"), CLASSES), params={"target": "digit"})
    assert (classes.target_name, classes.task, classes.columns["x"].dtype) == ("digit", "classification", np.uint8)
    assert classes.target.tolist() == ["0", "1", "2"] * 4
    assert classes.weights is None


@pytest.mark.parametrize("kind", [kind for kind in ITERABLES if "batches" not in kind])
def test_a_mapping_of_inputs_has_a_column_for_each(kind: str) -> None:
    towns = np.array([town.encode() for town in TOWNS])  # as tf.data has texts
    x = [{"rooms": k, "town": towns[k], "image": X[k]} for k in range(ROWS)]
    if kind in ("a PyDataset", "whole arrays", "a generator") or "tf.data" in kind:
        whole = {"rooms": np.arange(ROWS), "town": towns, "image": X}
        made = (whole, CLASSES) if "tf.data" not in kind else tf_rows(whole, CLASSES)
    elif kind == "Grain":
        made = grain_rows(x, CLASSES)
    else:
        made = ITERABLES[kind](x, CLASSES)
    table = table_of(made, params={"task": "regression"})
    assert table.columns["rooms"].tolist() == list(range(ROWS))
    assert table.columns["rooms"].dtype == np.float64
    assert table.columns["town"].tolist() == TOWNS
    np.testing.assert_array_equal(table.columns["image"], X)
    assert (table.target.tolist(), table.task) == (CLASSES.tolist(), "regression")


def test_rows_that_are_mappings_hold_their_target() -> None:
    rows = [{name: cells[k] for name, cells in COLUMNS.items()} | {"image": X[k]} for k in range(ROWS)]
    table = table_of(rows)
    expected = table_of(pa.table(COLUMNS))
    np.testing.assert_array_equal(table.columns.pop("image"), X)
    assert fingerprint(table) == fingerprint(expected)
    whole = {name: np.array(cells) for name, cells in COLUMNS.items() if name != "rooms"}
    assert table_of(whole).columns["town"].tolist() == TOWNS


def test_several_targets() -> None:
    table = table_of((X, {"price": NUMBERS, "kind": CLASSES}), params={})
    assert {name: (target.task, target.values[1]) for name, target in table.targets.items()} == {
        "price": ("regression", 1.0),
        "kind": ("classification", "1"),
    }
    assert table_of(({"y": NUMBERS}, NUMBERS[:, None]), params={}).target_name == "y_"


FRAMES: dict[str, Callable[[], Any]] = {
    "an Arrow table": lambda: pa.table(COLUMNS),
    "a record batch": lambda: pa.record_batch(COLUMNS),
    "a stream": lambda: pa.RecordBatchReader.from_batches(
        pa.table(COLUMNS).schema, pa.table(COLUMNS).to_batches(max_chunksize=5)
    ),
    "another library": lambda: SimpleNamespace(__arrow_c_stream__=pa.table(COLUMNS).__arrow_c_stream__),
    "an older one": lambda: SimpleNamespace(__dataframe__=None, to_arrow=lambda: pa.table(COLUMNS)),
    "pandas": lambda: pytest.importorskip("pandas").DataFrame(COLUMNS),
    "polars": lambda: pytest.importorskip("polars").DataFrame(COLUMNS),
    "categories of polars": lambda: (
        pytest.importorskip("polars")
        .DataFrame(COLUMNS)
        .with_columns(pytest.importorskip("polars").col("town").cast(pytest.importorskip("polars").Categorical))
    ),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_means_what_a_parquet_file_of_its_columns_means(kind: str, tmp_path: Any) -> None:
    pq.write_table(pa.table(COLUMNS), tmp_path / "rows.parquet")
    expected = parquet(str(tmp_path / "rows.parquet"), "price")
    table = table_of(FRAMES[kind]())
    assert table.columns["new"].tolist() == ["true", "false"] * 6
    assert table.columns["sold"][0] == "2024-01-01"
    assert (table.target_name, table.task, table.source) == ("price", "regression", "data=mine")
    assert fingerprint(table) == fingerprint(expected)


def test_the_function_s_parameters_say_what_columns_mean() -> None:
    columns = {**COLUMNS, "__index_level_0__": list(range(ROWS)), "id": [f"n{k}" for k in range(ROWS)]}
    params = {"target": ["rooms", "town"], "task": "classification", "exclude": ["id"], "text_columns": ["price"]}
    table = table_of(pa.table({**columns, "rooms": CLASSES}), params=params)
    assert list(table.columns) == ["new", "sold", "price"]
    assert table.columns["price"][0] == "0.5"
    assert [target.task for target in table.targets.values()] == ["classification"] * 2
    declared = table_of(pa.table({**COLUMNS, "price": CLASSES}), task="classification")
    assert declared.target.tolist() == ["0", "1", "2"] * 4


def test_further_rows_are_of_the_kinds_of_training() -> None:
    trained = TrainedColumns(numbers=("rooms",), texts=("town",), targets=(("a", "b"),))
    few = pa.table({"town": ["7"], "rooms": pa.array([None], pa.int64()), "more": [1], "kind": ["a"]})
    table = table_of(few.select([0, 1, 2]), params={"target": "kind"}, trained=trained, rows_only=True)
    assert (table.columns["town"].tolist(), str(table.columns["rooms"])) == (["7"], "[nan]")
    assert table_of(few, params={"target": "kind"}, trained=trained).target.tolist() == ["a"]
    assert list(table_of(few, params={}, trained=trained, rows_only=True).columns) == ["town", "rooms"]


def data_set(value: Any, *, target: str, **split: Any) -> DataSet:
    data: Any = SimpleNamespace(
        name="mine",
        params={"target": target},
        split=SimpleNamespace(column=None, **split) if "column" not in split else SimpleNamespace(**split),
        text_encodings={},
        window=None,
        cache="auto",
    )
    return DataSet(data, lambda target: value, {"target": target}, ("target",))


def test_rows_are_split_by_a_column_of_a_frame() -> None:
    names = [f"customer {k}" for k in range(60)]
    frame = pa.table({"customer": names, "rooms": list(range(60)), "price": np.linspace(0, 1, 60)})
    table = data_set(
        pa.RecordBatchReader.from_batches(frame.schema, frame.to_batches()), target="price", column="customer"
    ).read()
    assert list(table.columns) == ["rooms"]
    assert table.split_cells.tolist() == names


def test_rows_of_a_frame_are_series() -> None:
    frame = pa.table({"shop": ["a", "b"] * 20, "day": [f"day {k}" for k in range(40)], "price": np.linspace(0, 1, 40)})
    rows = data_set(frame, target="price")
    data: Any = rows.data
    data.window = SimpleNamespace(by="shop", time="day")
    table = rows.read()
    assert (list(table.columns), table.target[-1]) == ([], 1.0)
    assert table.keys["shop"].tolist() == ["a", "b"] * 20
    assert table.keys["day"][:2].tolist() == ["day 0", "day 1"]


def generator() -> Iterator[Any]:
    yield X[0], 1.0


def uneven_rows() -> Any:
    """Returns rows of tf.data whose arrays have different lengths."""
    tensorflow = pytest.importorskip("tensorflow")
    specs = (tensorflow.TensorSpec((None,)), tensorflow.TensorSpec(()))
    rows = [(np.ones(2 + (k == 7)), 1.0) for k in range(ROWS)]
    return tensorflow.data.Dataset.from_generator(lambda: rows, output_signature=specs)


class Endless:
    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, index: int) -> Any:
        return X, 1.0


class Long(Endless):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return [(X[0], 1.0)][index]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda: None, "must return a tfrun.table.Table. Received: NoneType. Known: Table, an Arrow table, a pandas"),
        (lambda: X, "must return a tfrun.table.Table. Received: ndarray"),
        (lambda: Rows, "must return a tfrun.table.Table. Received: type"),
        (generator, "rows need a length, .* Received: generator. Return tfrun.table.Rows.rows, length"),
        (lambda: tf_rows(X, NUMBERS).repeat(), "must end. Received: an infinite one. Leave out its repeat"),
        (uneven_rows, r"element 7: x must have the shape of those before, \(2,\). Received: \(3,\)"),
        (lambda: Rows(generator, 2), "its length is 2, and it has 1 elements"),
        (lambda: Rows(lambda: rows_of(X, NUMBERS), 11), "its length is 11, and it has 12 elements"),
        (Long, "its length is 3, and element 1 doesn't exist"),
        (
            lambda: {"train": tf_rows(X, NUMBERS)},
            "must hold columns. Received: 'train', a .*Dataset. Of splits, return one",
        ),
        (lambda: {"train": by_index(rows_of(X, NUMBERS))}, "must hold columns. Received: 'train', a Indexed"),
        (lambda: [], "there are no rows"),
        (lambda: rows_of(X, NUMBERS)[:3], "has 3 rows; at least 10 are needed"),
        (lambda: list(X), "element 0: must be .x, y., .* Received: ndarray"),
        (lambda: rows_of(X, NUMBERS, WEIGHTS, WEIGHTS), "element 0: must be .* Received: tuple of 4"),
        (lambda: [*rows_of(X, NUMBERS), (X[0, :1], 1.0)], r"element 12: x must have the shape .*\(2,\). .*\(1,\)"),
        (lambda: [*batches(X, NUMBERS), (X[:, :1], NUMBERS)], r"element 3: 'x' must have rows of the shape \(2,\)"),
        (
            lambda: [*rows_of(X, NUMBERS), (X[0], 1.0, 1.0)],
            "element 12: must have the parts .* x, y. Received: x, y, w",
        ),
        (lambda: (X, NUMBERS[:7]), r"the same number of rows. Received: x \(12, 2\), y \(7,\)"),
        (lambda: rows_of(X, np.eye(ROWS)), r"the same number of rows. Received: x \(2,\), y \(12,\)"),
        (lambda: (X, np.eye(ROWS)), r"target 'price' must be one number or text .* \(12, 12\). .* numpy.argmax"),
        (lambda: ([[1.0], [1.0, 2.0]] * 6, NUMBERS), "element 0, 'x': can't be an array: its lists"),
        (lambda: ((X, X), NUMBERS), "x must be an array or a mapping of columns"),
        (lambda: [*batches(X, NUMBERS), (X.astype(complex), NUMBERS)], "must be numbers or texts. Received: complex"),
        (lambda: [*batches(X.astype(int), NUMBERS), (X, NUMBERS)], "'x' must be int64, as before. Received: float32"),
        (
            lambda: ({"a": NUMBERS, "b": [b"\xff"] * ROWS}, NUMBERS),
            "'b' must be text in UTF-8. Received: bytes b'.xff'",
        ),
        (lambda: ({"a": [object()] * ROWS}, NUMBERS), "'a': not numbers or texts: "),
        (lambda: rows_of([*NUMBERS[:-1], "one"], NUMBERS), "'x': not numbers or texts"),
        (lambda: (X, NUMBERS, ["a"] * ROWS), "weights must be one number for each row"),
        (lambda: ({"a": np.where(CLASSES == 2, np.inf, 0)}, NUMBERS), "data=mine: row 2, column 'a': not finite"),
        (lambda: (X, np.zeros(ROWS, int)), "has a single class. Received: '0'"),
        (lambda: pa.table({**COLUMNS, "town": [{"a": 1}] * ROWS}), "Leave it out: .*the parameter exclude"),
        (lambda: pa.table({"rooms": NUMBERS}), "no such column in data=mine. Received: 'price'"),
    ],
)
def test_what_is_no_rows_is_one_line_with_the_function(value: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        table_of(value())
    assert str(caught.value).startswith("mine.py:3: data=mine")
    assert "data=mine: data=mine" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_named_columns_need_a_target() -> None:
    for value in (pa.table(COLUMNS), [COLUMNS], COLUMNS):
        with pytest.raises(DataError, match="mine.py:3: .* a parameter for it, .* Received parameters: seed"):
            table_of(value, params={"seed": 1})


def test_a_frame_of_mixed_cells_is_one_line() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match="a pandas DataFrame that Arrow can't read") as caught:
        table_of(pandas.DataFrame({"a": [1, "b"] * 6, "price": NUMBERS}))
    assert "\n" not in str(caught.value)


def test_rows_that_do_not_fit_into_the_memory_are_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResourceError, match="mine.py:3: .*GiB are needed"):
        table_of(Endless())
    monkeypatch.setenv("TFRUN_DATA_MEMORY", "1e3")

    def endless() -> Iterator[Any]:
        while True:
            yield X, NUMBERS

    tensorflow = pytest.importorskip("tensorflow")
    specs = (tensorflow.TensorSpec((None, 2)), tensorflow.TensorSpec((None,)))
    with pytest.raises(ResourceError, match="a tf.data.Dataset is read into memory"):
        table_of(tensorflow.data.Dataset.from_generator(endless, output_signature=specs))


def test_a_pipeline_that_draws_anew_is_noticed_by_the_fingerprint() -> None:
    tensorflow = pytest.importorskip("tensorflow")
    random = np.random.default_rng(0)

    def drawn() -> Iterator[Any]:
        yield from zip(X + random.random(X.shape, dtype="float32"), NUMBERS, strict=True)

    def augmented() -> Table:
        spec = (tensorflow.TensorSpec((2,), "float32"), tensorflow.TensorSpec((), "float64"))
        return table_of(tensorflow.data.Dataset.from_generator(drawn, output_signature=spec).batch(4))

    assert fingerprint(augmented()) != fingerprint(augmented())
    assert fingerprint(table_of(tf_rows(X, NUMBERS))) == fingerprint(table_of(tf_rows(X, NUMBERS).batch(4)))


def test_a_run_says_that_a_pipeline_is_read_once(caplog: pytest.LogCaptureFixture) -> None:
    table_of(rows_of(X, NUMBERS))
    assert re.search(
        "the 12 rows of a list are in memory now .* what is random in their making is drawn once", caplog.text
    )
    caplog.clear()
    table_of(pa.table(COLUMNS))
    table_of((X, NUMBERS))
    assert caplog.text == ""
