"""What pruning keeps of a run's checkpoints, and what it frees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.errors import CheckpointError, ResourceError
from tfrun.files import checkpoints, failpoints, retention
from tfrun.files.retention import Pruning
from tfrun.files.runs import RunFolder
from tfrun.files.weights import of_run

ROLES = ("model", "optimizer/deep", "average", "best", "position", "algorithm")


def arrays_of(step: int, best_step: int) -> dict[str, np.ndarray]:
    """A state as a run has it; the best weights are twice the others."""
    kernel, bias = np.full((50, 20), step, "float32"), np.full(20, step, "float32")
    return {
        "model/0000": kernel,
        "model/0001": bias,
        "optimizer/deep/0000": kernel + 1,
        "optimizer/deep/0001": bias + 1,
        "average/0000": kernel + 2,
        "best/0000": np.array(0.5, "float32"),
        "best/0001": np.array(best_step, "int64"),
        "best/0002": np.array(0, "int32"),
        "best/0003": kernel * 2,
        "best/0004": bias * 2,
        "algorithm/0000": np.array(7, "float32"),
        "position/0000": np.array(step, "int64"),
    }


def save(folder: RunFolder, step: int, best_step: int | None = None) -> Path:
    arrays = arrays_of(step, step if best_step is None else best_step)
    paths = {"model/0000": "dense/kernel", "model/0001": "dense/bias"}
    slots = {
        slot: {"path": paths.get(slot, "x"), "shape": list(value.shape), "dtype": value.dtype.name}
        for slot, value in arrays.items()
    }
    extra = {"fingerprint": "abc", "journals": {}}
    return checkpoints.save(folder.checkpoints, step, slots=slots, arrays=arrays, extra=extra, keep=9)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run with checkpoints of three steps."""
    folder = RunFolder(tmp_path)
    for step in (10, 20, 30):
        save(folder, step)
    folder.write_run({"status": "completed", "step": 30})
    folder.preprocessing_json.write_text("{}")
    return folder


def planned(folder: RunFolder, keep: str) -> Pruning:
    pruning = retention.plan(folder, keep)
    assert pruning is not None
    return pruning


def pruned(folder: RunFolder, keep: str) -> Pruning:
    pruning = planned(folder, keep)
    retention.prune(pruning)
    return pruning


def num_bytes(folder: RunFolder) -> int:
    return sum(file.stat().st_size for file in folder.checkpoints.rglob("*") if file.is_file())


def newest(folder: RunFolder) -> checkpoints.Checkpoint:
    saved = checkpoints.newest(folder.checkpoints)
    assert saved is not None
    return saved


def names(folder: RunFolder) -> list[str]:
    return sorted(str(file.relative_to(folder.checkpoints)) for file in folder.checkpoints.rglob("*"))


def test_last_keeps_the_newest_checkpoint_as_it_is(folder: RunFolder) -> None:
    before, state = num_bytes(folder), (folder.checkpoints / "step-000000030" / "state.npz").read_bytes()
    pruning = pruned(folder, "last")
    assert names(folder) == ["step-000000030", "step-000000030/manifest.json", "step-000000030/state.npz"]
    assert (folder.checkpoints / "step-000000030" / "state.npz").read_bytes() == state
    assert pruning.kept == "state of step 30" and before - num_bytes(folder) == pruning.freed_bytes
    assert not planned(folder, "last").has_work
    retention.refuse_pruned(folder)


def test_best_keeps_the_best_weights_and_frees_what_it_said(folder: RunFolder) -> None:
    before = num_bytes(folder)
    pruning = pruned(folder, "best")
    assert names(folder) == ["step-000000030", "step-000000030/manifest.json", "step-000000030/weights.npz"]
    assert pruning.kept == "best weights, step 30" and before - num_bytes(folder) == pruning.freed_bytes
    saved = newest(folder)
    expected = {slot: a for slot, a in arrays_of(30, 30).items() if slot.startswith(("best", "position", "algorithm"))}
    assert saved.arrays.keys() == saved.slots.keys() == expected.keys()
    for slot, array in expected.items():
        np.testing.assert_array_equal(saved.arrays[slot], array)
        assert saved.arrays[slot].dtype == array.dtype
    assert saved.left_out == ("optimizer", "replicas", "model", "average") and saved.extra["fingerprint"] == "abc"


