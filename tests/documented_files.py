"""Makes the files that README.md and the pages of docs/ name, small, as their readers would bring them along."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROWS = 80
TEXT_FILES: dict[str, dict[str, Sequence[object]]] = {
    "houses.csv": {
        "district": ["north", "south"],
        "rooms": [1, 2, 3, 4],
        "price": [100, 200.5, 150],
        "sold": ["yes", "no"],
    },
    "new_houses.csv": {"id": range(9), "district": ["north", "south"], "rooms": [1, 2, 3]},
    "sold_houses.csv": {"district": ["north", "south"], "rooms": [1, 2, 3], "price": [100, 160], "sold": ["yes", "no"]},
    "reviews.csv": {"review": ["very good", "not so good"], "town": ["Bonn", "Ulm"], "stars": [1, 2, 3, 4, 5]},
    "visits.csv": {
        "day": [f"{day:02}.03.2024" for day in range(1, 9)],
        "size": ["low", "mid", "high"],
        "zip": [1067, 99974],
        "member": ["yes", "no"],
        "age": [20, 30, ""],
        "patient": range(12),
        "paid": [1.5, 2.25],
        "cost": [10, 20, 30],
    },
    "sales.csv": {"day": [f"2024-03-{day:02}" for day in range(1, 29)], "shop": ["a", "b"], "amount": [1, 2, 3]},
    "clicks.csv": {"user": ["a", "b", "c"], "item": ["x", "y"], "clicked": ["no", "no", "no", "yes"]},
    "views.csv": {"user": ["a", "b", "c"], "country": ["de", "fr"], "film": ["x", "y"], "seconds": [1, 20, 300]},
    "loans.csv": {"income": range(10), "default": ["no", "no", "no", "yes"]},
    "passengers.csv": {"month": [f"{1950 + k // 12}-{k % 12 + 1:02}" for k in range(150)], "passengers": range(150)},
    "train.csv": {"age": range(30), "price": [1.5, 2.5], "churn": ["yes", "no"]},
    "rows.csv": {"rooms": [1, 2, 3, 4], "town": ["Bonn", "Ulm"], "price": [100, 200.5, 150]},
    "labels.csv": {"file": [f"photos/{kind}/{k}.png" for k in range(10) for kind in ("cat", "dog")], "label": [0, 1]},
}
TEXT_FILES |= dict.fromkeys(("val.csv", "test.csv"), TEXT_FILES["train.csv"])
CLICKS: dict[str, Sequence[Any]] = {
    "user": [2**60 + 1, 7, 2**60 + 3],
    "item": [1, 2, 3, 4, 5],
    "genres": [[1, 2], [], [3]],
    "price": [1.5, 2.0],
    "click": [0, 1, 1],
}


def make_files(folder: Path, text: str, *, housing_csv: Path) -> None:
    """Writes the files whose names stand in the text of a page into an empty folder.

    Args:
        folder: where the page's commands run.
        text: the page.
        housing_csv: California housing, which `housing.csv` is if the file is there.
    """
    for name, columns in TEXT_FILES.items():
        if name in text:
            (folder / name).write_text(_csv(columns))
    for name, make in MAKERS.items():
        if name in text:
            make(folder / name)
    if "california.csv" in text and housing_csv.is_file():
        (folder / "housing.csv").symlink_to(housing_csv)


def _cycled(columns: dict[str, Sequence[Any]]) -> dict[str, list[Any]]:
    num_rows = max(ROWS, *(len(cells) for cells in columns.values()))
    return {name: list(itertools.islice(itertools.cycle(cells), num_rows)) for name, cells in columns.items()}


def _csv(columns: dict[str, Sequence[object]]) -> str:
    cells = _cycled(columns)
    return "\n".join([",".join(cells), *(",".join(map(str, row)) for row in zip(*cells.values(), strict=True))]) + "\n"


def _csv_folder(folder: Path) -> None:
    import gzip

    folder.mkdir()
    for year in (2023, 2024):
        (folder / f"{year}.csv.gz").write_bytes(gzip.compress(_csv(TEXT_FILES["rows.csv"]).encode()))


def _parquet(columns: dict[str, Sequence[Any]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(_cycled(columns)), path)


def _npz_columns(path: Path) -> None:
    import numpy as np

    columns = _cycled(TEXT_FILES["rows.csv"])
    rooms, town, price = (np.array(columns[name]) for name in ("rooms", "town", "price"))
    np.savez(path, rooms=rooms, town=town, price=price)


def _npz_images(path: Path) -> None:
    import numpy as np

    np.savez(path, x=np.random.default_rng(0).uniform(0, 1, (ROWS, 8, 8)).astype("float32"), y=np.arange(ROWS) % 2)


def _photos(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (10, 2, 20, 24, 3)).astype("uint8")
    for k, kind in itertools.product(range(10), range(2)):
        path = folder / ("cat", "dog")[kind] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[k, kind]).save(path)


def _records(path: Path, features: Sequence[dict[str, Any]]) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for values in features:
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                if isinstance(value, bytes)
                else tf.train.Feature(int64_list=tf.train.Int64List(value=value))
                if isinstance(value[0], int)
                else tf.train.Feature(float_list=tf.train.FloatList(value=value))
                for name, value in values.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


def _digits(path: Path) -> None:
    _records(path, [{"image": bytes(range(196)) * 4, "label": [k % 2]} for k in range(ROWS)])


def _numbers(path: Path) -> None:
    _records(path, [{"rooms": [float(k % 4)], "price": [100.0 + k % 3]} for k in range(ROWS)])


def _encoded_photos(path: Path) -> None:
    import io

    import numpy as np
    from PIL import Image

    with io.BytesIO() as file:
        Image.fromarray(np.full((20, 24, 3), 90, "uint8")).save(file, "PNG")
        png = file.getvalue()
    _records(path, [{"image/encoded": png, "image/class/label": [k % 2]} for k in range(20)])


def _sales(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE sales (id INTEGER, shop TEXT, price REAL)")
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?)", [(k, "ab"[k % 2], k % 7) for k in range(ROWS)])
    connection.close()


def _mobilenet(path: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, include_top=False, weights=None).save_weights(path)


def _network(path: Path) -> None:
    import keras

    inputs = keras.Input((96, 96, 3))
    x = keras.layers.Conv2D(2, 3, strides=8)(inputs)
    keras.Model(inputs, keras.layers.Flatten(name="embedding")(x)).save(path)


MAKERS = {
    "rows/": _csv_folder,
    "rows.parquet": lambda path: _parquet(TEXT_FILES["rows.csv"], path),
    "clicks.parquet": lambda path: _parquet(CLICKS, path),
    "rows.npz": _npz_columns,
    "images.npz": _npz_images,
    "photos": _photos,
    "train-*.tfrecord": lambda path: _numbers(path.with_name("train-0.tfrecord")),
    "digits.tfrecord": _digits,
    "photos.tfrecord": _encoded_photos,
    "sales.db": _sales,
    "mobilenet.weights.h5": _mobilenet,
    "mine.keras": _network,
}
