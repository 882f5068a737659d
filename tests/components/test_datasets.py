import logging
import os
import re
import subprocess
import sys
import zipfile
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from tfrun.components.datasets import csv_file
from tfrun.components.datasets.csv import csv
from tfrun.components.datasets.csv_file import CsvFile
from tfrun.components.datasets.csv_numbers import NumberFormat
from tfrun.components.datasets.dates import are_dates, date_option
from tfrun.components.datasets.embedded import diabetes, digits
from tfrun.components.datasets.npz import npz
from tfrun.data.arrays import StoredArray
from tfrun.data.table import Table, TrainedColumns
from tfrun.data.table_checks import check_table, without_missing_targets
from tfrun.errors import ConfigError, DataError

GOOD = "".join(f"{k},{k * 2.5}\n" for k in range(12))  # lines 2 to 13


@pytest.fixture
def write(tmp_path: Any) -> Any:
    def write(content: Any, name: str = "rows.csv") -> Any:
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
        return str(tmp_path / name)

    return write


def read(path: str, target: Any = "y", missing_target: str = "error", **options: Any) -> Table:
    """Reads a CSV file, with the checks that follow for every data set."""
    return without_missing_targets(check_table(csv(path, target, **options), "csv"), missing_target)


def rows(make: Any, count: int = 12) -> Any:
    return "".join(make(k) + "\n" for k in range(count))


def test_housing(housing_csv: Any) -> None:
    table = csv(str(housing_csv), "median_house_value")
    assert table.task == "regression"
    assert table.target.shape == (20640,)
    assert table.target[:2].tolist() == [452600.0, 358500.0]
    assert len(table.columns) == 9
    assert np.isnan(table.columns["total_bedrooms"]).sum() == 207
    assert sorted(set(table.columns["ocean_proximity"])) == ["<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN"]


def test_kinds_of_columns(write: Any) -> None:
    path = write(
        "\ufeffn , text,flag,day,y\r\n"
        + rows(lambda k: f" +{k}.5e1, b{k % 2} ,true,2020-01-0{k % 9 + 1},{k}\r")
        + "NA,,,,1e3"
    )
    table = csv(path, "y")
    assert list(table.columns) == ["n", "text", "flag", "day"]
    assert table.columns["n"][:2].tolist() == [5.0, 15.0]
    assert np.isnan(table.columns["n"][-1])
    assert table.columns["text"][:3].tolist() == ["b0", "b1", "b0"]
    assert [table.columns[name].dtype for name in ("n", "text", "flag", "day")] == [float, object, object, object]
    assert table.columns["flag"][0] == "true"
    assert table.columns["day"][1] == "2020-01-02"
    assert table.columns["text"][-1] == ""
    assert table.target[-1] == 1000.0
    assert table.first_line == 2
    assert table.source == path


def test_columns_exclude_and_text_columns(write: Any) -> None:
    path = write("zip,a,b,y\n" + rows(lambda k: f"{k % 3},1,2,{k}.5"))
    assert list(csv(path, "y", columns=["b", "zip"]).columns) == ["b", "zip"]
    assert list(csv(path, "y", exclude=["a"]).columns) == ["zip", "b"]
    assert csv(path, "y", text_columns=["zip"]).columns["zip"].tolist()[:4] == ["0", "1", "2", "0"]
    with pytest.raises(DataError, match=r"data\.exclude: holds the target"):
        csv(path, "y", exclude=["y"])
    with pytest.raises(DataError, match="there are no columns to learn from except the target 'y'"):
        check_table(csv(path, "y", exclude=["a", "b", "zip"]), "csv")


def test_separators_and_decimals(write: Any) -> None:
    path = write("a;y\n" + rows(lambda k: f"{k},5;{k},25"))
    assert csv(path, "y", separator=";", decimal=",").target[:2].tolist() == [0.25, 1.25]
    path = write("a\ty\n" + rows(lambda k: f"{k}\t{k}.5"))
    assert csv(path, "y", separator="\\t").target[1] == 1.5


