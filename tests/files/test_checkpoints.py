from __future__ import annotations

import hashlib
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training.state import State
from tfrun.errors import CheckpointError, ResourceError
from tfrun.files import checkpoints

EXTRA = {"mode": "graph_loop", "journals": {"metrics.jsonl": 120}}


def make_state(value: float, shape: tuple[int, ...] = (2, 3), dtype: str = "float32") -> State:
    kernel = keras.Variable(np.full(shape, value, dtype), name="kernel")
    return State(
        {
            "model": [kernel, tf.Variable(value, name="bias")],
            "position": [tf.Variable(int(value), dtype=tf.int64)],
            "generator": [tf.Variable([int(value), 7], dtype=tf.uint32)],
            "none": [],
        }
    )


def save(folder: Path, step: int, keep: int = 5, state: State | None = None) -> Path:
    state = state or make_state(step + 0.5)
    return checkpoints.save(folder, step, slots=state.describe(), arrays=state.read(), extra=EXTRA, keep=keep)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def values(state: State) -> dict[str, Any]:
    return {slot: array.tolist() for slot, array in state.read().items()}


def test_round_trip(tmp_path: Path) -> None:
    assert save(tmp_path / "checkpoints", 12) == tmp_path / "checkpoints" / "step-000000012"
    found = checkpoints.newest(tmp_path / "checkpoints")
    assert found is not None
    assert (found.step, found.extra, found.passed_over) == (12, EXTRA, [])
    fresh = make_state(0.0)
    fresh.restore(found)
    assert values(fresh) == {
        "model/0000": [[12.5] * 3] * 2,
        "model/0001": 12.5,
        "position/0000": 12,
        "generator/0000": [12, 7],
    }
    assert {slot: array.dtype.name for slot, array in fresh.read().items()} == {
        "model/0000": "float32",
        "model/0001": "float32",
        "position/0000": "int64",
        "generator/0000": "uint32",
    }


def test_a_checkpoint_is_plain_files(tmp_path: Path) -> None:
    path = save(tmp_path, 3)
    assert names(path) == ["manifest.json", "state.npz"]
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["slots"]["model/0000"] == {"path": "kernel", "shape": [2, 3], "dtype": "float32"}
    assert manifest["files"]["state.npz"]["bytes"] == (path / "state.npz").stat().st_size
    with np.load(path / "state.npz", allow_pickle=False) as archive:
        assert archive["model/0001"] == 3.5


def test_odd_values_survive(tmp_path: Path) -> None:
    odd = np.array([np.nan, np.inf, -0.0, 1e-42, 0.1], np.float32)
    save(tmp_path, 1, state=State({"odd": [tf.Variable(odd)]}))
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.arrays["odd/0000"].tobytes() == odd.tobytes()


def test_there_may_be_none(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path) is None
    assert checkpoints.newest(tmp_path / "never made") is None


def test_the_newest_stay(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20):
        save(tmp_path, step, keep=2)
    assert names(tmp_path) == ["step-000000015", "step-000000020"]
    save(tmp_path, 20, keep=1)  # the same step again
    assert names(tmp_path) == ["step-000000015", "step-000000020"]


def test_steps_of_ten_digits_are_newer(tmp_path: Path) -> None:
    for step in (999_999_999, 1_000_000_000):
        save(tmp_path, step, keep=1)
    assert names(tmp_path) == ["step-1000000000"]


def truncate(path: Path) -> None:
    os.truncate(path / "state.npz", (path / "state.npz").stat().st_size - 1)


