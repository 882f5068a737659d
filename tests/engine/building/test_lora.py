"""Layers that learn a product of two small matrices beside their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml

from tfrun.config.settings import LoraSettings
from tfrun.engine.building.lora import add_lora, is_adapter
from tfrun.errors import ConfigError

WORDS = ["model=mlp", "model.hidden_units=[6, 4]"]
LORA = "model.lora={rank: 2, match: hidden_1}"


def with_config(small: Any, folder: Any, *words: str) -> Any:
    """Returns a run's folder with the `config.yaml` that a command writes."""
    folder.config_yaml.write_text(yaml.safe_dump(small.settings(*words).to_dict()))
    return folder


def test_a_model_begins_as_it_was_and_trains_the_matrices_alone(small: Any) -> None:
    without, pieces = small.pieces(*WORDS), small.pieces(*WORDS, LORA)
    paths = [variable.path for variable in pieces.parts.model.trainable_variables if "hidden_1" in variable.path]
    assert sorted(paths) == ["hidden_1/bias", "hidden_1/lora_kernel_a", "hidden_1/lora_kernel_b"]
    assert [path for path in paths if is_adapter(path)] == ["hidden_1/lora_kernel_a", "hidden_1/lora_kernel_b"]
    inputs = pieces.examples.inputs
    x = {name: array[:5] for name, array in inputs.items()} if isinstance(inputs, dict) else inputs[:5]
    np.testing.assert_allclose(pieces.parts.model(x), without.parts.model(x), rtol=1e-6)
    kernel = pieces.parts.model.get_layer("hidden_1").kernel
    a, b = (v for v in pieces.parts.model.trainable_variables if is_adapter(v.path))
    assert (tuple(a.shape), tuple(b.shape)) == ((kernel.shape[0], 2), (2, 6))
    program = pieces.make_program()
    before = pieces.parts.model.get_layer("hidden_1")._kernel.numpy()
    program.run(0, 3)
    np.testing.assert_array_equal(pieces.parts.model.get_layer("hidden_1")._kernel, before)
    assert np.abs(b.numpy()).max() > 0


@pytest.mark.parametrize("name", ["w.weights.h5", "w.npz"])
def test_the_weights_of_a_model_without_it_fit(small: Any, tmp_path: Path, name: str) -> None:
    earlier = small.pieces(*WORDS, "seed=5").parts.model
    if name.endswith(".npz"):
        np.savez(tmp_path / name, **{variable.path: variable.numpy() for variable in earlier.variables})
    else:
        earlier.save_weights(tmp_path / name)
    pieces = small.pieces(*WORDS, LORA, f"init={tmp_path / name}")
    kernel = pieces.parts.model.get_layer("hidden_1")._kernel
    np.testing.assert_array_equal(kernel, earlier.get_layer("hidden_1").kernel)
    assert [origin.variable.rpartition("/")[2] for origin in pieces.origins.new] == ["lora_kernel_a", "lora_kernel_b"]


def test_a_run_goes_on_from_one_that_had_it_too(small: Any) -> None:
    first = with_config(small, small.train(*WORDS, LORA, "name=first"), *WORDS, LORA)
    pieces = small.pieces(*WORDS, LORA, f"init={first.path}")
    assert not pieces.origins.new
    assert small.resume(first, *WORDS, LORA, "name=first", "trainer.max_epochs=3") == 0


def test_layers_that_are_not_there() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="hidden")])
    with pytest.raises(ConfigError, match=r"'hiden' matches no layer that can be adapted\. Known: .*hidden/kernel"):
        add_lora(model, LoraSettings(2, "hiden"))
    constrained = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3, kernel_constraint="non_neg", name="hidden")]
    )
    with pytest.raises(ConfigError, match=r"hidden/kernel can't be adapted: .*constraint"):
        add_lora(constrained, LoraSettings(2))
