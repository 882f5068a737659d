"""Runs that are killed, or refused by the disk, at every place that matters: what is left, gone on with, is the same.

test_resume.py kills real commands at moments that nobody chose.

Compared with an undisturbed run, bit for bit: every variable, metrics.jsonl, run.json's metrics, TensorBoard's points.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

Run = Callable[..., tuple[int, str]]

# trained for four epochs of eleven steps, saved at every fourth step
RUN = ["trainer.max_epochs=4", "checkpoint.every_steps=4", "trainer.compile=graph", "logger.every_steps=1"]
STREAM = ["data.residency=stream", "trainer.compile=xla"]
DIGITS = ["data=digits", "data.limit_rows=352", "metric=accuracy", "loss=sparse_categorical_crossentropy"]
RECIPES: dict[str, list[str]] = {
    "wide_deep": ["model.dropout=0.2", "optimizer.groups.deep.schedule=cosine"],
    "normalized": ["model=mlp", "model.batch_normalization=true", "optimizer=adamw", "trainer.ema_decay=0.9"],
    "scaled": [
        "model=mlp", "model.batch_normalization=true", "trainer.precision=mixed_float16", "trainer.microbatches=2",
        "optimizer=rmsprop",
    ],
    "streamed": [*STREAM, "model.dropout=0.1", "optimizer.groups.wide.every=2", "early_stopping.patience=3"],
    "gan": ["experiment=gan_digits", "data.limit_rows=352", "optimizer.groups.generator.every=3"],
    "convolved": [*DIGITS, "model=cnn", "model.filters=[4]", "optimizer=nadam"],
    "augmented": [
        *DIGITS, "model=mlp", "model.hidden_units=[8]", "trainer.microbatches=2",
        "data.augment=[random_flip,{name: random_rotate, degrees: 10},{name: mixup, alpha: 1.0}]",
    ],
}  # fmt: skip
# one after another: the run is killed at the first place, and the resumed runs at the others
PLACES: dict[str, list[str]] = {
    "wide_deep": ["block:3", "events.sync:4", "old_checkpoint.rename:2"],
    "normalized": ["epoch:2", "state.npz.write:2", "old_checkpoint.removal:3"],
    "scaled": ["run.json.write:3", "manifest.json.sync:3"],
    "streamed": ["run.json.done:3", "checkpoint.sync_folder:2"],
    "gan": ["metrics.jsonl.write:2", "checkpoint.rename:2"],
    "convolved": ["events.write:3", "checkpoints.sync_folder:3"],
    "augmented": ["block:3", "checkpoint.rename:3"],
}


# code that a process runs first
SMALL_FILES = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))"
CLOCK_GOES_BACK = """
import datetime, itertools
from tfrun.engine.recording import tensorboard
from tfrun.files import runs

hours = itertools.count()

class Backwards(datetime.datetime):  # by an hour whenever it is read
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) - datetime.timedelta(hours=next(hours))

vars(runs)["datetime"] = Backwards
tensorboard.TensorBoard.__init__.__defaults__ = (lambda: Backwards.now().timestamp(),)
"""


@pytest.fixture(scope="module")
def run(warm_server: Callable[[str], Any]) -> Run:
    """Runs the command in a process of its own, and returns its exit code and all that it printed."""

    def call(folder: Path, *words: str, failpoint: str = "", before: str = "") -> tuple[int, str]:
        env = {**os.environ, "TFRUN_FAILPOINT": failpoint}
        done = warm_server("tfrun").process(words, cwd=folder, env=env, before=before).completed(120)
        return done.returncode, done.stdout + done.stderr

    return call


@pytest.fixture(scope="module")
def undisturbed(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns a recipe's run folder; each is trained once."""
    folders: dict[str, Path] = {}

    def trained(recipe: str) -> Path:
        if recipe not in folders:
            folders[recipe] = tmp_path_factory.mktemp("whole")
            code, said = run(folders[recipe], *RECIPES[recipe], *RUN, "name=run")
            assert code == 0, said
        return the_run(folders[recipe])

    return trained


def the_run(folder: Path) -> Path:
    (path,) = folder.glob("outputs/run/*")
    return path


def run_json_of(path: Path) -> dict[str, Any]:
    everything = json.loads((path / "run.json").read_text())
    return {key: everything[key] for key in ("status", "step", "epoch", "metrics", "best", "groups", "data")}


def state(path: Path) -> dict[str, bytes]:
    with np.load(max(path.glob("checkpoints/step-*")) / "state.npz") as arrays:
        return {slot: arrays[slot].tobytes() for slot in arrays.files}


def points(path: Path) -> dict[str, list[tuple[int, float]]]:
    curves = {}
    for folder in (path / "tensorboard").iterdir():
        accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        accumulator.Reload()
        for tag in accumulator.Tags()["scalars"]:
            curves[f"{folder.name}/{tag}"] = [(event.step, event.value) for event in accumulator.Scalars(tag)]
    return curves


