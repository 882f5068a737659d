"""Components that are wrong on purpose, each with the promise that shows it, as `tfrun check` prints it.

`test_contracts.py` has the components that keep their contracts: those that ship.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import pytest

from tfrun.config.catalog import Catalog, load_catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.schema import component_alone
from tfrun.data.sources import load_table
from tfrun.engine.building.assembly import build_pieces
from tfrun.engine.building.components import build_component, build_function
from tfrun.engine.building.parts import build_algorithm, build_model
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.training import feed
from tfrun.engine.training.hyperparameters import Hyperparameters
from tfrun.engine.verify import contracts, data_contracts
from tfrun.engine.verify.checks import maker
from tfrun.engine.verify.findings import Finding, collect
from tfrun.errors import ConfigError

PLUGINS = Path(__file__).parents[1] / "wrong_plugins"
OWN_ROW = "an example's value depends only on its own row"
EXACT = "values and gradients are finite where the prediction is exactly right"
AT_EVERY_STEP = "returns a finite factor, at least 0, at every step"
CAUGHT = {
    "loss=crossed": OWN_ROW,
    "loss=crossed_back": OWN_ROW,
    "loss=whole_batch": OWN_ROW,
    "loss=root": EXACT,
    "loss=log_of_error": EXACT,
    "loss=naive_log": "values and gradients are finite for huge errors",
    "loss=flat": "the gradient isn't 0 everywhere",
    "loss=one_for_all": "returns a value for each example",
    "loss=blind": "the value depends on the target",
    "loss=stopped": "gradients agree with finite differences",
    "loss=loses_a_parameter": "get_config has every parameter",
    "loss=no_value": "returns a value for each example",
    "loss=has_a_bug": "runs without an error",
    "metric=crossed": "the result doesn't depend on how the rows are batched",
    "metric=mean_of_batches": "the result doesn't depend on how the rows are batched",
    "metric=ignores_weights": "a sample weight of 2 counts a row twice, 0 leaves it out",
    "metric=never_resets": "reset_state() forgets all rows",
    "metric=no_value": "returns a value for each example",
    "metric=no_scalar": "result is a finite number",
    "optimizer=climbs": "20 steps reduce ‖w‖²",
    "optimizer=forgets": "its variables hold all its state: restored, it takes the same step",
    "optimizer=ignores_rate": "with another learning rate it takes another step",
    "optimizer=constant_rate": "its learning rate is the one that it is made with",
    "optimizer=loses_decay": "get_config has every parameter",
    "schedule=nan_at_37": AT_EVERY_STEP,
    "schedule=nan_late": AT_EVERY_STEP,
    "schedule=below_0": AT_EVERY_STEP,
    "schedule=divides_by_0": AT_EVERY_STEP,
    "schedule=no_value": "returns a factor, a scalar",
    "schedule=no_scalar": "returns a factor, a scalar",
    "activation=overflows": "values and gradients are finite from −10000 to 10000",
    "layer=mixes_rows": "an example's output depends only on its own row",
    "layer=one_for_all": "an example's output depends only on its own row",
    "layer=loses_its_factor": "get_config has every parameter",
    "initializer=other_variance": "values have mean 0 and the variance that its `variance` returns",
    "regularizer=of_each_weight": "returns a scalar, at least 0",
    "constraint=halves": "applied again, it changes nothing",
    "model=centers": "an example's output depends only on its own row",
    "model=one_for_all": "returns an output for each example",
    "model=noisy": "outside training, the same inputs always give the same outputs",
    "algorithm=zero_gradients": "a step's gradients are finite and not all 0",
    "algorithm=constant": "a step's gradients are finite and not all 0",
    "algorithm=own_loss": "forward minimizes the loss of the config: twice the loss is another total",
    "algorithm=moves_weights": "forward doesn't change the trained weights",
    "algorithm=remembers": "from the same state, forward returns the same again",
    "algorithm=other_predictions": "runs without an error",
    "algorithm=no_value": "runs without an error",
    "algorithm=no_pair": "runs without an error",
    "algorithm=no_scalar": "runs without an error",
    "algorithm=no_evaluation": "runs without an error",
    "algorithm=no_gradients": "runs without an error",
}
IN_ONE_LINE = ("loss=one_for_all", "layer=one_for_all", "model=one_for_all", "loss=no_value")  # nothing follows from it
CAN_BE_TRAINED_ON = "returns a table that can be trained on"
DATA_SETS = {  # the promise, and the numbers that show it
    "short_column": (CAN_BE_TRAINED_ON, "column 'z': has 37 rows, and the target has 40"),
    "tall_target": (CAN_BE_TRAINED_ON, r"target 'y': must be an array \(N,\). Received: float64 \(40, 1\)"),
    "nan_target": (CAN_BE_TRAINED_ON, "the target is empty"),
    "infinite": (CAN_BE_TRAINED_ON, "column 'x': not finite. Received: inf"),
    "mixed_cells": (CAN_BE_TRAINED_ON, "column 'kind': every value must be a str. Received: 1 in row 0"),
    "no_table": (CAN_BE_TRAINED_ON, "must return a tfrun.table.Table. Received: NoneType"),
    "no_task": (CAN_BE_TRAINED_ON, "its task must be regression or classification. Received: 'ranking'"),
    "no_columns": (CAN_BE_TRAINED_ON, "there are no columns to learn from"),
    "single_precision": ("columns are float64 without infinity, str objects, or arrays of numbers", "x"),
    "other_each_time": ("read again, it is the same", ""),
    "numbered_classes": ("the target is (N,) object", r"\(40,\) int64"),
}
NOT_OF_THEIR_KIND = {  # refused as they are built; the pattern stands behind the file and the line
    "activation=no_value": "must return a tensor. Received: None",
    "algorithm=no_algorithm": r"must have a method forward\(model, loss, x, y\). Received: None",
    "algorithm=no_forward": r"must have a method forward\(model, loss, x, y\). Received: a NoForward without it",
    "algorithm=no_loss": r"must have a method forward\(model, loss, x, y\). Received: \(model, x, y\)",
    "initializer=no_shape": r"must take the arguments \(shape, dtype\). Received: \(\)",
    "layer=no_call": "must have a method call. Received: LayerWithoutCall without it",
    "layer=no_layer": "must be a keras.layers.Layer. Received: <function",
    "loss=no_call": "must have a method call. Received: NoCall without it",
    "loss=no_function": r"must be a keras.losses.Loss or a function \(y_true, y_pred\). Received: <",
    "loss=no_order": r"must take the arguments \(y_true, y_pred\), in this order. Received: \(y_pred, y_true\)",
    "loss=no_parameters": r"must take the arguments \(y_true, y_pred\). Received: \(\)",
    "loss=no_target": r"must take the arguments \(y_true, y_pred\). Received: \(y_pred\)",
    "metric=no_result": "must have a method result. Received: NoResult without it",
    "metric=no_weights": r"must have a method update_state\(y_true, y_pred, sample_weight\). Received: \(y_true, y_",
    "model=no_call": "must have a method call. Received: ModelWithoutCall without it",
    "model=no_layer": "must be a keras.Model. Received: <Dense",
    "model=no_model": "must be a keras.Model. Received: None",
    "optimizer=no_optimizer": "must be a keras.optimizers.Optimizer. Received: None",
    "optimizer=no_update": "must have a method update_step. Received: NoUpdate without it",
    "regularizer=no_value": "must return a tensor. Received: None",
    "schedule=no_step": r"must take the arguments \(step, total_steps\). Received: \(total_steps\)",
}


@pytest.fixture(scope="module")
def catalog() -> Iterator[Catalog]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PLUGINS)
        yield load_catalog(["wrong_components", "wrong_datasets"])


@pytest.fixture(scope="module")
def pieces(settings: Callable[..., Any], catalog: Catalog) -> Pieces:
    """A small run, for the contracts that need one."""
    config = settings("model=linear", "trainer.deterministic=false")
    return build_pieces(config, catalog, table=load_table(config.data, catalog))


@pytest.fixture(autouse=True)
def no_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips loading in a new process, which takes seconds."""
    for module in (contracts, data_contracts):
        monkeypatch.setattr(module, "check_saved", lambda model, inputs, *, outputs: Finding("saved", True))


