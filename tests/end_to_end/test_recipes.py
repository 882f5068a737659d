"""Lines that a person types, each trained in this process, and resumed from an earlier checkpoint: the same.

The recipes of test_kills.py are not repeated here: several of them are killed, and resumed in another process.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun import cli
from tfrun.files.runs import RunFolder

TRAIN = ["trainer.compile=graph", "trainer.deterministic=false", "data.batch_size=64", "trainer.max_epochs=2"]
DIGITS = ["data=digits", "metric=[accuracy]", "loss=sparse_categorical_crossentropy"]
RECIPES: dict[str, list[str]] = {
    "residual_regressor, weighted_sum, ema": [
        "model=residual_regressor", "optimizer=adamw", "trainer.ema_decay=0.9", "loss=weighted_sum",
        "loss.losses={near: {name: huber, delta: 0.5}, far: mse}",
    ],
    "reconstructing_regressor": ["model=reconstructing_regressor", "model.activation=softplus", "optimizer=nadam"],
    "per_output, hashed": [
        "model.auxiliary_output=true", "loss=per_output", "loss.losses={output: huber, auxiliary: {name: mae}}",
        "loss.weights={auxiliary: 0.1}", "data.text={sex: {name: hash, bins: 5}}", "model.dropout=0.1",
    ],
    "sequential": [
        "model=sequential", "optimizer=momentum",
        "model.layers=[{name: dense, units: 8, activation: softplus, kernel_initializer: he}, layer_normalization, "
        "BatchNormalization, residual_block, {name: gaussian_noise, stddev: 0.2}, {name: Dense, units: 4}]",
    ],
    "small components, sample weights": [
        "model=mlp", "model.hidden_units=[16]", "model.activation=leaky_relu", "model.kernel_initializer=glorot",
        "model.kernel_regularizer=orthogonal", "model.kernel_constraint=max_norm", "model.dropout=0.2",
        "data.sample_weight=bmi", "metric=[mae,r2]",
    ],
    "sam, microbatches": ["trainer.microbatches=4", "algorithm=sam", "model=mlp", "model.dropout=0.2"],
    "fixed_point, gradient_penalty": ["model=fixed_point", "algorithm=gradient_penalty", "optimizer=muon"],
    "plateau": [
        "optimizer.groups.deep.schedule={name: plateau, patience: 1, min_delta: 0.5}",
        "optimizer.groups.wide.schedule=one_cycle", "optimizer.groups.wide.from_epoch=1", "trainer.max_epochs=3",
    ],
    "lower_upper": ["experiment=lower_upper", "model.hidden_units=[16,16]"],
    "maml": ["experiment=maml_sinusoids", "data.rows=400", "model.hidden_units=[8]"],
    "reinforce": ["experiment=reinforce_cartpole", "data.rows=640", "algorithm.max_episode_steps=20"],
    "mc_dropout": ["model=mc_dropout", "model.num_samples=4"],
    "sequence": [*DIGITS, "model=sequence", "optimizer=lamb", "model.dropout=0.2"],
    "autoencoder": ["experiment=autoencoder_digits"],
    "multi_task": [
        "data=csv", "data.path={houses}", "data.target=[price,sold]", "model=multi_task", "loss=per_output",
        "loss.losses={output: huber, sold: binary_crossentropy}", "+metric.sold={name: accuracy, output: sold}",
        "data.sample_weight=weight", "data.text={words: {name: tokens, length: 3}}", "model.dropout=0.1",
    ],
    "deepfm, hashed": [
        "data=csv", "data.path={houses}", "data.target=sold", "model=deepfm", "model.embedding_dim={words: 3}",
        "model.embedding_rows=2", "data.text={words: {name: tokens, length: 3}}",
    ],
    "two_tower": [
        "data=csv", "data.path={houses}", "data.target=price", "model=two_tower", "model.user=[size]",
        "model.item=[words]", "algorithm=in_batch_softmax", "algorithm.buckets=100", "data.sample_weight=weight",
    ],
    "attention, focal": [
        *DIGITS, "model=sequential", "model.flatten=false", "optimizer=adafactor", "loss=focal",
        "metric=[confusion_matrix,calibration_error]",
        "model.layers=[{name: attention_block, num_heads: 2}]",
    ],
}  # fmt: skip


def only_run(root: Path) -> Path:
    (path,) = root.glob("outputs/*/*")
    return path


def state(run: Path) -> dict[str, np.ndarray]:
    newest = max(run.glob("checkpoints/step-*"))
    with np.load(newest / "state.npz") as arrays:
        return dict(arrays)


def leave_as_killed(run: Path, *, step: int) -> None:
    """Makes of a completed run's folder what a kill leaves that comes after a checkpoint of an earlier step."""
    for checkpoint in run.glob("checkpoints/step-*"):
        if int(checkpoint.name.removeprefix("step-")) > step:
            shutil.rmtree(checkpoint)
    folder = RunFolder(run)
    folder.write_run({**folder.read_run(), "status": "running", "step": step, "epoch": 0, "ended": None})


