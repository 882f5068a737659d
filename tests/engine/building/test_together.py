"""Compares runs that are trained together with the same runs one after another.

In float64, where rounding hardly grows, everything that a run leaves is the same within 1e-12.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfrun.config import schema
from tfrun.config.compose import open_configs
from tfrun.data.sources import load_table
from tfrun.engine import experiment
from tfrun.engine.experiment import Job, Reuse, RunOptions
from tfrun.engine.training.program import Program
from tfrun.files import runs

EXACT = ["trainer.precision=float64", "trainer.compile=graph", "trainer.max_epochs=2", "data.batch_size=64"]
DIGITS = ["data=digits", "metric=[accuracy]", "loss=sparse_categorical_crossentropy"]
NUMBERS = ["loss=huber", "metric=regression"]  # what `auto` is for the diabetes table
LINEAR = ["model=linear", "optimizer=adam"]
SEEDS = ["seed=1", "seed=2", "seed=3"]
RATES = [f"optimizer.learning_rate={rate}" for rate in (0.001, 0.01, 0.1)]
TOGETHER: dict[str, tuple[list[str], list[str]]] = {
    "dropout and batch normalization": (
        [*DIGITS, "model=mlp", "model.hidden_units=[4]", "model.dropout=0.3", "model.batch_normalization=true"],
        SEEDS,
    ),
    "stages, a schedule that watches, stopping": (
        [
            "optimizer.groups.deep.schedule={name: plateau, patience: 1, min_delta: 0.5}", "early_stopping.patience=1",
            "early_stopping.min_delta=0.02", "optimizer.groups.wide.every=2", "optimizer.groups.wide.from_epoch=1",
            "optimizer.groups.wide.statistics=moving",
            "optimizer.groups.wide.clip_norm=0.1", "trainer.max_epochs=5",
        ],
        [f"seed={k} optimizer.learning_rate={10.0**-k} loss.delta={k}" for k in (1, 2, 3)],
    ),
    "averages, a model's own loss": (
        ["model=reconstructing_regressor", "model.num_layers=1", "trainer.ema_decay=0.9", "optimizer=nadam"], SEEDS,
    ),
    "one program of XLA": ([*LINEAR, "trainer.compile=xla"], RATES),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _restore_float32() -> Any:
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def train(root: Path, words: Sequence[str], more: Sequence[str], *, together: bool) -> tuple[list[Path], list[Any]]:
    """Trains a run for each of `more`, whose words are added to `words`; returns the folders and exceptions."""
    errors: list[Any] = [None] * len(more)
    reuse = Reuse()
    chosen = [] if any(word.startswith("loss=") for word in words) else NUMBERS
    with open_configs(words) as hydra:
        lines = [[*chosen, *words, *text.split()] for text in more]
        configs = [schema.build_settings(hydra.compose(line).config, hydra.catalog, overrides=line) for line in lines]
        table = load_table(configs[0].data, hydra.catalog)
        options = RunOptions(reuse=reuse)
        jobs = [Job(config, runs.claim(str(root), "runs"), options) for config in configs]
        if together:
            experiment.train_together(
                jobs,
                hydra.catalog,
                table=table,
                reuse=reuse,
                on_end=errors.__setitem__,
                context=lambda k: contextlib.nullcontext(),
            )
        else:
            for k, job in enumerate(jobs):
                try:
                    experiment.train(job.settings, job.folder, catalog=hydra.catalog, table=table, options=options)
                except Exception as error:
                    errors[k] = error
    return [job.folder.path for job in jobs], errors


def run_json(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())


def state(run: Path) -> dict[str, np.ndarray]:
    with np.load(max(run.glob("checkpoints/step-*")) / "state.npz") as arrays:
        return dict(arrays)


def assert_equal(one: Path, other: Path, tolerance: float = 1e-12) -> None:
    left, right = state(one), state(other)
    assert left.keys() == right.keys()
    for slot, value in left.items():
        np.testing.assert_allclose(value, right[slot], rtol=tolerance, atol=tolerance, err_msg=slot)
    first, second = run_json(one), run_json(other)
    for key in ("status", "step", "epoch", "seed", "groups", "parameters", "data"):
        assert first[key] == second[key], key
    assert first["best"]["epoch"] == second["best"]["epoch"]
    # metrics are float32
    assert first["metrics"] == pytest.approx(second["metrics"], rel=1e-6)
    lines = [(run / "metrics.jsonl").read_text().splitlines() for run in (one, other)]
    assert len(lines[0]) == len(lines[1])


@pytest.mark.parametrize("recipe", TOGETHER)
def test_a_run_is_the_same_as_if_it_were_alone(recipe: str, tmp_path: Path) -> None:
    words, more = TOGETHER[recipe]
    words = [*EXACT, *words]
    together, errors = train(tmp_path, words, more, together=True)
    assert errors == [None] * len(more)
    alone, _ = train(tmp_path, words, more, together=False)
    for one, other in zip(together, alone, strict=True):
        assert run_json(one)["engine"]["mode"] == "vectorized"
        assert_equal(one, other)
    results = [run_json(run)["metrics"]["train/loss"] for run in together]
    assert len(set(results)) == len(more)  # the runs differ


def test_in_float32_the_first_epoch_is_the_same_within_1e_4(tmp_path: Path) -> None:
    words = ["trainer.max_epochs=1", "trainer.compile=graph", *LINEAR]
    together, _ = train(tmp_path, words, SEEDS, together=True)
    alone, _ = train(tmp_path, words, SEEDS, together=False)
    for one, other in zip(together, alone, strict=True):
        assert run_json(one)["metrics"] == pytest.approx(run_json(other)["metrics"], rel=1e-4)


def test_a_run_that_diverges_does_not_end_the_others(tmp_path: Path) -> None:
    words = [*EXACT, "model=linear", "optimizer=sgd", "loss=mse", "metric=regression"]
    more = ["optimizer.learning_rate=1e-3", "optimizer.learning_rate=1e38"]
    together, errors = train(tmp_path, words, more, together=True)
    alone, expected = train(tmp_path, words, more, together=False)
    assert errors[0] is None
    message, expected_message = (str(error).partition(". Its folder")[0] for error in (errors[1], expected[1]))
    assert message == expected_message
    assert run_json(together[1])["status"] == "diverged"
    for one, other in zip(together, alone, strict=True):
        assert run_json(one)["step"] == run_json(other)["step"]
        left, right = state(one), state(other)
        for slot, value in left.items():
            np.testing.assert_allclose(value, right[slot], rtol=1e-12, atol=1e-12, err_msg=slot)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([*LINEAR, "trainer.microbatches=2"], "trainer.microbatches"),
        ([*DIGITS, "model=cnn", "model.filters=[2]", "model.dense_units=4"], "can't be trained together"),
    ],
)
def test_runs_that_can_not_be_vectorized_are_trained_one_after_another(
    words: list[str], why: str, tmp_path: Path
) -> None:
    words = [*EXACT, "trainer.max_epochs=1", *words]
    together, errors = train(tmp_path, words, SEEDS[:2], together=True)
    assert errors == [None, None]
    alone, _ = train(tmp_path, words, SEEDS[:2], together=False)
    for one, other in zip(together, alone, strict=True):
        engine = run_json(one)["engine"]
        assert engine["mode"] != "vectorized" and why in engine["why"]
        left, right = state(one), state(other)
        assert [slot for slot in left if left[slot].tobytes() != right[slot].tobytes()] == []


def test_a_run_of_another_structure_is_trained_alone(tmp_path: Path) -> None:
    more = ["seed=1", "seed=2 loss=mse", "seed=3"]
    together, errors = train(tmp_path, [*EXACT, *LINEAR], more, together=True)
    assert errors == [None] * 3
    modes = [run_json(run)["engine"]["mode"] for run in together]
    assert modes == ["vectorized", "graph_loop", "vectorized"]
    alone, _ = train(tmp_path, [*EXACT, *LINEAR], more[1:], together=False)
    for one, other in zip(together[1:], alone, strict=True):
        assert_equal(one, other)


def test_an_error_of_a_shared_block_is_recorded_by_each_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_lanes = Program.run_lanes

    def fail_after_the_first_block(self: Program, *args: Any, first_step: int, **others: Any) -> Any:
        if first_step > 0:
            raise RuntimeError("the device is gone")
        return run_lanes(self, *args, first_step=first_step, **others)

    monkeypatch.setattr(Program, "run_lanes", fail_after_the_first_block)
    folders, errors = train(tmp_path, [*EXACT, *DIGITS, *LINEAR, "trainer.max_epochs=20"], RATES, together=True)
    assert [str(error) for error in errors] == ["the device is gone"] * 3
    for folder in folders:
        assert run_json(folder)["status"] == "failed"
        assert run_json(folder)["error"]["message"] == "the device is gone"