def test_the_task_is_guessed_from_the_target(write: Any, caplog: Any) -> None:
    text = write("a,y\n" + rows(lambda k: f"{k},{'yn'[k % 2]}"), "text.csv")
    binary = write("a,y\n" + rows(lambda k: f"{k},{k % 2}.0"), "binary.csv")
    grades = write("a,y\n" + rows(lambda k: f"{k},{k % 3}"), "grades.csv")
    assert csv(text, "y").task == "classification"
    assert csv(binary, "y").target.tolist()[:2] == ["0", "1"]
    assert csv(binary, "y", task="regression").target.tolist()[:2] == [0.0, 1.0]
    assert csv(grades, "y", task="classification").target.tolist()[:3] == ["0", "1", "2"]
    with caplog.at_level(logging.WARNING):
        assert csv(grades, "y").task == "regression"
    assert "only 3 different whole numbers" in caplog.text
    with pytest.raises(DataError, match=r"text\.csv:2, column 'y': not a number\. Received: 'y'"):
        csv(text, "y", task="regression")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,y\n", "a header but no rows"),
        ("a,y\n1,2\n", "1 rows; at least 10"),
        ("y,y\n" + GOOD, r":1: two columns have the same name\. Received: 'y'"),
        ("a,y,\n" + GOOD, ":1: column 3 of the header has no name"),
        ("a,yy\n" + GOOD, r"data\.target: no such column .*Known: a, yy\. Did you mean 'yy'\?"),
        ("a;y\n" + GOOD, r"try 'data\.separator=\";\""),
        ("a\ty\n" + GOOD, r"try data\.separator=tab"),
        ("a,y\n" + GOOD + "1,2,3\n", ":14: 3 cells where the header has 2"),
        ("a,y\n\n" + GOOD + "\n1\n", ":16: 1 cells where the header has 2"),
        ("a,y\n" + GOOD + "x,1\n", r":14, column 'a': not a number\. Received: 'x' \(1 such cells, 12 numbers\)"),
        ("a,y\n" + GOOD + "1,x\n", r":14, column 'y': not a number"),
        ("a,y\n\n" + '"1\n",1\n' + GOOD + "1,\n", r":17, column 'y': the target is empty\. Received: ''"),
        ("a,y\n" + GOOD + "1,nan\n", r":14, column 'y': the target is empty\. Received: 'nan'"),
        ("a,y\n" + GOOD + "1e999,1\n", r":14, column 'a': not finite\. Received: '1e999'"),
        ("a,y\n" + GOOD + "1,-inf\n", r":14, column 'y': not finite\. Received: '-inf'"),
        ("a,y\n" + rows(lambda k: f",{k}"), "column 'a' .* is empty"),
        ("a,y\n" + rows(lambda k: f"id{k},{k}", 50), r"50 different values in 50 rows.*data\.exclude=\[a\]"),
        ("a,y\n" + rows(lambda k: f"{k},id{k}", 50), r"50 classes in 50 rows"),
        ("a (b),y\n" + rows(lambda k: f"id{k},{k}", 50), r"Leave it out with 'data\.exclude=\[\"a \(b\)\"\]', or read"),
        ("a,y\n" + rows(lambda k: f"{k},NA"), r":2, column 'y': the target is empty\. Received: 'NA' \(all rows\)\.$"),
        ("a,y\n" + rows(lambda k: f"{k},one"), "a single class"),
        ("a,y\n" + rows(lambda k: f'"{k},5",1'), r":2, column 'a': numbers with a comma.*data\.decimal=\",\""),
        ("a,y\n" + GOOD + '1,"2\n3,4\n', ":14: a quote is opened and never closed"),
        (b"a,y\n" + GOOD.encode() + b"\xe9,1\n", r":14: not UTF-8 text\. Received: byte 0xe9 at offset 86"),
        (("a,y\n" + GOOD).encode("utf-16"), ":1: not UTF-8 text.* Save the file as UTF-8"),
        (b"PAR1\x15\x04\x80", r":1: not UTF-8 text.* offset 6\. Its format is Parquet: use data=parquet$"),
        (b"\x89PNG\r\n", r":1: not UTF-8 text.* Its format is PNG: use data=images$"),
    ],
)
def test_faults_are_reported_in_one_line(write: Any, content: Any, message: Any) -> None:
    path = write(content)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.fixture
def small_blocks(monkeypatch: Any) -> None:
    """Makes a short file come in many batches."""
    monkeypatch.setattr(csv_file, "BLOCK_BYTES", 64)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_split_into_batches_does_not_show(write: Any, end: Any) -> None:
    lines = [f"{k},{'' if k % 7 == 0 else k / 4},c{k % 5},{k * 1.5}" for k in range(300)]
    table = csv(write("a,b,c,y" + end + end.join(lines)), "y")
    np.testing.assert_array_equal(table.columns["a"], np.arange(300.0))
    expected = np.where(np.arange(300) % 7 == 0, np.nan, np.arange(300) / 4)
    np.testing.assert_array_equal(table.columns["b"], expected)
    assert table.columns["c"].tolist() == [f"c{k % 5}" for k in range(300)]
    assert len({id(cell) for cell in table.columns["c"]}) == 5  # equal cells are one string
    np.testing.assert_array_equal(table.target, np.arange(300) * 1.5)


@pytest.mark.usefixtures("small_blocks")
def test_text_that_starts_as_numbers(write: Any) -> None:
    cells = [("007" if k % 2 else "1.0") if k < 50 else f"b{k % 9}" for k in range(200)]
    lines = "".join(f"{cell},{k}\n" for k, cell in enumerate(cells))
    assert csv(write("a,y\n" + lines), "y").columns["a"].tolist() == cells
    labels = "".join(f"{k},{cell}\n" for k, cell in enumerate(cells))
    assert csv(write("a,y\n" + labels), "y").target.tolist() == cells


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1"] * 150 + ["x", "2", "y"], r":152, column 'a': not a number\. Received: 'x' \(2 such cells, 151 numbers"),
        ([""] * 150 + ["1"] * 20 + ["-inf"], r":172, column 'a': not finite\. Received: '-inf'"),
        (["NA"] * 150, r"column 'a' of .* is empty"),
        (["1"] * 50 + ["1,5"] * 99, r":52, column 'a': numbers with a comma\. Received: '1,5'"),
        ([str(k) for k in range(50)] + [f"id{k}" for k in range(60)], r"110 different values in 110 rows"),
    ],
)
def test_faults_in_later_batches(write: Any, cells: Any, message: Any) -> None:
    with pytest.raises(DataError, match=message):
        csv(write("a;y\n" + "".join(f"{cell};{k}\n" for k, cell in enumerate(cells))), "y", separator=";")


@pytest.mark.usefixtures("small_blocks")
def test_faults_of_the_target_in_later_batches(write: Any) -> None:
    path = write("a,y\n" + "".join(f"{k},{'' if k == 90 else k}\n" for k in range(100)))
    with pytest.raises(DataError, match=r":92, column 'y': the target is empty\. Received: '' \(1 such row\)"):
        read(path)
    path = write("a,y\n" + "".join(f"{k},{'x' if k == 90 else k}\n" for k in range(100)))
    with pytest.raises(DataError, match=r":92, column 'y': not a number\. Received: 'x' \(1 such cells, 99 numbers"):
        read(path)
    with pytest.raises(DataError, match="has 100 classes in 100 rows"):
        read(path, task="classification")