@pytest.mark.parametrize("recipe", RECIPES)
def test_resumed_from_an_earlier_step_it_is_the_same(recipe: str, tmp_path: Path) -> None:
    houses = tmp_path / "houses.csv"
    random = np.random.default_rng(0)
    rows = random.normal(size=(400, 2))
    lines = [f"{x:.3f},{y:.3f},{int(x > 0)},{x * x:.3f},{'big ' * int(x > 0)}red" for x, y in rows]
    houses.write_text("\n".join(["size,price,sold,weight,words", *lines]) + "\n")
    words = [*TRAIN, *(word.replace("{houses}", str(houses)) for word in RECIPES[recipe])]
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert cli.main([*words, f"output_root={whole}", "checkpoint.every_steps=8", "checkpoint.keep=10"]) == 0
    shutil.copytree(whole, resumed)
    leave_as_killed(only_run(resumed), step=8)
    assert cli.main(["resume", str(only_run(resumed))]) == 0
    one, two = (json.loads((only_run(root) / "run.json").read_text()) for root in (whole, resumed))
    assert one["status"] == two["status"] == "completed"
    assert one["step"] == two["step"] > two["resumed"][0]["step"] == 8
    assert one["metrics"].keys() == two["metrics"].keys()
    assert len({(only_run(root) / "metrics.jsonl").read_text() for root in (whole, resumed)}) == 1
    left, right = state(only_run(whole)), state(only_run(resumed))
    assert left.keys() == right.keys()
    assert [slot for slot in left if left[slot].tobytes() != right[slot].tobytes()] == []
    assert {key: value for key, value in one["metrics"].items() if not key.startswith("test/")} == {
        key: value for key, value in two["metrics"].items() if not key.startswith("test/")
    }
    assert all(np.isfinite(value) for value in one["metrics"].values())


def train_eager(root: Path, *words: str) -> dict[str, Any]:
    assert cli.main([*TRAIN, "trainer.compile=eager", *words, f"output_root={root}"]) == 0
    return json.loads((only_run(root) / "run.json").read_text())


def test_the_model_s_own_metric_is_reported_for_each_split(tmp_path: Path) -> None:
    metrics = train_eager(tmp_path, "model=reconstructing_regressor")["metrics"]
    values = [metrics[f"{split}/reconstruction_error"] for split in ("train", "val", "test")]
    assert len(set(values)) == 3
    assert all(0 < value < 5 for value in values)


def test_a_stage_shows_in_the_learning_rate(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stages = ["optimizer.groups.wide.until_epoch=1", "optimizer.groups.deep.from_epoch=1"]
    train_eager(tmp_path, *stages, "logger.every_steps=1")
    (curves,) = only_run(tmp_path).glob("tensorboard/*/train")
    accumulator = EventAccumulator(str(curves))
    accumulator.Reload()
    wide, deep = ([point.value for point in accumulator.Scalars(f"lr/{name}")] for name in ("wide", "deep"))
    half = len(wide) // 2
    np.testing.assert_allclose(wide, [0.05] * half + [0.0] * half)
    np.testing.assert_allclose(deep, [0.0] * half + [0.001] * half)
