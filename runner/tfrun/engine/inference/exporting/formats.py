"""The formats that models are exported to, by name."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np

from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.inference.exporting import (
    clean_process,
    ids,
    javascript,
    keras_file,
    litert,
    onnx,
    openvino,
    portable,
    saved_model,
    serving,
    tfjs,
)
from tfrun.engine.inference.exporting.format import ExportError
from tfrun.engine.inference.outputs import sizes
from tfrun.errors import ConfigError, LibraryChangedError, ResourceError, TfrunError
from tfrun.files.runs import EXPORTS

FORMATS = {
    module.FORMAT.name: module.FORMAT for module in (saved_model, keras_file, litert, onnx, openvino, tfjs, serving)
}

PROBED_BYTES = 2**20  # with less room, a disk counts as full


def check_format(name: str, preprocessing: Preprocessing) -> None:
    """Raises ConfigError if a format's packages aren't installed, or if it can't compute the preprocessing."""
    missing = [module for module in FORMATS[name].modules if find_spec(module) is None]
    if missing:
        raise ConfigError(f"format={name}: needs {', '.join(missing)}. Install with: pip install 'tfrun[{name}]'")
    FORMATS[name].refuse(preprocessing)


def imports_of(preprocessing: Preprocessing, name: str) -> list[str]:
    """Returns the modules that a person has to import before a file of the format can be loaded."""
    return FORMATS[name].imports(preprocessing)


def is_graph(name: str) -> bool:
    """Returns whether a format is computed as a graph."""
    return FORMATS[name].is_graph


def is_of_ids(name: str) -> bool:
    """Returns whether a format's models take ids in place of texts."""
    return FORMATS[name].of_ids


def inputs_of(preprocessing: Preprocessing, name: str) -> dict[str, str]:
    """Returns what a person gives to a model in a format: type, shape and the value of an empty cell, by column."""
    return portable.inputs_of(preprocessing, of_ids=FORMATS[name].of_ids and not FORMATS[name].makes_ids)


def place_of_check(name: str, folder: Path) -> str:
    """Returns where a model that is written into a folder is compared with its run, for a person."""
    return javascript.place_of_check(folder) if FORMATS[name].in_javascript else "in a clean process"


def write_checked(
    model: keras.Model,
    name: str,
    *,
    folder: Path,
    preprocessing: Preprocessing,
    rows: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    has_targets: bool = True,
    text: Mapping[str, ids.Encoding] | None = None,
) -> float:
    """Writes a model of raw rows into a folder, and compares its predictions in a clean process with the run's.

    Args:
        model: see `portable`.
        name: the format's.
        folder: where to write it.
        preprocessing: fitted on the run's training rows.
        rows: raw rows by column.
        expected: the run's predictions for them by output.
        has_targets: whether the model predicts the data's target.
        text: the encodings of the ids that the model takes, if the format is of ids; by default the preprocessing's.

    Returns:
        The largest difference.

    Raises:
        ExportError: the format can't hold the model, it can't be loaded, or its predictions differ.
        ResourceError: the disk refuses.
    """
    path = folder / EXPORTS[name]
    with converting(path, name):
        if is_of_ids(name):
            text = ids.encodings(preprocessing) if text is None else text
            FORMATS[name].write(model, path, ids.metadata(preprocessing, text, has_targets=has_targets))
        else:
            FORMATS[name].write(model, path)
        FORMATS[name].accompany(path, rows)
    return clean_process.largest_difference(
        path,
        FORMATS[name],
        rows=rows,
        expected=expected,
        sizes=sizes(expected, preprocessing, has_targets=has_targets),
        imports=imports_of(preprocessing, name),
    )


@contextlib.contextmanager
def converting(path: Path, name: str) -> Iterator[None]:
    """Turns errors while a model is written to a path in a format into errors for a person.

    Raises:
        ExportError: the format can't hold the model.
        ResourceError: the disk refuses.
    """
    try:
        yield
    except (TfrunError, LibraryChangedError):
        raise
    except OSError as error:
        raise ResourceError(f"{path}: can't be written: {error.strerror or error}") from error
    except Exception as error:  # whatever a converter raises
        if _is_full(path.parent) or os.strerror(errno.ENOSPC) in str(error):
            raise ResourceError(f"{path}: can't be written: {os.strerror(errno.ENOSPC)}") from error
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"format={name}: this model can't be converted: {reason}") from error


def _is_full(folder: Path) -> bool:
    """Returns whether the disk refuses a small file, for what is written by libraries that raise other errors then."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, PROBED_BYTES)
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return False