def test_missing_files(write: Any, tmp_path: Any) -> None:
    write("a,y\n" + GOOD, "housing.csv")
    with pytest.raises(DataError, match=r"no such file.*Did you mean '.*housing\.csv'\?"):
        csv(str(tmp_path / "housin.csv"), "y")
    with pytest.raises(DataError, match="no such file or folder"):
        csv(str(tmp_path / "nowhere" / "housing.csv"), "y")
    with pytest.raises(DataError, match="must be a file, not a folder"):
        csv(str(tmp_path), "y")


def test_the_home_folder_is_filled_in(write: Any, tmp_path: Any, monkeypatch: Any) -> None:
    write("a,y\n" + GOOD)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(csv("~/rows.csv", "y").target) == 12


def test_data_sets_of_scikit_learn() -> None:
    table = diabetes()
    assert table.target.shape == (442,)
    assert table.target[0] == 151.0
    assert table.columns["age"][0] == 59.0
    assert table.columns["sex"][:2].tolist() == ["2", "1"]
    assert len(table.columns) == 10
    images = digits()
    assert images.columns["image"].shape == (1797, 8, 8)
    assert (images.columns["image"].min(), images.columns["image"].max()) == (0.0, 1.0)
    assert images.target[:3].tolist() == ["0", "1", "2"]
    assert images.task == "classification"


def test_npz(tmp_path: Any) -> None:
    path, x = str(tmp_path / "a.npz"), np.random.default_rng(0).uniform(size=(20, 4, 4))
    np.savez(path, x=x, y=np.arange(20) % 3, z=np.linspace(0, 1, 20)[:, None], short=np.arange(3))
    table = npz(path)
    assert (table.task, table.target[:3].tolist()) == ("classification", ["0", "1", "2"])
    assert isinstance(table.columns["x"], StoredArray)  # the examples stay in the file
    np.testing.assert_array_equal(table.columns["x"], x)
    assert npz(path, y="z").task == "regression"
    assert npz(path, task="regression").target[:2].tolist() == [0.0, 1.0]
    with pytest.raises(DataError, match=r"data\.y: no such array in .*Received: 'w'\. Known: x, y, z, short"):
        npz(path, y="w")
    with pytest.raises(DataError, match=r"data\.y: \(20,\) are needed"):
        npz(path, y="short")


@pytest.mark.parametrize("kind", ["compressed", "fortran", "big-endian", "no suffix", "half", "bool"])
def test_npz_in_every_format(tmp_path: Any, kind: Any) -> None:
    x = np.random.default_rng(0).uniform(size=(20, 4, 4))
    x = {"fortran": np.asfortranarray(x), "big-endian": x.astype(">f8"), "half": x.astype("f2"), "bool": x > 0.5}.get(
        kind, x
    )
    path = str(tmp_path / "a.npz")
    (np.savez_compressed if kind == "compressed" else np.savez)(path, x=x, y=np.arange(20) % 3)
    if kind == "no suffix":
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "b.npz", "w") as renamed:
            for name in ("x", "y"):
                renamed.writestr(name, archive.read(f"{name}.npy"))
        path = str(tmp_path / "b.npz")
    column = npz(path).columns["x"]
    assert isinstance(column, StoredArray) == (kind in ("half", "bool", "no suffix"))
    assert column.dtype == x.dtype
    np.testing.assert_array_equal(column, x)


def test_npz_written_piece_by_piece(tmp_path: Any) -> None:
    """Writes the file as docs/data.md explains for data that don't fit into memory."""
    path, x = tmp_path / "a.npz", np.random.default_rng(0).integers(0, 256, (20, 4), dtype=np.uint8)
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("x.npy", "w", force_zip64=True) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (20, 4)}
            np.lib.format.write_array_header_2_0(file, header)
            for rows in np.split(x, 4):
                file.write(rows.tobytes())
        with archive.open("y.npy", "w") as file:
            np.lib.format.write_array(file, np.arange(20) % 3)
    table = npz(str(path))
    assert isinstance(table.columns["x"], StoredArray)
    np.testing.assert_array_equal(table.columns["x"], x)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("damage", ["end", "middle", "shape"])