def assert_same(path: Path, other: Path) -> None:
    assert run_json_of(path) == run_json_of(other)
    assert (path / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    first, second = state(path), state(other)
    assert first.keys() == second.keys()
    assert [slot for slot in first if first[slot] != second[slot]] == []
    assert points(path) == points(other)
    names = [item.name for item in (path / "checkpoints").iterdir()]
    assert all(name.startswith("step-") for name in names) and len(names) == 2  # nothing half-made is left


def restart(run: Run, folder: Path, recipe: str, *, failpoint: str = "") -> tuple[int, str]:
    """Resumes what was left, or starts anew where nothing can be resumed yet; returns exit code and output."""
    left = list(folder.glob("outputs/run/*"))
    if left and (left[0] / "config.yaml").is_file():
        return run(folder, "resume", str(left[0]), failpoint=failpoint)
    for path in left:
        path.rmdir() if not list(path.iterdir()) else path.rename(folder / "begun")
    return run(folder, *RECIPES[recipe], *RUN, "name=run", failpoint=failpoint)


def go_on(run: Run, folder: Path, recipe: str) -> Path:
    """Trains what was left to its end."""
    code, said = restart(run, folder, recipe)
    assert code == 0, said
    return the_run(folder)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_killed_at_places(recipe: str, run: Run, undisturbed: Callable[[str], Path], tmp_path: Path) -> None:
    for place in PLACES[recipe]:
        code, said = restart(run, tmp_path, recipe, failpoint=place)
        assert code == -signal.SIGKILL, (place, said)
    assert_same(go_on(run, tmp_path, recipe), undisturbed(recipe))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["scaled", "streamed"])
def test_killed_again_and_again(recipe: str, run: Run, undisturbed: Callable[[str], Path], tmp_path: Path) -> None:
    """At operations of the disk that a seed picks, until a resumed run comes to its end."""
    dice = random.Random(recipe)
    words: tuple[str, ...] = (*RECIPES[recipe], *RUN, "name=run")
    for _ in range(3):
        code, said = run(tmp_path, *words, failpoint=f"io:{dice.randrange(16, 60)}")
        if code == 0:
            break
        assert code == -signal.SIGKILL, said
        words = ("resume", str(the_run(tmp_path)))
    assert_same(go_on(run, tmp_path, recipe), undisturbed(recipe))


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", [*(f"io:{n}=full" for n in (14, 52, 89)), "io:40=full+", "io:70=full+"])
def test_a_full_disk(failpoint: str, run: Run, undisturbed: Callable[[str], Path], tmp_path: Path) -> None:
    """Training goes on where it can; else it ends with exit code 5, and can be resumed once there is room."""
    recipe = "wide_deep"
    code, said = run(tmp_path, *RECIPES[recipe], *RUN, "name=run", failpoint=failpoint)
    assert code in (0, 5), said
    assert "Traceback" not in said
    if failpoint.endswith("+"):
        assert code == 5 and "No space left on device" in said
    for path in tmp_path.glob("outputs/run/*/checkpoints/step-*"):
        assert {item.name for item in path.iterdir()} == {"state.npz", "manifest.json"}
    path = the_run(tmp_path) if code == 0 else go_on(run, tmp_path, recipe)
    assert_same(path, undisturbed(recipe))


@pytest.mark.slow
def test_files_may_not_grow(run: Run, undisturbed: Callable[[str], Path], tmp_path: Path) -> None:
    """By the system's own limit, too little for a checkpoint: the curves stay, and a resume starts over."""
    recipe = "wide_deep"
    code, said = run(tmp_path, *RECIPES[recipe], *RUN, "name=run", before=SMALL_FILES)
    assert code == 5 and "File too large" in said and "Traceback" not in said
    assert run_json_of(the_run(tmp_path))["status"] == "failed"
    lines = (the_run(tmp_path) / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 4 and (undisturbed(recipe) / "metrics.jsonl").read_text().splitlines()[:4] == lines
    assert_same(go_on(run, tmp_path, recipe), undisturbed(recipe))


@pytest.mark.slow
def test_the_clock_goes_backwards(run: Run, undisturbed: Callable[[str], Path], tmp_path: Path) -> None:
    recipe = "wide_deep"
    words = [*RECIPES[recipe], *RUN, "checkpoint.every_seconds=0.01", "name=run"]
    code, said = run(tmp_path, *words, failpoint="epoch:2", before=CLOCK_GOES_BACK)
    assert code == -signal.SIGKILL, said
    code, said = run(tmp_path, "resume", str(the_run(tmp_path)), before=CLOCK_GOES_BACK)
    assert code == 0, said
    assert_same(the_run(tmp_path), undisturbed(recipe))
