"""Runs that are disturbed, in processes of their own, and compared with undisturbed ones, bit for bit.

What is compared: every variable, metrics.jsonl, run.json's metrics, TensorBoard's points.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# trained for four epochs of eleven steps, saved at every fourth step
RUN = ["trainer.max_epochs=4", "checkpoint.every_steps=4", "trainer.compile=graph", "logger.every_steps=1"]
STREAM = ["data.residency=stream", "trainer.compile=xla"]
DIGITS = ["data=digits", "data.limit_rows=352", "metric=accuracy", "loss=sparse_categorical_crossentropy"]
RECIPES: dict[str, list[str]] = {
    "linear": ["model=linear", "optimizer=adam"],
    "large": ["model=mlp", "model.hidden_units=[64]", "optimizer=adam"],  # the state, compared with the other files
    "scaled": [
        "model=mlp", "model.hidden_units=[8]", "model.batch_normalization=true", "trainer.precision=mixed_float16",
        "trainer.microbatches=2", "optimizer=adamw", "trainer.ema_decay=0.9",
    ],
    "streamed": [
        *STREAM, "model.hidden_units=[4]", "model.dropout=0.1", "optimizer.groups.deep.schedule=cosine",
        "optimizer.groups.wide.every=2", "early_stopping.patience=3",
    ],
    "gan": [
        "experiment=gan_digits", "data.limit_rows=352", "optimizer.groups.generator.every=3",
        "algorithm.gradient_penalty=1",
    ],
    "tables": [
        "model=wide_deep", "model.hidden_units=[4]", "data.text={sex: {name: hash, bins: 3000}}", "optimizer=adam",
        "optimizer.rows=lazy",
    ],
    "stages": [  # the lower layers are trained in the second and the third epoch
        "model=mlp", "model.hidden_units=[8, 4]", "model.batch_normalization=true", "model.dropout=0.2",
        "optimizer.groups={all: null, lower: {match: '_1/', name: adam, from_epoch: 1, until_epoch: 3}, "
        "upper: {match: '_2/|output/', name: adam}}",
    ],
    "augmented": [
        *DIGITS, "model=cnn", "model.filters=[4]", "optimizer=nadam",
        "data.augment=[random_flip,{name: random_rotate, degrees: 10},{name: mixup, alpha: 1.0}]",
    ],
}  # fmt: skip


class DisturbedRuns:
    """Trains the recipes, disturbs them, and compares what they leave.

    Args:
        server: returns a server of warm_processes.py.
        new_folder: returns a new folder.
    """

    def __init__(self, server: Callable[[str], Any], new_folder: Callable[[str], Path]):
        self._server = server
        self._new_folder = new_folder
        self._undisturbed: dict[str, Path] = {}

    def call(self, folder: Path, *words: str, failpoint: str = "", before: str = "") -> tuple[int, str]:
        """Runs a command in a process of its own, and returns its exit code and all that it printed."""
        env = {**os.environ, "TFRUN_FAILPOINT": failpoint}
        done = self._server("tfrun").process(words, cwd=folder, env=env, before=before).completed(120)
        return done.returncode, done.stdout + done.stderr

    def train(self, folder: Path, recipe: str, *more: str, **disturbance: str) -> tuple[int, str]:
        """Starts a run; see `call`."""
        return self.call(folder, *RECIPES[recipe], *RUN, *more, "name=run", **disturbance)

    def restart(self, folder: Path, recipe: str, *, failpoint: str = "") -> tuple[int, str]:
        """Resumes what was left, or starts anew if nothing can be resumed yet; see `call`."""
        left = list(folder.glob("outputs/run/*"))
        if left and (left[0] / "config.yaml").is_file():
            return self.call(folder, "resume", str(left[0]), failpoint=failpoint)
        for path in left:
            path.rmdir() if not list(path.iterdir()) else path.rename(folder / "begun")
        return self.train(folder, recipe, failpoint=failpoint)

    def finish(self, folder: Path, recipe: str) -> Path:
        """Trains what was left to its end, and returns the run folder."""
        code, output = self.restart(folder, recipe)
        assert code == 0, output
        return self.path(folder)

    def undisturbed(self, recipe: str) -> Path:
        """Returns the folder of a run that nothing disturbed; each recipe is trained once."""
        if recipe not in self._undisturbed:
            folder = self._new_folder("whole")
            code, output = self.train(folder, recipe)
            assert code == 0, output
            self._undisturbed[recipe] = self.path(folder)
        return self._undisturbed[recipe]

    @staticmethod
    def path(folder: Path) -> Path:
        """Returns the only run folder."""
        (path,) = folder.glob("outputs/run/*")
        return path

    @staticmethod
    def results(path: Path) -> dict[str, Any]:
        """Returns what run.json says of a run, except times and names."""
        everything = json.loads((path / "run.json").read_text())
        return {key: everything[key] for key in ("status", "step", "epoch", "metrics", "best", "groups", "data")}

    @classmethod
    def assert_same(cls, path: Path, other: Path) -> None:
        """Compares two run folders."""
        assert cls.results(path) == cls.results(other)
        assert (path / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
        one, two = _state(path), _state(other)
        assert one.keys() == two.keys()
        assert [slot for slot in one if one[slot] != two[slot]] == []
        assert _points(path) == _points(other)
        names = [item.name for item in (path / "checkpoints").iterdir()]
        assert all(name.startswith("step-") for name in names) and len(names) == 2  # nothing half-made is left


def _state(path: Path) -> dict[str, bytes]:
    with np.load(max(path.glob("checkpoints/step-*")) / "state.npz") as arrays:
        return {slot: arrays[slot].tobytes() for slot in arrays.files}


def _points(path: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = {}
    for folder in (path / "tensorboard").glob("*/*"):
        accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        accumulator.Reload()
        for tag in accumulator.Tags()["scalars"]:
            curves[f"{folder.name}/{tag}"] = [(event.step, event.value) for event in accumulator.Scalars(tag)]
    return curves


@pytest.fixture(scope="module")
def runs(warm_server: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> DisturbedRuns:
    return DisturbedRuns(warm_server, tmp_path_factory.mktemp)