def test_damaged_npz(tmp_path: Any, compressed: Any, damage: Any) -> None:
    path = tmp_path / "a.npz"
    x = np.random.default_rng(0).uniform(size=(2000, 10))
    (np.savez_compressed if compressed else np.savez)(path, x=x, y=np.arange(2000) % 3)
    content = path.read_bytes()
    if damage == "shape":
        with zipfile.ZipFile(path, "w") as archive, archive.open("x.npy", "w") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (20, 9)})
            file.write(bytes(20 * 8))
        with zipfile.ZipFile(path, "a") as archive, archive.open("y.npy", "w") as file:
            np.lib.format.write_array(file, np.arange(20) % 3)
    else:
        path.write_bytes(content[: -1000 if damage == "end" else len(content) // 2])
    with pytest.raises(DataError, match="can't be read as an|isn't whole") as caught:
        npz(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["objects", "pickle", "text", "one array", "nan"])
def test_npz_faults(tmp_path: Any, content: Any) -> None:
    path = tmp_path / "a.npz"
    if content == "objects":
        np.savez(path, x=np.zeros((20, 2)), y=np.array([{}] * 20))
    elif content == "pickle":
        path.write_bytes(b"\x80\x04N.")
    elif content == "text":
        path.write_text("a,y\n1,2\n")
    elif content == "one array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        np.savez(path, x=np.zeros((20, 2)), y=np.full(20, np.nan))
    with pytest.raises(DataError) as caught:
        without_missing_targets(npz(str(path)), "error")
    assert "\n" not in str(caught.value)
    assert "pickle=" not in str(caught.value)  # NumPy's advice


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((40, 0)), np.arange(40.0), r"data\.x: there are no values\. Received: float64 \(40, 0\)"),
        (np.zeros((0, 3)), np.zeros(0), "has 0 rows; at least 10 are needed"),
        (np.zeros((20, 3)), np.arange(10.0), r"data\.y: \(20,\) are needed"),
        (np.zeros((20, 3)), np.zeros((20, 2)), r"data\.y: \(20,\) are needed"),
        (np.zeros((20, 3)), np.array(["a" * 1001, "b"] * 10), "texts of at most 1000 characters"),
        (np.array(["a", "b"] * 10), np.arange(20.0), "data.x: numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Any, x: Any, y: Any, message: Any) -> None:
    np.savez(tmp_path / "a.npz", x=x, y=y)
    with pytest.raises(DataError, match=message):
        npz(str(tmp_path / "a.npz"))


def test_targets_that_unpack_to_much_are_refused_by_their_header(tmp_path: Any, monkeypatch: Any) -> None:
    path = str(tmp_path / "bomb.npz")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w") as file:
            np.lib.format.write_array(file, np.zeros((40, 3)))
        with archive.open("y.npy", "w") as file:
            header = {"descr": "<f8", "fortran_order": False, "shape": (2**21,)}
            np.lib.format.write_array_header_2_0(file, header)
            file.write(bytes(2**24))
    monkeypatch.setattr(np.lib.format, "read_array", None)  # nothing is unpacked
    with pytest.raises(DataError, match=r"\(40,\) are needed.*Received: float64 \(2097152,\)"):
        npz(path)


def test_labels_of_an_npz(tmp_path: Any) -> None:
    """Whole numbers are written as integers, whatever their type; nan and the usual texts are missing."""
    path, x = str(tmp_path / "a.npz"), np.zeros((10, 2))
    for y, labels in (
        (np.array([7.0, 10.0, np.nan, 7.0, 2.0] * 2), ["7", "10", "", "7", "2"]),
        (np.array([0.5, 1.0, 1.5, 0.5, 1.0] * 2), ["0.5", "1.0", "1.5", "0.5", "1.0"]),
        (np.array(["007", "7", "?", " 7 ", "K"] * 2), ["007", "7", "", "7", "K"]),
        (np.array([True, False, True, False, True] * 2), ["True", "False", "True", "False", "True"]),
    ):
        np.savez(path, x=x, y=y)
        assert npz(path, task="classification").target.tolist() == labels * 2
    assert npz(path, task="classification", missing=None).target.tolist()[:2] == ["True", "False"]


@pytest.mark.parametrize("read_file", [csv, npz])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_only_regular_files_are_opened(tmp_path: Any, read_file: Any, kind: Any) -> None:
    path = {"device": "/dev/zero", "folder": str(tmp_path)}.get(kind, str(tmp_path / "pipe"))
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(DataError, match="must be a (regular )?file, not a") as caught:
        read_file(path, "y")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["007", "010", "7"], ["007", "010", "7"]),
        (["7", "07", "+7"], ["+7", "07", "7"]),
        (["1e3", "1000", "-0"], ["-0", "1000", "1e3"]),
        (["10", "11", "12", "K"], ["10", "11", "12", "K"]),
        (["1", "1.0", "2."], ["1", "2"]),  # as programs write them where another one is missing
        (["1.0", "1.1", "1.10"], ["1.0", "1.1", "1.10"]),
        (["1_0", "10", "2"], ["10", "1_0", "2"]),
    ],
)
def test_classes_are_spelt_as_in_the_file(write: Any, labels: Any, classes: Any) -> None:
    path = write("a,y\n" + rows(lambda k: f"{k}, {labels[k % len(labels)]} ", 24))
    table = read(path, task="classification")
    assert sorted(set(table.target)) == classes
    assert table.target[0] == ("1" if labels[0] == "1" else labels[0])


@pytest.mark.parametrize("spelling", ["0", "0.0", "00"])
def test_a_target_of_0_and_1_has_two_classes(write: Any, spelling: Any) -> None:
    path = write("a,y\n" + rows(lambda k: f"{k},{spelling if k % 2 else 1}"))
    table = read(path)
    assert table.task == "classification"
    assert sorted(set(table.target)) == sorted(["0" if spelling == "0.0" else spelling, "1"])


@pytest.mark.parametrize(
    "before", ["\n", "\n\n", " \n", ",,\n", "# made by X\n", "# a, b, c\n\n", "\ufeff\n", "\r\n", "sep=,\n"]
)
@pytest.mark.parametrize("numbers", [True, False])
def test_lines_before_the_header(write: Any, before: Any, numbers: Any) -> None:
    lines = rows(lambda k: f"{k % 5},{k % 2}" if numbers else f"{'uv'[k % 2]},{'pq'[k % 2]}", 60)
    table = read(write(before + "k,y\n" + lines))
    assert list(table.columns) == ["k"]
    assert len(table.target) == 60
    assert sorted(set(table.target)) == (["0", "1"] if numbers else ["p", "q"])
    header = before.count("\n") + 1
    assert table.find(0, "k") == (f"{table.source}:{header + 1}", "0" if numbers else "u")


def test_a_header_may_begin_with_the_sign_of_comments(write: Any) -> None:
    assert list(read(write("#k,y\n" + GOOD)).columns) == ["#k"]
    assert list(read(write("# k, z\nk,y\n" + GOOD)).columns) == ["k"]  # the line that has the target
    with pytest.raises(DataError, match=r"Known: # k, z\. If line 1 is a comment, remove it"):
        read(write("# k, z\nk,y\n" + GOOD), "x")


