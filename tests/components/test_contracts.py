"""Checks that every component that tfrun ships keeps its kind's contract."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from tfrun import cli
from tfrun.config import schema
from tfrun.config.catalog import load_catalog
from tfrun.engine.verify import checks, contracts, data_contracts
from tfrun.engine.verify.checks import maker
from tfrun.engine.verify.findings import Finding

CATALOG = load_catalog()
PARAMETERS: dict[str, dict[str, Any]] = {
    "layer=dense": {"units": 3, "activation": "softplus", "kernel_regularizer": {"name": "l2", "l2": 0.1}},
    "layer=dropout": {"rate": 0.5},
    "layer=embedding_bag": {"num_ids": 5},
    "layer=impute": {"values": [0.0] * 6},
    "layer=quantiles": {"points": [[[0.0, -1.0], [0.5, 0.0], [2.0, 1.0]], *[[[0.0, 0.0], [1.0, 1.0]]] * 5]},
    "loss=per_output": {"losses": {"output": "huber"}},
    "loss=weighted_sum": {"losses": {"near": {"name": "huber", "delta": 0.5}, "far": "mae"}, "weights": {"far": 0.1}},
    "schedule=piecewise": {"boundaries": [2], "factors": [1.0, 0.1], "unit": "epoch"},
}
IMAGES = ["data=digits", "metric=accuracy", "loss=sparse_categorical_crossentropy"]
WITH_DATA: dict[str, list[str]] = {  # further overrides that a model, an algorithm or a data set needs
    "model=autoencoder": ["algorithm=reconstruct", "loss=mse", "metric=none"],
    "model=cnn": IMAGES,
    "model=gan": ["experiment=gan_digits"],
    "model=pointwise": ["experiment=maml_sinusoids", "data.rows=200"],
    "model=seasonal_naive": [
        "data.window={length: 4, horizon: 2}",
        "data.kinds={sex: {name: ordered, values: [1, 2]}}",
        "model.period=3",
    ],
    "model=sequence": [*IMAGES, "algorithm=gradient_penalty"],
    "model=sequential": ["model.layers=[{name: dense, units: 3}, gaussian_noise, layer_normalization]"],
    "algorithm=gan": ["experiment=gan_digits"],
    "algorithm=maml": ["experiment=maml_sinusoids", "data.rows=200"],
    "algorithm=reconstruct": ["model=autoencoder", "loss=mse", "metric=none"],
    "algorithm=reinforce": ["experiment=reinforce_cartpole", "data.rows=64", "algorithm.max_episode_steps=20"],
    "data=digits": ["model=linear", *IMAGES[1:]],
    "data=episodes": ["experiment=reinforce_cartpole"],
    "data=sinusoids": ["experiment=maml_sinusoids", "data.rows=200"],
}
NEED_FILES = {"csv", "images", "npz", "parquet", "tfrecord"}
OF_A_TABLE = {"dense_features", "feature_cross"}  # these take a table's columns, and are tested in test_layers.py
NAMES = [
    f"{kind}={name}"
    for kind in contracts.CONTRACTS
    for name in CATALOG.names(kind)
    if not (kind == "layer" and name in OF_A_TABLE)
]


@pytest.fixture(autouse=True)
def no_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips loading in a fresh process and tracing a step, which take seconds; `test_checks.py` does both."""
    monkeypatch.setattr(checks, "_trace_step", lambda pieces: None)
    for module in (contracts, data_contracts):
        monkeypatch.setattr(module, "check_saved", lambda model, inputs, *, outputs: Finding("saved", True))


@pytest.mark.parametrize("word", NAMES)
def test_components_keep_their_contracts(word: str) -> None:
    keras.utils.set_random_seed(0)
    kind, _, name = word.partition("=")
    config = schema.component_alone(kind, {"name": name, **PARAMETERS.get(word, {})}, catalog=CATALOG)
    make = maker(kind, config, CATALOG)
    findings = contracts.check(kind, make)
    assert [finding for finding in findings if not finding.kept] == []
    assert len(findings) > (0 if kind == "schedule" else 3)


@pytest.mark.parametrize(
    "word",
    [
        f"{group}={name}"
        for group, kind in (("model", "model"), ("algorithm", "algorithm"), ("data", "dataset"))
        for name in CATALOG.names(kind)
        if name not in NEED_FILES
    ],
)
def test_models_algorithms_and_data_sets_keep_their_contracts(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    exit_code = cli.main(["check", word, *WITH_DATA.get(word, [])])
    output = capsys.readouterr()
    assert (exit_code, output.err) == (0, "")
    assert output.out.splitlines().count(word) == 1
    assert output.out.count("  ok   ") >= 4
