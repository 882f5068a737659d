"""Files of weights: those that Keras writes, and those that somebody has crafted."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tfrun.errors import CheckpointError, ConfigError
from tfrun.files.weights import hdf5, npz
from tfrun.files.weights.found import kind_of
from tfrun.files.weights.opened import open_source
from tfrun.files.weights.source import BY_LAYER, BY_PATH, BY_PLACE, StoredArray

KERNEL = np.arange(6, dtype="float32").reshape(2, 3)


def no_saved_model(path: Path) -> list[StoredArray]:
    raise AssertionError(path)


def read(path: Path) -> dict[str, StoredArray]:
    source = open_source(str(path), take="best", read_saved_model=no_saved_model)
    return {array.name: array for array in source.arrays}


def write_h5(path: Path, change: Any = None) -> Path:
    """Writes what Keras 3 writes for one dense layer, and lets `change` do something to the group of its arrays."""
    with h5py.File(path, "w") as file:
        layer = file.create_group("layers/dense")
        layer.attrs["name"] = "hidden"
        arrays = layer.create_group("vars")
        arrays["0"] = KERNEL
        if change is not None:
            change(arrays)
    return path


def test_the_three_files_that_keras_writes(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="hidden")], name="net")
    kernel, bias = model.get_weights()
    for name in ("model.weights.h5", "model.keras"):
        (model.save_weights if "weights" in name else model.save)(tmp_path / name)
        arrays = read(tmp_path / name)
        assert {key: array.shape for key, array in arrays.items()} == {
            "layers/dense/vars/0": (2, 3),
            "layers/dense/vars/1": (3,),
        }
        first = arrays["layers/dense/vars/0"]
        assert first.names == {BY_PLACE: "layers/dense/vars/0", BY_LAYER: "hidden/vars/0"}
        np.testing.assert_array_equal(first.read(), kernel)
    model.save(tmp_path / "old.h5")
    arrays = read(tmp_path / "old.h5")
    assert [array.names[BY_LAYER] for array in arrays.values()] == ["hidden/kernel", "hidden/bias"]
    assert all(BY_PATH in array.names for array in arrays.values())
    np.testing.assert_array_equal(next(iter(arrays.values())).read(), kernel)


def test_weights_in_several_files(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(64)])
    model.save_weights(tmp_path / "model.weights.json", max_shard_size=2e-5)  # GB
    assert len(list(tmp_path.glob("*.h5"))) > 1
    arrays = read(tmp_path / "model.weights.json")
    np.testing.assert_array_equal(arrays["layers/dense_1/vars/0"].read(), model.layers[1].kernel)


def test_bfloat16_is_kept(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, dtype="bfloat16")])
    model.save_weights(tmp_path / "model.weights.h5")
    stored = read(tmp_path / "model.weights.h5")["layers/dense/vars/0"]
    assert stored.dtype == "bfloat16"
    np.testing.assert_array_equal(stored.read().astype("float32"), model.layers[0].kernel.numpy().astype("float32"))


def test_an_npz_file_of_paths(tmp_path: Path) -> None:
    arrays_to_save: dict[str, Any] = {"dense/kernel": KERNEL}
    np.savez(tmp_path / "weights.npz", **arrays_to_save)
    arrays = read(tmp_path / "weights.npz")
    assert arrays["dense/kernel"].shape == (2, 3)
    np.testing.assert_array_equal(arrays["dense/kernel"].read(), KERNEL)


def link_outside(arrays: h5py.Group) -> None:
    arrays["1"] = h5py.ExternalLink("/etc/passwd", "/")


def link_inside(arrays: h5py.Group) -> None:
    arrays["1"] = h5py.SoftLink("/layers/dense/vars/0")


def external_numbers(arrays: h5py.Group) -> None:
    arrays.create_dataset("1", shape=(4,), dtype="u1", external=[("/etc/passwd", 0, 4)])


def virtual(arrays: h5py.Group) -> None:
    layout = h5py.VirtualLayout(shape=(2, 3), dtype="f4")
    layout[:] = h5py.VirtualSource("other.h5", "secret", shape=(2, 3))
    arrays.create_virtual_dataset("1", layout)


def texts(arrays: h5py.Group) -> None:
    arrays["1"] = ["a", "b"]


def cycle(arrays: h5py.Group) -> None:
    arrays["again"] = arrays.file["layers"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (link_outside, "vars/1 is a link"),
        (link_inside, "vars/1 is a link"),
        (external_numbers, "are in another file"),
        (virtual, "are in another file"),
        (texts, "are no numbers"),
        (cycle, "hold each other"),
    ],
)
def test_crafted_files_are_refused_before_anything_is_read(tmp_path: Path, change: Any, message: str) -> None:
    path = write_h5(tmp_path / "crafted.weights.h5", change)
    with pytest.raises(CheckpointError, match=message) as error:
        hdf5.of_file(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_claimed_size_takes_no_memory(tmp_path: Path) -> None:
    def claim(arrays: h5py.Group) -> None:
        arrays.create_dataset("1", shape=(10**6, 10**6), dtype="f8", chunks=(1000, 1000))

    (kernel, huge) = hdf5.of_file(write_h5(tmp_path / "huge.weights.h5", claim))
    assert (kernel.shape, huge.shape) == ((2, 3), (10**6, 10**6))


@pytest.mark.parametrize("keep", [0, 100, 1000])
def test_truncated_files(tmp_path: Path, keep: int) -> None:
    path = write_h5(tmp_path / "cut.weights.h5")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="can't be read as a file of Keras weights"):
        hdf5.of_file(path)


def test_keras_archives_that_unpack_to_anything(tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(10**7))
    with pytest.raises(CheckpointError, match="unpack to 10,000,000 bytes"):
        hdf5.of_keras(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(CheckpointError, match=r"has no model\.weights\.h5"):
        hdf5.of_keras(path)


def test_an_index_names_only_files_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.json"
    path.write_text(json.dumps({"weight_map": {"/layers/dense/vars": ["../elsewhere.weights.h5"]}}))
    with pytest.raises(CheckpointError, match="another folder"):
        hdf5.of_parts(path)


def test_objects_in_an_npz_file_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(CheckpointError, match="are no numbers"):
        npz.of_file(tmp_path / "objects.npz")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.keras", r"no such file or folder.* Did you mean 'nine\.keras'\?"),
        ("rows.csv", "not a file of weights"),
        (".", "neither a run's nor a SavedModel's"),
    ],
)
def test_paths_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("nine.keras", "rows.csv"):
        (tmp_path / file).write_text("")
    with pytest.raises(ConfigError, match=message):
        kind_of(name)