@pytest.mark.parametrize(
    ("content", "numbers", "names", "line"),
    [
        ("# made by X\na\n1\n2\n", ("a",), ["a"], 2),
        ("# made by X\n# in March\n\na\n1\n2\n", ("a",), ["a"], 4),
        ("#a\n1\n2\n", ("#a",), ["#a"], 1),
        ("# made by X\n#a\n1\n2\n", ("#a",), ["#a"], 2),
        ("#b,a\n1,1\n2,2\n", ("a",), ["#b", "a"], 1),
        ("# made by X\n# b,a\nb,a\n1,1\n2,2\n", ("b", "a"), ["b", "a"], 3),
        ("# made by X\nb\n1\n2\n", ("a",), ["b"], 2),
        ("# b,a\nc,d\n1,1\n2,2\n", ("x",), ["# b", "a"], 1),
    ],
)
def test_the_header_is_told_from_comments_by_its_names(
    content: str, numbers: tuple[str, ...], names: list[str], line: int, write: Any
) -> None:
    path = write(content)
    file = CsvFile.open(path, ",", numbers=NumberFormat(".", [""]), wanted=numbers)
    assert (file.header, file.first_line) == (names, line + 1)
    if names == list(numbers):
        table = csv(path, "y", rows_only=True, trained_columns=TrainedColumns(numbers, (), ()))
        np.testing.assert_array_equal(table.columns[names[0]], [1, 2])


@pytest.mark.parametrize(
    ("cell", "signs", "decimal"),
    [
        ("{}%", "'%'", "."),
        ("{}.5 %", "'%'", "."),
        ("$1,{}", "'$' and ','", "."),
        ("1 {}", "a space", "."),
        ("1\u202f{}", "a space", "."),
        ("1_{}", "'_'", "."),
        ("1'{}.5", '"\'"', "."),
        ("{},5 kg", "'kg'", ","),
        ("-{} m/s²", "'m/s²'", "."),
        ("EUR {}", "'EUR'", "."),
        ("A{}", None, "."),
        ("{} Main Street", None, "."),
    ],
)
def test_numbers_with_units_are_told_as_that(write: Any, cell: str, signs: str | None, decimal: Any) -> None:
    cells = [cell.format(100 + k) for k in range(40)]
    column = write("a;y\n" + rows(lambda k: f"{cells[k]};{k}", 40))
    target = write("a;y\n" + rows(lambda k: f"{k};{cells[k]}", 40), "target.csv")
    options: Any = {"separator": ";", "decimal": decimal}
    if signs is None:
        with pytest.raises(
            DataError, match="text column 'a' of .* has 40 different values in 40 rows: ids or free text"
        ):
            read(column, **options)
        with pytest.raises(DataError, match="'y' of .* has 40 classes in 40 rows. For numbers: data.task=regression"):
            read(target, **options)
        return
    said = re.escape(f"40 rows: numbers with {signs}? Received: {cells[0]!r}. Remove such signs, with data=csv by ")
    said += r".?data\.(strip|thousands)=.*"
    with pytest.raises(DataError, match=rf"^data.path: .*{said}, or leave the column out with data.exclude=\[a\]\.$"):
        read(column, **options)
    with pytest.raises(DataError, match=rf"^data.target: 'y' of .* has 40 classes in {said}\.$"):
        read(target, **options)
    said = (
        f":2, column 'y': not a number. Received: {cells[0]!r} (40 such cells, 0 numbers). It looks like a number with"
    )
    with pytest.raises(DataError, match=re.escape(f"{said} {signs}; remove such signs with ")):
        read(target, **options, task="regression")


def test_an_error_names_the_cell_that_is_wrong(write: Any) -> None:
    """The line is right after blank lines, and after cells with line breaks."""
    path = write('\n# x\n"a\nb",y\n' + GOOD + '\n"1\n\n",1\nx,1\n')
    with pytest.raises(DataError, match=r"rows\.csv:21, column 'a\\nb': not a number\. Received: 'x'"):
        read(path)


def test_a_file_of_one_column_keeps_its_empty_lines(write: Any) -> None:
    table = csv(write("a\n1\n\n3\n\n5\n"), "y", rows_only=True)
    np.testing.assert_array_equal(table.columns["a"], [1, np.nan, 3, np.nan, 5])
    assert table.find(2, "a") == (f"{table.source}:4", "3")
    assert csv(write("\na\r\nu\r\n\r\nv"), "y", rows_only=True).columns["a"].tolist() == ["u", "", "v"]
    assert csv(write('a\n""\n1\n'), "y", rows_only=True).columns["a"].tolist()[1] == 1.0


def test_columns_that_are_left_out_need_no_name(write: Any) -> None:
    path = write(",a,a,b,y,\n" + rows(lambda k: f"{k},1,2,{k},{k}.5,"))
    assert list(read(path, columns=["b"]).columns) == ["b"]
    assert list(read(path, exclude=["", "a"]).columns) == ["b"]
    with pytest.raises(DataError, match=r"""column 1 of the header has no name.*"data\.exclude=\[''\]" """.strip()):
        read(path)
    with pytest.raises(DataError, match="two columns have the same name. Received: 'a'"):
        read(path, exclude=[""])