def flip_a_bit(path: Path) -> None:
    content = bytearray((path / "state.npz").read_bytes())
    content[len(content) // 2] ^= 4
    (path / "state.npz").write_bytes(content)


def lose_the_state(path: Path) -> None:
    (path / "state.npz").unlink()


def lose_the_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


def empty_the_manifest(path: Path) -> None:
    (path / "manifest.json").write_bytes(b"")


def garble_the_manifest(path: Path) -> None:
    (path / "manifest.json").write_bytes(b"\xff\x00{]")


def cut_the_manifest(path: Path) -> None:
    os.truncate(path / "manifest.json", 100)


def change_the_manifest(path: Path) -> None:
    (path / "manifest.json").write_text("[]")


def lose_a_part_of_the_manifest(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["slots"].popitem()
    (path / "manifest.json").write_text(json.dumps(manifest))


def come_from_the_future(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    future = {key: value for key, value in manifest.items() if key != "sha256"} | {"format": 99}
    digest = hashlib.sha256(json.dumps(future, sort_keys=True).encode()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(future | {"sha256": digest}))


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (truncate, "state.npz is damaged"),
    (flip_a_bit, "state.npz is damaged"),
    (lose_the_state, "No such file"),
    (lose_the_manifest, "No such file"),
    (empty_the_manifest, "Expecting value"),
    (garble_the_manifest, "can't decode"),
    (cut_the_manifest, "line"),
    (change_the_manifest, "an integer"),
    (lose_a_part_of_the_manifest, "manifest.json is damaged"),
    (come_from_the_future, "its format is 99, not 1"),
]


@pytest.mark.parametrize(("damage", "why"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_a_damaged_one_is_passed_over(tmp_path: Path, damage: Callable[[Path], None], why: str) -> None:
    for step in (10, 20):
        save(tmp_path, step)
    damage(tmp_path / "step-000000020")
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step == 10 and found.arrays["model/0001"] == 10.5
    assert len(found.passed_over) == 1
    assert found.passed_over[0].startswith("step-000000020: ") and why in found.passed_over[0]
    damage(tmp_path / "step-000000010")
    with pytest.raises(CheckpointError, match="no checkpoint is whole.*step-000000020: .*step-000000010: "):
        checkpoints.newest(tmp_path)


def test_those_passed_over_make_room(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        save(tmp_path, step)
    for step in (20, 30):
        flip_a_bit(tmp_path / f"step-0000000{step}")
    found = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 10
    checkpoints.remove_newer(found)
    assert names(tmp_path) == ["step-000000010"]
    save(tmp_path, 20, keep=1)  # neither is the damaged one kept, nor does it push this one out
    found = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 20
    assert names(tmp_path) == ["step-000000020"]


def test_sweep_removes_what_killed_writers_left(tmp_path: Path) -> None:
    save(tmp_path, 10)
    for name in (".tmp-000000020-4711", ".del-step-000000005"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.npz").write_bytes(b"half")
    assert checkpoints.newest(tmp_path) is not None
    checkpoints.sweep(tmp_path)
    assert names(tmp_path) == ["step-000000010"]


def test_a_full_disk_leaves_the_older_ones(tmp_path: Path) -> None:
    save(tmp_path, 10, keep=1)
    large = State({"model": [tf.Variable(np.zeros(100_000, np.float32))]})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # a write beyond it fails as on a full disk
    try:
        with pytest.raises(ResourceError, match="checkpoint of step 20 can't be written: File too large"):
            save(tmp_path, 20, state=large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["step-000000010"]
    found = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 10


def test_a_folder_that_can_t_be_made(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(ResourceError, match="step 1 can't be written"):
        save(tmp_path / "checkpoints", 1)


def test_bfloat16_comes_back(tmp_path: Path) -> None:
    state = make_state(1.5, dtype="bfloat16")
    save(tmp_path, 1, state=state)
    found = checkpoints.newest(tmp_path)
    assert found is not None
    fresh = make_state(0.0, dtype="bfloat16")
    fresh.restore(found)
    assert np.asarray(fresh.read()["model/0000"], "float32").tolist() == [[1.5] * 3] * 2


def test_no_flipped_bit_goes_unnoticed(tmp_path: Path) -> None:
    """One bit in each byte of either file: the older checkpoint is used, or the same numbers are read."""
    save(tmp_path, 1)
    newer = save(tmp_path, 2)
    expected = {slot: array.tobytes() for slot, array in make_state(2.5).read().items()}
    for name in ("manifest.json", "state.npz"):
        whole = (newer / name).read_bytes()
        for place in range(len(whole)):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << place % 8
            (newer / name).write_bytes(damaged)
            found = checkpoints.newest(tmp_path)
            assert found is not None
            if found.step == 1:
                assert len(found.passed_over) == 1 and found.passed_over[0].startswith("step-000000002: ")
            else:
                assert {slot: array.tobytes() for slot, array in found.arrays.items()} == expected
        (newer / name).write_bytes(whole)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "3", '{"sha256": 1}', "{" * 5000, '"' + "x" * 9999, "\0" * 100],
    ids=["empty", "open", "list", "null", "number", "bare", "deep", "text", "zeros"],
)
def test_any_manifest_is_read_without_harm(tmp_path: Path, content: str) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 2) / "manifest.json").write_text(content)
    found = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 1 and len(found.passed_over) == 1


def crafted(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a manifest and makes its checksum right again, as someone with a bad purpose would."""
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["sha256"]
    change(manifest)
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m["files"].update({"../../secret": {"bytes": 1, "sha256": ""}}), "names other files than state.npz"),
        (lambda m: m["slots"]["model/0000"].update(shape=[3, 2]), "model/0000 isn't what manifest.json says of it"),
        (lambda m: m["slots"].update(more={"path": "", "shape": [], "dtype": "float32"}), "more is not a file"),
        (lambda m: m.pop("slots"), "manifest.json lacks 'slots'"),
        (lambda m: m.update(format=2), "its format is 2, not 1"),
    ],
)
def test_a_crafted_manifest_is_passed_over(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    save(tmp_path, 1)
    crafted(save(tmp_path, 2), change)
    found = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 1
    assert why in found.passed_over[0]


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    save(tmp_path, 1)
    path = save(tmp_path, 2)

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    arrays: dict[str, Any] = {slot: np.array([Evil()]) for slot in make_state(0).read()}
    np.savez(path / "state.npz", **arrays)
    data = (path / "state.npz").read_bytes()
    own = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    crafted(path, lambda manifest: manifest["files"].update({"state.npz": own}))
    found = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 1
    assert not (tmp_path / "ran").exists()
