"""The model of an earlier run that an algorithm learns from."""

from __future__ import annotations

from typing import Any

import keras

from tfrun.config.catalog import Catalog
from tfrun.config.defaults import fill_in
from tfrun.config.schema import model_settings
from tfrun.config.settings import Settings
from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.building.lora import add_lora
from tfrun.engine.building.parts import build_model
from tfrun.errors import CheckpointError, ConfigError
from tfrun.files import runs, yaml_files
from tfrun.files.weights import of_run
from tfrun.folders import shown
from tfrun.protocols import AlgorithmOffer

SPLIT_KEYS = ("split", "split_seed", "val_split", "test_split", "folds", "fold", "folds_repeats", "validation_path",
              "test_path")  # fmt: skip


def give_teacher(
    algorithm: AlgorithmOffer,
    settings: Settings,
    catalog: Catalog,
    *,
    preprocessing: Preprocessing,
    inputs: Any,
) -> list[str]:
    """Gives an algorithm that asks for a teacher the model of that run, with its best weights.

    Args:
        algorithm: the run's.
        settings: the run's.
        catalog: the components that exist, the teacher's model among them.
        preprocessing: what the run has learnt from its rows.
        inputs: a few encoded rows.

    Returns:
        Sentences on what a person should know of the teacher.

    Raises:
        ConfigError: there is no such run, or its model isn't registered, or it encodes rows otherwise.
        CheckpointError: its weights can't be read, or don't fit its model.
    """
    if algorithm.teacher is None or algorithm.use_teacher is None:
        return []
    folder = runs.open_run(algorithm.teacher)
    earlier = Preprocessing.from_fields(folder.read_preprocessing(), source=str(folder.preprocessing_json))
    if (earlier.columns, earlier.targets) != (preprocessing.columns, preprocessing.targets):
        raise ConfigError(
            f"algorithm.teacher: {folder.path} encodes its rows otherwise than this run. Train both on the same rows "
            f"and splits, or take its encoding alone: init={shown(folder.path)} init.preprocessing=same "
            "'init.new=[\"\"]' 'init.unused=[\"\"]'"
        )
    config = fill_in(yaml_files.load(folder.config_yaml))
    of_teacher = model_settings(config["model"], catalog)
    model = build_model(of_teacher, catalog, preprocessing=earlier)
    model(inputs, training=False)
    if of_teacher.lora is not None:
        add_lora(model, of_teacher.lora)
    _assign(model, of_run.read(folder, take="best").arrays, where=str(folder.path))
    algorithm.use_teacher(model)
    data = settings.to_dict()["data"]
    others = [f"data.{key}" for key in SPLIT_KEYS if config["data"].get(key) != data.get(key)]
    if not others:
        return []
    names = ", ".join(others)
    return [f"algorithm.teacher: may have been trained on this run's validation and test rows: {names} differ"]


def _assign(model: keras.Model, arrays: Any, *, where: str) -> None:
    """Assigns a run's weights to its own model, in their order: automatic names differ between processes."""
    shapes = [tuple(variable.shape) for variable in model.variables]
    if shapes != [array.shape for array in arrays]:
        raise CheckpointError(f"algorithm.teacher: the weights of {where} aren't those of its model")
    for variable, array in zip(model.variables, arrays, strict=True):
        variable.assign(array.read())