@pytest.mark.parametrize(
    ("decimal", "cells", "message"),
    [
        (
            ",",
            ["1.201"],
            r"Received: '1\.201'\. .*separates thousands: 'data\.thousands=\"\.\"'\. "
            r".*a comma \(1,201\), or 'data\.decimal=\"\.\"",
        ),
        (",", ["900,5", "1.201"], r":3, column 'a': numbers with a point\. Received: '1\.201'"),
        (",", ["1,5", "2.5"], r":3, column 'a': numbers with a point\. Received: '2\.5'"),
        (",", ["1.100,50"], r"separates thousands: 'data\.thousands=\"\.\"'\.$"),
        (
            ".",
            ["1,234"],
            r"separates thousands: 'data\.thousands=\",\"'\. If it is the decimal sign: 'data\.decimal=\",\"",
        ),
        (".", ["1,234", "12,5"], r"Received: '1,234'\. If it is the decimal sign: 'data\.decimal=\",\""),
        (".", ["1,234,567", "1"], r":2, .*Received: '1,234,567'.*data\.thousands=\",\"'\.$"),
        (".", ["1,234.5"], r"data\.thousands=\",\"'\.$"),
        (".", [".", "1", "2", "3"], r"not a number\. Received: '\.'.*no value: 'data\.missing=\[\"\.\"\]"),
    ],
)
@pytest.mark.parametrize("is_target", [True, False])
def test_numbers_that_can_be_read_in_two_ways(
    write: Any, decimal: Any, cells: Any, message: Any, is_target: Any
) -> None:
    names = "y;a" if is_target else "a;y"
    path = write(names + "\n" + rows(lambda k: f"{cells[k % len(cells)]};{k}", 16))
    with pytest.raises(DataError, match=message.replace("'a'", "'[ay]'")):
        read(path, separator=";", decimal=decimal)


def test_texts_with_points_stay_texts(write: Any) -> None:
    path = write("a;y\n" + rows(lambda k: f"{'1.2.3' if k % 2 else '01.02.2024'};{k}"))
    assert read(path, separator=";", decimal=",").columns["a"][0] == "01.02.2024"


@pytest.mark.parametrize("cell", ["?", "NA", "nan", "None", "-", "", " null ", "x9"])
def test_missing_is_the_same_in_numbers_and_targets(write: Any, cell: Any, caplog: Any) -> None:
    options: dict[str, Any] = {"missing": ["x9"]} if cell == "x9" else {}
    for label in ("no", "1.5"):
        path = write("a,y\n" + rows(lambda k, label=label: f"{k},{cell if k == 3 else label if k % 2 else k % 4}"))
        found = {"task": "classification"} if label == "no" else {}
        with pytest.raises(
            DataError, match=rf":5, column 'y': the target is empty\. Received: '{re.escape(cell.strip())}'"
        ):
            read(path, **options, **found)
        table = read(path, missing_target="drop", **options, **found)
        assert len(table.target) == 11
        assert table.columns["a"].tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
        assert table.find(3) == (f"{path}:6", "")  # the row after the one that is left out
        assert "1 of 12 rows have no target and are left out" in caplog.text
    path = write("y,a\n" + rows(lambda k: f"{k},{cell if k == 3 else k}"))
    assert np.flatnonzero(np.isnan(read(path, **options).columns["a"])).tolist() == [3]


def test_missing_in_a_text_column(write: Any, caplog: Any) -> None:
    """A category may be spelt as in another column a missing value is: it is one, with a warning."""
    path = write("a,y\n" + rows(lambda k: f"{('None', 'good', '?', '')[k % 4]},{k}"))
    assert read(path).columns["a"].tolist()[:4] == ["None", "good", "?", ""]
    assert "column 'a'" in caplog.text
    assert "'None', '?' is a category here" in caplog.text
    assert read(path, missing=["None", "?"]).columns["a"].tolist()[:4] == ["", "good", "", ""]
    path = write("a,y\n" + rows(lambda k: f"{k},{('None', 'mild')[k % 2]}"))
    assert read(path, missing=None).target.tolist()[:2] == ["None", "mild"]


def test_advice_to_leave_columns_out_names_all_of_them_and_keeps_those_left_out(write: Any) -> None:
    lines = rows(lambda k: f"a{k},{date(2024, 1, 1) + timedelta(k):%d.%m.%Y},b{k},,{k},{k}", 40)
    path = write(f"id,day,code,empty,n,y\n{lines}")
    said = (
        f"text column 'day' of {path} has 40 different values in 40 rows: dates, or other texts? And "
        f"text column 'code' of {path} has 40 different values in 40 rows: ids or free text? Read dates with "
        """'data.kinds={day: {name: date, format: "%d.%m.%Y"}}'. Leave them out with """
        "data.exclude=[id,day,code], or read their words: 'data.text={day: tokens, code: tokens}'."
    )
    with pytest.raises(DataError, match=f"^data.path: {re.escape(said)}$"):
        read(path, exclude=["id"])
    with pytest.raises(
        DataError, match=r"'empty' of .* is empty\. Leave it out with data\.exclude=\[id,day,code,empty\]"
    ):
        read(path, exclude=["id", "day", "code"])


def test_every_row_without_a_target_is_an_error(write: Any) -> None:
    with pytest.raises(DataError, match="single class. Received: no class. 12 rows have no target"):
        read(write("a,y\n" + rows(lambda k: f"{k},?")), missing_target="drop", task="classification")
    with pytest.raises(DataError, match="Received: 'mild'. 6 rows have no target; if .* a class: data.missing=null"):
        read(write("a,y\n" + rows(lambda k: f"{k},{('None', 'mild')[k % 2]}")))


@pytest.mark.parametrize(
    "dates",
    [
        ["31.1.2024", "1.2.24"],
        ["01/31/2024", "02/01/2024"],
        ["2024/01/31 12:30", "2024-01-31T12:30:01Z"],
        ["31 Jan 2024", "1-Feb-24"],
        ["January 31, 2024", ""],
        ["2024-01"],
    ],
)
def test_dates_are_warned_of(write: Any, caplog: Any, dates: Any) -> None:
    assert are_dates(dates)
    read(write("day,y\n" + rows(lambda k: f'"{dates[k % len(dates)]}",{k}')))
    assert "column 'day'" in caplog.text
    assert "dates are read as categories" in caplog.text


