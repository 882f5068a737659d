"""What a model predicts for each row, as columns for people and for other programs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.data import arrays
from tfrun.data.examples import Examples
from tfrun.engine.inference import export
from tfrun.engine.training import feed
from tfrun.engine.training.batches import EVALUATION_ROWS
from tfrun.errors import ResourceError
from tfrun.files.disk import remove_left_behind, temporary_path
from tfrun.protocols import MAIN_OUTPUT, ModelOffer


def columns(model: keras.Model, examples: Examples, *, names: Sequence[str], learns_targets: bool) -> dict[str, Any]:
    """Returns columns by name, (N,) each: numbers, and text for classes.

    Args:
        model: with the weights to use.
        examples: encoded rows.
        names: of the targets, the main one first.
        learns_targets: whether the model predicts them; else its outputs are numbered.

    Returns:
        The predictions of each target. If the model offers samples and its main target is a number, there is also
        `<target>_std`, the standard deviation of each row's samples in the unit of the target.
    """
    call = tf.function(lambda inputs: model(inputs, training=False), autograph=False, reduce_retracing=True)
    parts: dict[str, list[np.ndarray]] = {}
    for rows in _row_blocks(examples):
        outputs = call(_inputs_of(examples, rows))
        for output, values in export.predictions(outputs, examples.preprocessing, has_targets=learns_targets).items():
            parts.setdefault(output, []).append(values)
    result: dict[str, Any] = {}
    for name, (output, fitted) in zip(names, examples.preprocessing.targets.items(), strict=True):
        values = np.concatenate(parts[output])
        if not learns_targets:
            result |= {f"output_{k}": values[:, k] for k in range(values.shape[1])}
        elif fitted.task == "regression":
            result[name] = values[:, 0]
        else:
            result[name] = np.array(fitted.classes, dtype=object)[values.argmax(axis=1)]
            result |= {f"{name}={label}": values[:, k] for k, label in enumerate(fitted.classes)}
    spread = f"{names[0]}_std"
    samples = ModelOffer.of(model).samples
    main = examples.preprocessing.targets[MAIN_OUTPUT]
    if samples is not None and learns_targets and main.task == "regression" and spread not in result:
        result[spread] = main.standard_deviation * _spread(samples, examples)
    return result


def _spread(samples: Callable[..., Any], examples: Examples) -> np.ndarray:
    """Returns the standard deviation over a model's samples of each row's output, (N,) float64."""
    call = tf.function(samples, autograph=False, reduce_retracing=True)
    parts = [
        np.asarray(tf.cast(call(_inputs_of(examples, rows)), tf.float64))[:, :, 0].std(axis=1)
        for rows in _row_blocks(examples)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _row_blocks(examples: Examples) -> Iterator[np.ndarray]:
    """Yields the numbers of all rows, as many at a time as are evaluated."""
    for start in range(0, examples.num_rows, EVALUATION_ROWS):
        yield np.arange(start, min(start + EVALUATION_ROWS, examples.num_rows))


def _inputs_of(examples: Examples, rows: np.ndarray) -> Any:
    """Returns the inputs of some rows, as the model takes them."""
    return tf.nest.map_structure(lambda array: arrays.take(array, rows, dtype=feed.dtype_of(array)), examples.inputs)


def write(by_column: Mapping[str, Any], path: Path) -> None:
    """Writes columns as a .parquet file, or as CSV, in place of an earlier file, which stays whole until then.

    Raises:
        ResourceError: the disk refuses.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    table = pa.table(dict(by_column))
    temporary = temporary_path(path)
    remove_left_behind(path.parent, path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        (parquet.write_table if path.suffix == ".parquet" else csv.write_csv)(table, str(temporary))
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        reason = error.strerror or error
        raise ResourceError(f"out: {path} can't be written: {reason}. out=FILE.csv names another file") from error