def test_without_a_whole_epoch_the_last_weights_are_the_best(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    save(folder, 3, best_step=0)
    before = num_bytes(folder)
    pruning = pruned(folder, "best")
    assert pruning.kept == "weights of step 3" and before - num_bytes(folder) == pruning.freed_bytes
    saved = newest(folder)
    assert {slot.partition("/")[0] for slot in saved.slots} == {"model", "average", "best", "position", "algorithm"}
    np.testing.assert_array_equal(saved.arrays["model/0001"], np.full(20, 3, "float32"))


def test_again_there_is_nothing_to_free(folder: RunFolder) -> None:
    pruned(folder, "best")
    content = {name: (folder.checkpoints / name).stat().st_mtime_ns for name in names(folder)}
    for keep in ("best", "last"):
        pruning = planned(folder, keep)
        assert not pruning.has_work and pruning.freed_bytes == 0 and pruning.kept == "best weights, step 30"
    assert {name: (folder.checkpoints / name).stat().st_mtime_ns for name in names(folder)} == content


def test_a_run_whose_state_is_gone_is_not_resumed(folder: RunFolder) -> None:
    pruned(folder, "best")
    with pytest.raises(CheckpointError, match=r"its checkpoints were pruned at \d{4}-.*, so it can't be resumed"):
        retention.refuse_pruned(folder)


def test_another_run_can_begin_with_the_weights_that_are_left(folder: RunFolder) -> None:
    before = of_run.read(folder, take="best")
    pruned(folder, "best")
    after = of_run.read(folder, take="best")
    assert [array.names for array in after.arrays] == [array.names for array in before.arrays]
    assert [array.names["path"] for array in after.arrays] == ["dense/kernel", "dense/bias"]
    for one, other in zip(before.arrays, after.arrays, strict=True):
        np.testing.assert_array_equal(one.read(), other.read())
    assert after.facts["step"] == 30 and after.facts["take"] == "best"
    with pytest.raises(CheckpointError, match=r"^init.take: .*only its best weights are left. Received: 'last'"):
        of_run.read(folder, take="last")


def test_a_pin_stays(folder: RunFolder) -> None:
    checkpoints.pin(folder.checkpoints, 30)
    pruned(folder, "best")
    assert "step-000000030/pinned" in names(folder)


@pytest.mark.parametrize("damage", ["state", "size", "manifest"])
def test_nothing_is_removed_beside_a_damaged_checkpoint(damage: str, folder: RunFolder) -> None:
    path = folder.checkpoints / "step-000000030"
    content = bytearray((path / "state.npz").read_bytes())
    if damage == "manifest":
        (path / "manifest.json").write_text("{}")
    elif damage == "size":
        (path / "state.npz").write_bytes(content[:-100])
    else:
        content[400] ^= 1
        (path / "state.npz").write_bytes(content)
    before = names(folder)
    with pytest.raises(CheckpointError, match=r"step-000000030: isn't whole, so nothing is removed"):
        pruned(folder, "best")
    assert names(folder) == before


@pytest.mark.parametrize("link", ["checkpoints", "checkpoints/step-000000010", "checkpoints/step-000000030/state.npz"])
def test_links_are_never_followed(link: str, folder: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "mine"
    (folder.path / link).rename(outside)
    (folder.path / link).symlink_to(outside)
    with pytest.raises(ResourceError, match="it is a link, and tfrun writes through none"):
        pruned(folder, "best")
    assert outside.exists() and (outside.is_file() or any(outside.iterdir()))


def test_a_run_without_checkpoints(tmp_path: Path) -> None:
    assert retention.plan(RunFolder(tmp_path), "best") is None


@pytest.mark.parametrize("number", range(1, 12))
def test_a_full_disk_leaves_a_run_that_can_be_pruned_again(number: int, folder: RunFolder) -> None:
    failpoints.set_failpoint(f"io:{number}=full")
    try:
        pruned(folder, "best")
    except ResourceError as error:
        assert "can't be written: No space left on device" in str(error)  # noqa: PT017
        assert newest(folder).step == 30 and newest(folder).passed_over == []
        np.testing.assert_array_equal(newest(folder).arrays["best/0003"], np.full((50, 20), 60, "float32"))
    else:
        assert number > 8  # there are no more operations
    finally:
        failpoints.set_failpoint("")
    pruned(folder, "best")
    assert names(folder) == ["step-000000030", "step-000000030/manifest.json", "step-000000030/weights.npz"]


def test_old_versions_see_that_the_format_differs(folder: RunFolder) -> None:
    pruned(folder, "best")
    manifest: dict[str, Any] = json.loads((folder.checkpoints / "step-000000030" / "manifest.json").read_text())
    assert list(manifest["files"]) == ["weights.npz"]