@pytest.mark.parametrize(
    ("dates", "format"),
    [
        (["31.12.2024", ""], "%d.%m.%Y"),
        (["12/31/2024", "1/2/2024"], "%m/%d/%Y"),
        (["31/12/2024"], "%d/%m/%Y"),
        (["31 Jan 2024", "1 february 2024"], "%d %b %Y"),
        (["12/31/2024 11:30 PM"], "%m/%d/%Y %I:%M %p"),
    ],
)
def test_the_advice_for_dates_has_their_format(dates: list[str], format: str) -> None:
    assert date_option("day", dates) == f"""'data.kinds={{day: {{name: date, format: "{format}"}}}}'"""


def test_other_texts_are_no_dates() -> None:
    assert not are_dates(["1.2.3", "1.10.2"])
    assert not are_dates(["march", "may"])
    assert not are_dates(["2024", "2025", ""])
    assert not are_dates(["2024-01-31", "soon"])
    assert not are_dates([""])


def test_datasets_import_no_tensorflow() -> None:
    code = (
        "import sys, tfrun.components.datasets.csv, tfrun.components.datasets.embedded, tfrun.components.datasets.npz\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


TRAINED = TrainedColumns(("n",), ("code",), targets=(("0", "1"),), weight="w")


def test_rows_for_a_trained_run_are_read_as_in_training(write: Any) -> None:
    path = write("more,code,n,w,y\nfree text,007,,1,1\n,,NA,0.5,1\n,12.0,,2,1\n")
    table = csv(path, "y", trained_columns=TRAINED)  # 3 rows, one class, an empty column, digits as text
    assert list(table.columns) == ["code", "n", "w"]
    assert table.columns["code"].tolist() == ["007", "", "12.0"]
    assert np.isnan(table.columns["n"]).all() and table.columns["w"].tolist() == [1, 0.5, 2]
    assert (table.task, table.target.tolist()) == ("classification", ["1", "1", "1"])
    rows_only = csv(path, "y", columns=["n", "code"], rows_only=True, trained_columns=TRAINED)
    assert list(rows_only.columns)[:2] == ["n", "code"]  # in the order of the run's own table


@pytest.mark.parametrize(
    ("content", "target", "message"),
    [
        ("code,n,y\na,1,0\nb,big,1\n", "y", ":3, column 'n': not a number. Received: 'big'"),
        ("code,n,y\na,1,0\nb,inf,1\n", "y", ":3, column 'n': not"),
        ("code,n,y\na,1,\n", "y", ":2, column 'y': the target is empty"),
        ("code,y\na,1\n", "y", "data.path: the run learnt from a column that isn.t in .* Received: 'n'"),
        ("code,n,z\na,1,1\n", "y", "data.target: no such column in .* Received: 'y'"),
        ("code,n,y\n", "y", "has a header but no rows; at least 1 is needed"),
        ("code,n,y\na,1,1\n", "n", "data.target: the run learnt from this column. Received: 'n'"),
        ("code,n,y,z\na,1,1,1\n", ["y", "z"], r"data.target: the run has 1 targets. Received: \['y', 'z'\]"),
    ],
)
def test_rows_that_no_trained_run_can_use(content: str, target: Any, message: str, write: Any) -> None:
    with pytest.raises(DataError, match=message):
        read(write(content), target, trained_columns=TRAINED)


def test_arrays_for_a_trained_run(tmp_path: Any) -> None:
    np.savez(tmp_path / "few.npz", x=np.zeros((3, 2)), y=np.ones(3), none=np.zeros((0, 2)))
    path = str(tmp_path / "few.npz")
    table = npz(path, trained_columns=TrainedColumns((), (), targets=(("0", "1"),)))
    assert (table.task, table.target.tolist()) == ("classification", ["1", "1", "1"])
    assert npz(path, trained_columns=TrainedColumns((), (), targets=(None,))).target.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(DataError, match="has 0 rows; at least 1 are needed"):
        npz(path, x="none", rows_only=True)


def test_arrays_of_an_npz_file_as_columns(tmp_path: Any) -> None:
    images = np.arange(24, dtype=np.uint8).reshape(12, 2)
    columns = {
        "n": np.where(np.arange(12) == 3, np.nan, np.arange(12)),
        "whole": np.arange(12, dtype=">i4"),
        "flag": np.arange(12) % 2 == 0,
        "town": np.array(["Bonn", "", "Ulm"] * 4),
        "image": images,
    }
    path = str(tmp_path / "rows.npz")
    np.savez(path, **columns, y=np.arange(12.0)[:, None], kind=np.arange(12) % 3)
    table = check_table(npz(path, list(columns)), "npz")
    np.testing.assert_array_equal(table.columns["n"], columns["n"])
    assert (table.columns["whole"].dtype, table.columns["whole"][5]) == (np.float64, 5)
    assert table.columns["flag"][:2].tolist() == ["true", "false"]
    assert table.columns["town"][:3].tolist() == ["Bonn", "", "Ulm"]
    assert isinstance(table.columns["image"], StoredArray)
    np.testing.assert_array_equal(table.columns["image"][:], images)
    assert (table.task, table.target.tolist()) == ("regression", list(range(12)))
    table = npz(path, ["town", "n"], "kind", exclude=["n"])
    assert (table.task, list(table.columns), table.target[:3].tolist()) == ("classification", ["town"], ["0", "1", "2"])
    assert npz(path, ["whole"], text_columns=["whole"]).columns["whole"][:2].tolist() == ["0", "1"]
    trained = TrainedColumns(numbers=("n",), texts=("town",), targets=(None,), arrays=("image",))
    further = npz(path, ["image", "town", "n"], rows_only=True, trained_columns=trained)
    assert list(further.columns) == ["image", "town", "n"]


@pytest.mark.parametrize(
    ("x", "says"),
    [
        ([], "data.x: must name at least one array"),
        (["n", "no"], "data.x: no such array in .*Received: 'no'"),
        (
            ["n", "short"],
            r"data.x: numbers or texts are needed, with a row for each of 'n', \(12,\). Received: 'short'",
        ),
        (["n", "complex"], "Received: 'complex', complex128"),
        (["large"], "rows.npz: row 0, column 'large': float64 lacks the digits of whole numbers beyond"),
        (["n", "infinite"], "rows.npz: row 11, column 'infinite': not finite"),
        (["n", "ids"], "has 26 different values"),
    ],
)
def test_arrays_that_can_not_be_columns(x: Any, says: str, tmp_path: Any) -> None:
    num_rows = 26 if "ids" in x else 12
    n = np.arange(num_rows, dtype="float64")
    arrays: dict[str, Any] = {"n": n, "short": n[:-1], "complex": n + 1j, "large": np.full(num_rows, 2**60), "y": n}
    arrays |= {"infinite": np.where(n == 11, np.inf, n), "ids": np.array([f"q{k}" for k in range(num_rows)])}
    path = str(tmp_path / "rows.npz")
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=says):
        npz(path, x)


