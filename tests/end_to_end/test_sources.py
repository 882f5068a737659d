"""The same rows in files of different formats train the same bits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from tfrun.files import checkpoints

Run = Callable[..., tuple[int, str, str]]
NUM_ROWS = 96
TRAIN = ["model=mlp", "trainer.max_epochs=1", "trainer.compile=graph", "logger=null", "data.batch_size=16"]


def columns() -> dict[str, Any]:
    """Returns rows whose numbers float32 can hold, since a TFRecord has no others; its features are ordered by name."""
    generator = np.random.default_rng(0)
    numbers = generator.integers(-64, 64, NUM_ROWS) / 8
    town = generator.choice(["Bonn", "Ulm", ""], NUM_ROWS)
    return {
        "age": np.where(np.arange(NUM_ROWS) % 13 == 0, np.nan, numbers),
        "day": np.array([f"2024-01-{k % 9 + 1:02}" for k in range(NUM_ROWS)]),
        "flag": generator.random(NUM_ROWS) < 0.5,
        "size": generator.integers(0, 100, NUM_ROWS),
        "town": town,
        "y": numbers * 2 + (town == "Ulm"),
    }


def write_csv(rows: dict[str, Any]) -> list[str]:
    def cell(value: Any) -> str:
        return str(value).lower() if isinstance(value, bool) else "" if value != value else str(value)

    lines = [",".join(map(cell, row)) for row in zip(*(column.tolist() for column in rows.values()), strict=True)]
    Path("rows.csv").write_text("\n".join([",".join(rows), *lines]) + "\n")
    return ["data=csv", "data.path=rows.csv", "data.target=y"]


def write_parquet(rows: dict[str, Any]) -> list[str]:
    arrays = {name: pa.array(column, from_pandas=True) for name, column in rows.items()}
    arrays["day"] = arrays["day"].cast(pa.date32())
    arrays["town"] = arrays["town"].dictionary_encode()
    Path("shards").mkdir()
    table = pa.table(arrays)
    pq.write_table(table.slice(0, 50), "shards/0.parquet", row_group_size=20)
    pq.write_table(table.slice(50), "shards/1.parquet")
    return ["data=parquet", "data.path=shards", "data.target=y"]


def write_npz(rows: dict[str, Any]) -> list[str]:
    np.savez("rows.npz", **rows)
    return ["data=npz", "data.path=rows.npz", f"data.x=[{','.join(name for name in rows if name != 'y')}]"]


def write_tfrecord(rows: dict[str, Any]) -> list[str]:
    def feature(value: Any) -> Any:
        if isinstance(value, str):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value)]))
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value] if value == value else []))

    with tf.io.TFRecordWriter("rows.tfrecord") as file:
        for row in zip(*(column.tolist() for column in rows.values()), strict=True):
            features = {name: feature(value) for name, value in zip(rows, row, strict=True)}
            file.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    dtypes = {"day": "string", "flag": "bool", "size": "int64", "town": "string"}
    described = ",".join(f"{name}:{{dtype:{dtypes.get(name, 'float32')}}}" for name in rows)
    return ["data=tfrecord", "data.path=rows.tfrecord", "data.target=y", f"data.features={{{described}}}"]


def trained(folder: Path) -> tuple[str, list[dict[str, Any]], dict[str, np.ndarray]]:
    """Returns the fingerprint of a run's data, its metrics without times, and its last state."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    values = [{key: value for key, value in line.items() if key == "step" or "/" in key} for line in lines]
    checkpoint = checkpoints.newest(folder / "checkpoints")
    assert checkpoint is not None
    run = json.loads((folder / "run.json").read_text())
    return run["data"]["fingerprint"], values, dict(np.load(checkpoint.path / "state.npz"))


@pytest.mark.slow
def test_the_same_rows_train_the_same_bits(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From all formats, and from memory as from the store on disk."""
    rows = columns()
    results = []
    sources = {write.__name__: write(rows) for write in (write_csv, write_parquet, write_npz, write_tfrecord)}
    for name, overrides in sources.items():
        for memory in ("", "1000") if name in ("write_csv", "write_tfrecord") else ("",):
            monkeypatch.setenv("TFRUN_DATA_MEMORY", memory)
            code, _, error = run(*overrides, *TRAIN, f"name={name}{memory}")
            assert code == 0 and bool(memory) == ("converting: done" in error), error
            (folder,) = (tmp_path / "outputs" / f"{name}{memory}").iterdir()
            assert json.loads((folder / "run.json").read_text())["engine"]["residency"] == (
                "stream" if memory else "device"
            )
            results.append(trained(folder))
    fingerprint, values, state = results[0]
    assert any(key.startswith("val/") for key in values[0]) and state
    for other_fingerprint, other_values, other_state in results[1:]:
        assert (other_fingerprint, other_values) == (fingerprint, values)
        assert other_state.keys() == state.keys()
        for name, array in state.items():
            np.testing.assert_array_equal(other_state[name], array)


@pytest.mark.slow
def test_a_run_killed_during_conversion_starts_anew(
    warm_tfrun: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a file, before the folder has its name, and later, when it is resumed from the store."""
    monkeypatch.chdir(tmp_path)
    words = [*write_parquet(columns()), *TRAIN, "checkpoint.every_steps=2"]
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "TFRUN_DATA_MEMORY": "1000"}
    stores = tmp_path / "cache" / "tfrun" / "data"
    for failpoint in ("store.write:5", "store.written", "store.rename"):
        assert warm_tfrun(*words, env={**env, "TFRUN_FAILPOINT": failpoint}).returncode == -9
        assert [path.suffix for path in stores.iterdir() if path.is_dir()] == [".partial"]
    full = warm_tfrun(*words, env={**env, "TFRUN_FAILPOINT": "store.write:5=full+"})
    assert full.returncode == 5 and "can't be written: No space left on device" in full.stderr
    assert [path for path in stores.iterdir() if path.is_dir()] == []
    killed = warm_tfrun(*words, env={**env, "TFRUN_FAILPOINT": "manifest.json.sync:4"})  # after two of stores and one
    assert killed.returncode == -9
    (folder,) = (tmp_path / "outputs" / "default").iterdir()
    resumed = warm_tfrun("resume", str(folder), env=env)
    assert resumed.returncode == 0 and "converting" not in resumed.stderr and "encoding" not in resumed.stderr
    whole = warm_tfrun(*words, "name=whole", env={"XDG_CACHE_HOME": str(tmp_path / "other")})
    assert whole.returncode == 0
    (other,) = (tmp_path / "outputs" / "whole").iterdir()
    (fingerprint, values, state), (other_fingerprint, other_values, other_state) = trained(folder), trained(other)
    assert (fingerprint, values) == (other_fingerprint, other_values)
    for name, array in state.items():
        np.testing.assert_array_equal(other_state[name], array)
