"""The model of an earlier run that an algorithm learns from."""

from __future__ import annotations

from typing import Any

import keras

from tfrun.config.catalog import Catalog
from tfrun.config.schema import model_settings
from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.building.lora import add_lora
from tfrun.engine.building.parts import build_model
from tfrun.errors import CheckpointError, ConfigError
from tfrun.files import runs, yaml_files
from tfrun.files.weights import of_run
from tfrun.protocols import AlgorithmOffer


def give_teacher(algorithm: AlgorithmOffer, catalog: Catalog, *, preprocessing: Preprocessing, inputs: Any) -> None:
    """Gives an algorithm that asks for a teacher the model of that run, with its best weights.

    Args:
        algorithm: the run's.
        catalog: the components that exist, the teacher's model among them.
        preprocessing: what the run has learnt from its rows.
        inputs: a few encoded rows.

    Raises:
        ConfigError: there is no such run, or its model isn't registered, or it encodes rows otherwise.
        CheckpointError: its weights can't be read, or don't fit its model.
    """
    if algorithm.teacher is None or algorithm.use_teacher is None:
        return
    folder = runs.open_run(algorithm.teacher)
    earlier = Preprocessing.from_fields(folder.read_preprocessing(), source=str(folder.preprocessing_json))
    if (earlier.columns, earlier.targets) != (preprocessing.columns, preprocessing.targets):
        raise ConfigError(
            f"algorithm.teacher: {folder.path} encodes its rows otherwise than this run. Train both on the same rows "
            "and splits, or take its encoding: init=<its folder> init.preprocessing=same"
        )
    settings = model_settings(yaml_files.load(folder.config_yaml)["model"], catalog)
    model = build_model(settings, catalog, preprocessing=earlier)
    model(inputs, training=False)
    if settings.lora is not None:
        add_lora(model, settings.lora)
    _assign(model, of_run.read(folder, take="best").arrays, where=str(folder.path))
    algorithm.use_teacher(model)


def _assign(model: keras.Model, arrays: Any, *, where: str) -> None:
    """Assigns a run's weights to its own model, in their order: automatic names differ between processes."""
    shapes = [tuple(variable.shape) for variable in model.variables]
    if shapes != [array.shape for array in arrays]:
        raise CheckpointError(f"algorithm.teacher: the weights of {where} aren't those of its model")
    for variable, array in zip(model.variables, arrays, strict=True):
        variable.assign(array.read())