@pytest.mark.parametrize(
    ("options", "cells", "numbers"),
    [
        ({"thousands": ","}, ["1,234,567.5", "-1,000", "12", "NA"], [1234567.5, -1000, 12, np.nan]),
        ({"thousands": ".", "decimal": ","}, ["1.234,5", "+1.000", "0,25"], [1234.5, 1000, 0.25]),
        ({"thousands": " "}, ["1 234", "1\u00a0234\u202f567"], [1234, 1234567]),
        ({"thousands": "'"}, ["1'234'567"], [1234567]),
        ({"thousands": "_"}, ["1_000"], [1000]),
        ({"strip": ["%"]}, ["12.5%", "3 %", "-%"], [12.5, 3, np.nan]),
        ({"strip": ["$", "USD"], "thousands": ","}, ["$1,200.50", "-$3", "USD 7", "8USD"], [1200.5, -3, 7, 8]),
        ({"strip": ["EUR", "E"]}, ["5EUR", "5E"], [5, 5]),
    ],
)
def test_signs_in_numbers_are_removed_by_an_option(
    options: dict[str, Any], cells: list[str], numbers: list[float], write: Any
) -> None:
    path = write("a;y\n" + rows(lambda k: f"{cells[k % len(cells)]};{cells[0]}"))
    table = read(path, separator=";", **options)
    np.testing.assert_array_equal(table.columns["a"][: len(cells)], numbers)
    assert table.target[0] == numbers[0]  # in a target too


@pytest.mark.parametrize("cell", ["1,23", "1,2345", ",123", "12,34,567", "1,234,", "1.234,567"])
def test_thousands_are_groups_of_three_digits(cell: str, write: Any) -> None:
    path = write("a;y\n" + rows(lambda k: f"{cell if k == 3 else k};{k}"))
    with pytest.raises(DataError, match=f"rows.csv:5, column 'a': .*Received: '{cell}'"):
        read(path, separator=";", thousands=",")


def test_signs_are_removed_from_numbers_alone(write: Any) -> None:
    path = write("unit,sign,y\n" + rows(lambda k: f"{('5%', 'few', 'many')[k % 3]},%,{k}"))
    table = read(path, strip=["%"])
    assert table.columns["unit"][:3].tolist() == ["5%", "few", "many"]
    assert table.columns["sign"].tolist() == ["%"] * 12  # nothing is left, but that is no missing number
    with pytest.raises(ConfigError, match=r"^data.thousands: must be another character than data.decimal"):
        read(path, thousands=".")
    with pytest.raises(ConfigError, match=r"^data.strip: must be texts to remove. Received: \['%', ''\]"):
        read(path, strip=["%", ""])


def test_the_kinds_of_the_config_decide_how_cells_are_read(write: Any, caplog: Any) -> None:
    def line(k: int) -> str:
        return f"{('NA', 'yes', 'no')[k % 3]},{('NA', f'{k + 1}.1.2024')[k % 2]},id{k},2024-01-{k % 22 + 10},{k}"

    lines = rows(line, 30)
    path = write(f"member,day,id,iso,y\n{lines}")
    kinds = {"member": "boolean", "day": "date", "id": "category"}
    encodings: Any = {"day": {"name": "date"}, "id": {"name": "category"}}
    table = read(path, column_kinds=kinds, text_encodings=encodings)
    assert table.columns["member"][:3].tolist() == ["", "yes", "no"]  # NA is neither
    assert table.columns["day"][:2].tolist() == ["", "2.1.2024"]
    assert table.columns["iso"][0] == "2024-01-10" and "iso" not in caplog.text
    trained = TrainedColumns((), ("member", "day", "id", "iso"), targets=(None,))
    further = read(path, column_kinds=kinds | {"iso": "date"}, trained_columns=trained)
    assert further.columns["member"][:3].tolist() == ["", "yes", "no"]
    with pytest.raises(DataError, match=r"rows.csv:2, column 'id': not a number. Received: 'id0'"):
        read(path, column_kinds=kinds | {"id": "number"}, text_encodings={"day": {"name": "date"}})
