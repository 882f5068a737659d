"""What a portable format is: how it is written, loaded and checked, and what it can't hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tfrun.data.preprocessing import Preprocessing
from tfrun.engine import private
from tfrun.errors import ConfigError


class ExportError(ConfigError):
    """An exported model can't be written, or gives other predictions than the run."""


def holds_everything(preprocessing: Preprocessing) -> None:
    """Refuses no preprocessing."""


def needs_nothing(preprocessing: Preprocessing) -> list[str]:
    """Returns no modules."""
    return []


def leave_alone(path: Path, rows: Mapping[str, np.ndarray]) -> None:
    """Writes nothing."""


@dataclass(frozen=True)
class Format:
    """A format that models are exported to.

    Attributes:
        name: its name.
        write: writes a model of raw rows to a path; raises ExportError, or any error of a converter. With `of_ids` it
            also gets `ids.metadata`.
        loader: Python code as a person would write it to use the file at `path`: it defines `predict`, a function of
            rows, arrays by column, that returns an array or a mapping of arrays by output. `modules` has the names of
            what to import.
        modules: the modules that have to be installed; the extra with the format's name installs them.
        refuse: raises ConfigError if the format can't compute the preprocessing.
        imports: returns the modules that a person has to import before the file can be loaded.
        is_graph: whether it is computed as a graph.
        needs_tfrun: whether tfrun's and the plugins' classes are needed to load it.
        of_ids: whether the model that is written takes ids in place of texts, see `ids`.
        makes_ids: whether the file, or code beside it, turns texts into these ids; if not, a person's program does.
        in_javascript: whether it is for JavaScript; the loader is for machines without it.
        accompany: writes further files beside the one at a path, from raw rows by column.
    """

    name: str
    write: Callable[..., None]
    loader: str
    modules: tuple[str, ...] = ()
    refuse: Callable[[Preprocessing], None] = holds_everything
    imports: Callable[[Preprocessing], list[str]] = needs_nothing
    is_graph: bool = True
    needs_tfrun: bool = False
    of_ids: bool = False
    makes_ids: bool = True
    in_javascript: bool = False
    accompany: Callable[[Path, Mapping[str, np.ndarray]], None] = leave_alone


def refuse_float64(format: str, model: keras.Model) -> None:
    """Raises ExportError if a model of raw rows takes or gives float64."""
    outputs = model.output if isinstance(model.output, dict) else {"the target": model.output}
    names = [name for name, tensor in (model.input | outputs).items() if tensor.dtype == "float64"]
    if names:
        raise ExportError(
            f"format={format}: can't compute in float64, which these need: {', '.join(names)}. "
            "Use saved_model, keras or onnx"
        )


def refuse_half_precision(format: str, model: keras.Model) -> None:
    """Raises ExportError if a layer of a model computes in half precision.

    Runtimes lack operations of it, or round at other places than TensorFlow, by up to 1 % of a prediction.
    """
    halves = sorted({layer.compute_dtype for layer in private.layers_of(model)} & {"bfloat16", "float16"})
    if halves:
        raise ExportError(
            f"format={format}: can't compute in {' and '.join(halves)} as TensorFlow does, which a run with "
            f"trainer.precision=mixed_{halves[0]} needs. Use saved_model or keras"
        )
