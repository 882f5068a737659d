"""Checks that every component that tfrun ships keeps its kind's contract."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from tfrun import cli
from tfrun.config import schema
from tfrun.config.catalog import load_catalog
from tfrun.engine.verify import checks, contracts, data_contracts
from tfrun.engine.verify.checks import maker
from tfrun.engine.verify.findings import Finding, compare

CATALOG = load_catalog()
PARAMETERS: dict[str, dict[str, Any]] = {
    "layer=dense": {"units": 3, "activation": "softplus", "kernel_regularizer": {"name": "l2", "l2": 0.1}},
    "layer=dropout": {"rate": 0.5},
    "layer=embedding": {"num_ids": 5},
    "layer=embedding_bag": {"num_ids": 5},
    "layer=impute": {"values": [0.0] * 6},
    "layer=quantiles": {"points": [[[0.0, -1.0], [0.5, 0.0], [2.0, 1.0]], *[[[0.0, 0.0], [1.0, 1.0]]] * 5]},
    "loss=per_output": {"losses": {"output": "huber"}},
    "loss=weighted_sum": {"losses": {"near": {"name": "huber", "delta": 0.5}, "far": "mae"}, "weights": {"far": 0.1}},
    "schedule=piecewise": {"boundaries": [2], "factors": [1.0, 0.1], "unit": "epoch"},
}
DIGITS = "data=digits metric=accuracy loss=sparse_categorical_crossentropy"
WITH_DATA = [  # command lines; what they name of models, algorithms and data sets is checked
    "model=autoencoder algorithm=reconstruct loss=mse metric=none",
    f"model=cnn {DIGITS}",
    "model=dcn_v2 model.rank=2",
    "model=deepfm",
    "model=fixed_point",
    "experiment=gan_digits model=gan algorithm=gan",
    "model=linear algorithm=supervised data=diabetes",
    "model=mc_dropout",
    "model=mlp algorithm=sam",
    "experiment=maml_sinusoids model=pointwise algorithm=maml data=sinusoids data.rows=200",
    "model=multi_task",
    "model=reconstructing_regressor",
    "model=residual_mlp algorithm=gradient_penalty",
    "model=residual_regressor",
    "experiment=reinforce_cartpole algorithm=reinforce data=episodes data.rows=64 algorithm.max_episode_steps=5",
    "model=seasonal_naive model.period=3 data.window={length:4,horizon:2} data.kinds={sex:{name:ordered,values:[1,2]}}",
    f"model=sequence {DIGITS}",
    "model=sequential model.layers=[{name:dense,units:3},gaussian_noise,layer_normalization]",
    "model=two_tower model.user=[age,sex] algorithm=in_batch_softmax",
    "model=wide_deep",
]
NEED_FILES = {"csv", "images", "npz", "parquet", "tfrecord"}
# these need a run, and a large network: test_teacher.py and test_pretrained.py test them
TESTED_ELSEWHERE = {"distill", "pretrained"}
OF_A_TABLE = {"dense_features", "feature_cross"}  # these take a table's columns, and are tested in test_layers.py
NAMES = [
    f"{kind}={name}"
    for kind in contracts.CONTRACTS
    for name in CATALOG.names(kind)
    if not (kind == "layer" and name in OF_A_TABLE)
]


@pytest.fixture(autouse=True)
def no_new_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Loads what is saved in this process, and skips tracing a step, which take seconds; `test_checks.py` does both."""

    def check_saved(model: keras.Model, inputs: Any, *, outputs: tf.Tensor) -> Finding:
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        outputs_of_loaded = loaded(inputs, training=False)
        if isinstance(outputs_of_loaded, dict):
            outputs_of_loaded = outputs_of_loaded["output"]
        return compare("saved", outputs_of_loaded, expected=outputs, tolerance=1e-6)

    monkeypatch.setattr(checks, "_trace_step", lambda pieces: None)
    for module in (contracts, data_contracts):
        monkeypatch.setattr(module, "check_saved", check_saved)


@pytest.mark.parametrize("word", NAMES)
def test_components_keep_their_contracts(word: str) -> None:
    keras.utils.set_random_seed(0)
    kind, _, name = word.partition("=")
    config = schema.component_alone(kind, {"name": name, **PARAMETERS.get(word, {})}, catalog=CATALOG)
    make = maker(kind, config, CATALOG)
    findings = contracts.check(kind, make)
    assert [finding for finding in findings if not finding.kept] == []
    assert len(findings) > (0 if kind == "schedule" else 3)


def named(line: str) -> list[str]:
    """Returns the models, algorithms and data sets that a command line names."""
    return [word for word in line.split() if word.partition("=")[0] in ("model", "algorithm", "data")]


@pytest.mark.parametrize("line", WITH_DATA)
def test_models_algorithms_and_data_sets_keep_their_contracts(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    exit_code = cli.main(["check", *line.split()])
    output = capsys.readouterr()
    assert (exit_code, output.err) == (0, "")
    for word in named(line):
        (count,) = re.findall(rf"^kept    (\d+) promises of {re.escape(word)}$", output.out, re.MULTILINE)
        assert int(count) >= 4


def test_each_of_them_is_checked() -> None:
    groups = {"model": "model", "algorithm": "algorithm", "data": "dataset"}
    others = NEED_FILES | TESTED_ELSEWHERE
    known = {f"{group}={name}" for group in groups for name in CATALOG.names(groups[group]) if name not in others}
    assert {word for line in WITH_DATA for word in named(line)} == known
