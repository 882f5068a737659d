"""`data=tfrecord`: features described and guessed, checksums, errors that name the file, the record and the feature."""

from __future__ import annotations

import gzip
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfrun.components.datasets.images import images
from tfrun.components.datasets.tfrecord import tfrecord
from tfrun.components.datasets.tfrecord_file import read_records
from tfrun.config.column_kinds import ImageKind
from tfrun.data.arrays import StoredArray
from tfrun.data.bags import Bags
from tfrun.data.fingerprint import fingerprint
from tfrun.data.integer_texts import IntegerTexts
from tfrun.data.store import KEY_PATTERN, Stores
from tfrun.data.stored_texts import StoredTexts
from tfrun.data.table import Table, TrainedColumns
from tfrun.data.table_checks import check_table
from tfrun.errors import DataError

N = 12


def feature(value: Any) -> Any:
    """Returns a feature of bytes, texts, integers or floats."""
    values = value if isinstance(value, list) else [value]
    if all(isinstance(item, str | bytes) for item in values):
        items = [item.encode() if isinstance(item, str) else item for item in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=items))
    if all(isinstance(item, int) for item in values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def write(path: Path, examples: list[dict[str, Any]], compression: str = "") -> str:
    """Writes examples with TensorFlow's own writer; a value of None leaves the feature out."""
    with tf.io.TFRecordWriter(str(path), compression) as file:
        for example in examples:
            features = {name: feature(value) for name, value in example.items() if value is not None}
            file.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return str(path)


def rows(**columns: Any) -> list[dict[str, Any]]:
    """Returns examples with a target y; each column is a function of the row's number."""
    return [{**{name: make(k) for name, make in columns.items()}, "y": k * 1.5} for k in range(N)]


def read(path: Any, target: Any = "y", **options: Any) -> Table:
    return check_table(tfrecord(path, target, **options), "tfrecord")


def test_features_are_guessed(tmp_path: Path) -> None:
    examples = rows(
        number=lambda k: None if k == 3 else k / 4,
        whole=lambda k: k - 5,
        town=lambda k: "Ulm" if k % 2 else None,
        array=lambda k: [k / 2, 1.0, 2.0],
        counts=lambda k: [k, 2],
    )
    table = read(write(tmp_path / "x.tfrecord", examples))
    assert list(table.columns) == ["array", "counts", "number", "town", "whole"]  # examples have no order
    np.testing.assert_array_equal(table.columns["number"][:5], [0, 0.25, 0.5, np.nan, 1])
    np.testing.assert_array_equal(table.columns["whole"], np.arange(N) - 5.0)
    assert table.columns["town"][:2].tolist() == ["", "Ulm"]
    assert (table.columns["array"].dtype, table.columns["array"][3].tolist()) == (np.float32, [1.5, 1, 2])
    assert (table.columns["counts"].dtype, table.columns["counts"][3].tolist()) == (np.int64, [3, 2])
    np.testing.assert_array_equal(table.target, np.arange(N) * 1.5)


def test_features_are_described(tmp_path: Path) -> None:
    image = np.arange(N * 6, dtype=np.uint8).reshape(N, 2, 3)
    examples = rows(
        image=lambda k: image[k].tobytes(),
        exact=lambda k: np.float64(k / 3).tobytes(),
        flag=lambda k: None if k == 2 else k % 2,
        matrix=lambda k: [1.0, 2.0, 3.0, float(k)],
        small=lambda k: [k, -k],
        more=lambda k: [1.0] * k,
    )
    features = {
        "image": {"dtype": "uint8", "shape": [2, 3]},
        "exact": {"dtype": "float64"},
        "flag": "bool",
        "matrix": {"dtype": "float32", "shape": [2, 2]},
        "small": {"dtype": "int8", "shape": [2]},
        "y": {"dtype": "float32"},
    }
    table = read(write(tmp_path / "x.tfrecord", examples), features=features)
    assert list(table.columns) == ["image", "exact", "flag", "matrix", "small"]
    np.testing.assert_array_equal(table.columns["image"], image)
    np.testing.assert_array_equal(table.columns["exact"], np.arange(N) / 3)
    assert table.columns["flag"][:3].tolist() == ["false", "true", ""]
    assert table.columns["matrix"][5].tolist() == [[1, 2], [3, 5]]
    assert (table.columns["small"].dtype, table.columns["small"][5].tolist()) == (np.int8, [5, -5])


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_files_follow_each_other(compression: str, tmp_path: Path) -> None:
    examples = rows(x=lambda k: float(k))
    for name, part in (("b", examples[7:]), ("a", examples[:7])):
        write(tmp_path / f"{name}.tfrecord", part, compression)
    for path in (tmp_path, tmp_path / "*.tfrecord"):
        table = read(str(path))
        np.testing.assert_array_equal(table.columns["x"], range(N))
    assert table.find(6)[0].endswith("a.tfrecord: record 6")
    assert table.find(8)[0].endswith("b.tfrecord: record 1")


def test_rows_are_found_in_files_that_a_store_has_spared_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFRUN_DATA_MEMORY", "100")
    examples = rows(x=lambda k: float(k), town=lambda k: "ab"[k % 2])
    for name, part in (("b", examples[7:]), ("a", examples[:7])):
        write(tmp_path / f"{name}.tfrecord", part)
    for _ in range(2):
        table = read(str(tmp_path / "*.tfrecord"), stores=Stores(tmp_path / "stores"))
        np.testing.assert_array_equal(table.columns["x"][:], range(N))
        assert isinstance(table.columns["town"], StoredTexts)
        assert table.find(8)[0].endswith("b.tfrecord: record 1")
        assert table.find(6)[0].endswith("a.tfrecord: record 6")


def test_tasks_are_those_of_other_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord", rows(x=lambda k: float(k), bit=lambda k: k % 2, kind=lambda k: "ab"[k % 2]))
    assert read(path, "bit").target[:2].tolist() == ["0", "1"]
    assert read(path, "kind").task == "classification"
    assert read(path, "y", text_columns=["bit"]).columns["bit"][:2].tolist() == ["0", "1"]
    trained = TrainedColumns(numbers=("x",), texts=("kind",), targets=(None,))
    assert list(read(path, "gone", rows_only=True, trained_columns=trained).columns) == ["kind", "x"]


@pytest.mark.parametrize(
    ("make", "shape", "says"),
    [
        (lambda k: [1.0] * (k + 1), None, "column 'x': can't be guessed: its lists have 1 to 12 values."),
        (lambda k: b"\xff\xd8", None, "column 'x': can't be guessed: it holds bytes that are no text. Describe"),
        (lambda k: ["a", "b"], None, "column 'x': can't be guessed: it holds lists of texts"),
        (lambda k: 1.0 if k else 1, None, "column 'x': can't be guessed: its values are of several types"),
        (lambda k: [1.0] * (3 if k == 7 else 2), [2], "record 7, column 'x': 2 values are needed for the shape [2]."),
        (lambda k: None if k == 7 else [1.0, 2.0], [2], "record 7, column 'x': arrays can have no missing values"),
        (lambda k: b"abc", [2], "record 0, column 'x': 8 bytes of float32 are needed. Received: 3 bytes"),
        (lambda k: [1.0, 2.0], [], "record 0, column 'x': a single number is needed. Received: 2 numbers"),
        (lambda k: 2**60, None, "record 0, column 'x': float64 lacks the digits of whole numbers"),
        (lambda k: float("inf") if k == 7 else 1.0, None, "record 7, column 'x': not finite. Received: 'inf'"),
    ],
)
def test_features_that_can_not_be_used(make: Any, shape: list[int] | None, says: str, tmp_path: Path) -> None:
    described = {"x": {"dtype": "float32", "shape": shape}, "y": {"dtype": "float32"}}
    path = write(tmp_path / "x.tfrecord", rows(x=make))
    with pytest.raises(DataError, match=re.escape(says)) as error:
        read(path, features=None if shape is None else described)
    assert "x.tfrecord" in str(error.value)


def encoded(k: int, *, side: int = 8) -> bytes:
    """Returns an image of a colour that depends on `k`, as PNG or JPEG."""
    file = io.BytesIO()
    pixels = np.full((side, side + 4, 3), (k * 20, 255 - k * 20, 60), np.uint8)
    Image.fromarray(pixels).save(file, "PNG" if k % 2 else "JPEG")
    return file.getvalue()


@pytest.mark.parametrize("described", [None, {"image/encoded": "image", "y": "float32"}])
def test_encoded_images_are_those_of_files(described: Any, tmp_path: Path) -> None:
    for k in range(N):
        folder = tmp_path / "files" / str(k % 2)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{k:02}.{'png' if k % 2 else 'jpg'}").write_bytes(encoded(k))
    options: dict[str, Any] = {"size": (5, 6), "resize": "crop"}
    expected = np.asarray(images(str(tmp_path / "files"), **options).columns["image"])  # even numbers first
    path = write(tmp_path / "x.tfrecord", rows(**{"image/encoded": encoded}))
    table = read(path, features=described, **options)
    assert table.kinds == {"image/encoded": ImageKind()} and table.columns["image/encoded"].dtype == np.uint8
    np.testing.assert_array_equal(table.columns["image/encoded"][[*range(0, N, 2), *range(1, N, 2)]], expected)
    assert read(path, features=described, channels=1).columns["image/encoded"].shape == (N, 64, 64, 1)


def test_encoded_images_are_decoded_once_into_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfrun.components.datasets.tfrecord.BATCH_BYTES", 1000)  # some images at a time
    path = write(tmp_path / "x.tfrecord", rows(image=encoded))
    expected = read(path, size=(4, 4))
    monkeypatch.setenv("TFRUN_DATA_MEMORY", "100")
    stores = Stores(tmp_path / "stores")
    for _ in range(2):
        stored = read(path, size=(4, 4), stores=stores)
        assert isinstance(stored.columns["image"], StoredArray) and stored.columns["image"].dtype == np.uint8
        assert fingerprint(stored) == fingerprint(expected)
        assert len(list(stores.folder.glob(KEY_PATTERN))) == 1
    read(path, size=(2, 2), stores=stores)
    assert len(list(stores.folder.glob(KEY_PATTERN))) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (encoded(0)[:40], "record 7, column 'x': can't be read: "),
        (b"nothing of an image", "record 7, column 'x': isn't an image of the formats JPEG, PNG, GIF, BMP, WEBP. Rec"),
        (None, "record 7, column 'x': an encoded image is needed. Received: none"),
        ([encoded(0), encoded(1)], "record 7, column 'x': an encoded image is needed. Received: 2 bytes values"),
        (3, "record 7, column 'x': an encoded image is needed. Received: 1 int64 values"),
    ],
)
def test_an_encoded_image_that_can_not_be_used_is_named(content: Any, says: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord", rows(x=lambda k: content if k == 7 else encoded(k)))
    with pytest.raises(DataError, match=re.escape(f"x.tfrecord: {says}")):
        read(path, features={"x": {"dtype": "image"}, "y": {"dtype": "float32"}})


@pytest.mark.parametrize("content", [b"", b"oh", b"\x89PN", None])
def test_a_broken_image_among_the_guessed_records_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord", rows(x=lambda k: content if k == 7 else encoded(k)))
    with pytest.raises(
        DataError, match=r"x\.tfrecord: record 7, column 'x': (isn't an image|an encoded image is need)"
    ):
        read(path)


def test_a_broken_image_beyond_the_guessed_records_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfrun.components.datasets.tfrecord.GUESSED_RECORDS", 5)
    path = write(tmp_path / "x.tfrecord", rows(x=lambda k: b"oh" if k == 7 else encoded(k)))
    with pytest.raises(DataError, match=r"x\.tfrecord: record 7, column 'x': isn't an image .*begin with b'oh'\. Desc"):
        read(path)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"dtype": "flaot32"}, "data.features.x.dtype: unknown type. Received: 'flaot32'."),
        ({"dtype": "float32", "size": [2]}, "data.features.x: unknown key. Received: 'size'. Known: dtype, shape"),
        ({"dtype": "float32", "shape": [0]}, "data.features.x.shape: must be a list of sizes"),
        ({"dtype": "float32", "shape": 8}, "data.features.x.shape: must be a list of sizes"),
        ({"dtype": "string", "shape": [2]}, "data.features.x.shape: texts can't be arrays"),
        ([], "data.features.x: must be a mapping"),
        ({"dtype": "image", "shape": [8, 8, 3]}, "data.features.x.shape: data.size and data.channels set that of im"),
    ],
)
def test_descriptions_that_are_wrong(value: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(says)):
        read(write(tmp_path / "x.tfrecord", rows(x=lambda k: 1.0)), features={"x": value})