def parse(word: str, catalog: Catalog) -> tuple[str, ComponentSettings]:
    kind, _, name = word.partition("=")
    return kind, component_alone(kind, {"name": name}, catalog=catalog)


def findings_of(word: str, catalog: Catalog, pieces: Pieces) -> list[Finding]:
    kind, chosen = parse(word, catalog)
    preprocessing = pieces.examples.preprocessing
    batch = feed.sample(pieces.examples, 8)
    if kind == "model":
        make = partial(build_model, chosen, catalog, preprocessing=preprocessing)
        return collect(data_contracts.check_model(make, batch[0], num_outputs=1))
    if kind == "algorithm":
        step = pieces.parts.step
        used, weights = step.algorithm, pieces.parts.model.get_weights()
        step.algorithm = build_algorithm(chosen, catalog, targets=preprocessing.targets, inputs=Hyperparameters())
        try:
            return collect(data_contracts.check_algorithm(step, batch))
        finally:
            step.algorithm = used
            pieces.parts.model.set_weights(weights)
    return contracts.check(kind, maker(kind, chosen, catalog))


@pytest.mark.parametrize("word", CAUGHT)
def test_a_wrong_component_is_caught(word: str, catalog: Catalog, pieces: Pieces) -> None:
    keras.utils.set_random_seed(0)
    broken = [finding.promise for finding in findings_of(word, catalog, pieces) if not finding.kept]
    assert CAUGHT[word] in broken
    assert len(broken) <= (1 if word in IN_ONE_LINE else 4)  # it is wrong in one way


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_wrong_data_set_is_caught(name: str, catalog: Catalog, pieces: Pieces) -> None:
    data = dataclasses.replace(pieces.settings.data, name=name, params={})
    findings = collect(data_contracts.check_dataset(partial(load_table, data, catalog)))
    (broken,) = [finding for finding in findings if not finding.kept]
    promise, numbers = DATA_SETS[name]
    assert broken.promise == promise
    assert re.search(numbers, broken.numbers)


def test_every_wrong_component_is_in_a_table(catalog: Catalog) -> None:
    registered = {
        f"{kind}={name}"
        for kind in (*contracts.CONTRACTS, "model", "algorithm")
        for name in catalog.names(kind)
        if catalog.get(kind, name, where=kind).module == "wrong_components"
    }
    in_runs = {"model=no_output"}  # test_parts.py
    assert registered == {*CAUGHT, *NOT_OF_THEIR_KIND} | in_runs


@pytest.mark.parametrize("word", NOT_OF_THEIR_KIND)
def test_what_is_not_of_its_kind_is_refused_when_it_is_built(word: str, catalog: Catalog) -> None:
    kind, chosen = parse(word, catalog)
    build: Any = build_component if kind in ("algorithm", "model", "optimizer") else build_function
    with pytest.raises(ConfigError) as caught:
        build(kind, ComponentSettings(chosen.name, {}), catalog=catalog, where=kind)
    message = str(caught.value)
    line = catalog.get(kind, chosen.name, where=kind).line
    assert message.startswith(f"{kind}: {chosen.name} ({PLUGINS / 'wrong_components.py'}:{line}) ")
    caught.match(rf"\) {NOT_OF_THEIR_KIND[word]}")