def test_numbers_of_another_type_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord", rows(x=lambda k: 300 if k == 4 else k))
    for dtype, says in (("uint8", "record 4, column 'x': no uint8. Received: 300"), ("string", "a text is needed")):
        with pytest.raises(DataError, match=re.escape(says)):
            read(path, features={"x": {"dtype": dtype}, "y": {"dtype": "float32"}})
    path = write(tmp_path / "x.tfrecord", rows(x=lambda k: [1.5] if k == 4 else [1, 2]))
    with pytest.raises(DataError, match="record 4, column 'x': 2 values are needed"):
        read(path, features={"x": {"dtype": "int8", "shape": [2]}, "y": {"dtype": "float32"}})


def records(path: str) -> list[tuple[int, int]]:
    """Returns the offset and the size of each record, by the lengths in the file."""
    content, offset, result = Path(path).read_bytes(), 0, []
    while offset < len(content):
        size = 16 + int.from_bytes(content[offset : offset + 8], "little")
        result.append((offset, size))
        offset += size
    return result


@pytest.mark.parametrize("is_gzip", [False, True])
def test_a_corrupt_record_is_named(is_gzip: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord", rows(x=lambda k: float(k)))
    whole = Path(path).read_bytes()
    offset, size = records(path)[5]
    unpacked = " of the unpacked file" if is_gzip else ""
    where = f"x.tfrecord: record 5, which begins at byte {offset}{unpacked}, is "
    for place, says in (
        (offset, "corrupt, or the file is no TFRecord file: the checksum of its length is wrong"),
        (offset + 9, "corrupt, or the file is no TFRecord file: the checksum of its length is wrong"),
        (offset + 20, "corrupt: the checksum of its content is wrong"),
        (offset + size - 1, "corrupt: the checksum of its content is wrong"),
    ):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        Path(path).write_bytes(gzip.compress(bytes(damaged)) if is_gzip else damaged)
        with pytest.raises(DataError, match=re.escape(where + says)):
            read(path)
    for end in (offset + 5, offset + 15, offset + size - 2):
        Path(path).write_bytes(gzip.compress(whole[:end]) if is_gzip else whole[:end])
        with pytest.raises(DataError, match=re.escape(f"{where}cut off")):
            read(path)


def test_a_torn_gzip_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord", rows(x=lambda k: float(k)), "GZIP")
    Path(path).write_bytes(Path(path).read_bytes()[:-20])
    with pytest.raises(DataError, match=r"x\.tfrecord: record \d+, which begins at byte \d+ of the unpacked file"):
        list(read_records(path))


def test_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n" * 10)
    with pytest.raises(DataError, match=r"rows\.csv: record 0, .* or the file is no TFRecord file"):
        read(str(tmp_path / "rows.csv"))
    with tf.io.TFRecordWriter(str(tmp_path / "x.tfrecord")) as file:
        file.write(b"\xff\xff no message")
    with pytest.raises(DataError, match=r"x\.tfrecord: record 0 is no tf.train.Example"):
        read(str(tmp_path / "x.tfrecord"))


BAGS = {name: {"name": "tokens"} for name in ("ids", "tags", "note")} | {"user": {"name": "hash"}}


@pytest.mark.parametrize("features", [None, {"ids": {"dtype": "int32"}, "user": "int64", "y": "float32"}])
def test_features_of_any_number_of_ids_are_bags(features: Any, tmp_path: Path) -> None:
    examples = rows(
        ids=lambda k: [None, [], [7], [2**31 - 1, 7, 0]][k % 4],
        tags=lambda k: [["Science Fiction", "a"], ["b"]][k % 2],
        note=lambda k: "good day",
        user=lambda k: 2**60 + k,
    )
    table = read(write(tmp_path / "x.tfrecord", examples), text_encodings=BAGS, features=features)
    assert isinstance(table.columns["ids"], Bags) and isinstance(table.columns["user"], IntegerTexts)
    assert table.columns["ids"][:4].tolist() == ["", "", "7", "2147483647 7 0"]
    assert table.columns["user"][:2].tolist() == [str(2**60), str(2**60 + 1)]
    if features is None:
        assert table.columns["tags"][:2].tolist() == ["Science\u00a0Fiction a", "b"]
        assert table.columns["note"][:1].tolist() == ["good day"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([1.5], "record 11, column 'ids': whole numbers are needed. Received: a float"),
        ([1, 2**31], "record 11, column 'ids': no int32. Received: 2147483648"),
    ],
)
def test_ids_that_are_none(value: Any, says: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord", rows(ids=lambda k: value if k == 11 else [1, 2]))
    with pytest.raises(DataError, match=re.escape(says)):
        read(path, text_encodings=BAGS, features={"ids": "int32", "y": "float32"})


def test_no_tensorflow_is_imported() -> None:
    code = (
        "import sys, tfrun.components.datasets.tfrecord as t, tfrun.components.datasets.tf_example as e\n"
        "e.example_class()\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
