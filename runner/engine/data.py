"""A table becomes tensors: splits, preprocessing fitted on the training rows alone, encoding.

The encoded rows of all splits lie in one array; a split is a list of row numbers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.components.layers.impute import Impute
from tfrun.engine.step import TargetScale
from tfrun.errors import DataError
from tfrun.table import Features, Table

MAX_CLASSES = 1000


@dataclass(frozen=True)
class Preprocessing:
    """What was learnt from the training rows; all that is needed to encode other rows. Kept as JSON in the run folder.

    Attributes:
        medians, means, variances: number column -> statistic over its non-empty cells (the last two after imputing).
        deciles: number column -> inner decile boundaries of the standardized values.
        vocabularies: text column -> its values, most frequent first; their ids start at 1.
        arrays: array column -> the shape of one example.
        task: "regression" or "classification".
        classes: the labels of a classification's classes, in the order of their ids.
        target_mean, target_standard_deviation: the scale that the target is trained on.
    """

    medians: dict[str, float]
    means: dict[str, float]
    variances: dict[str, float]
    deciles: dict[str, list[float]]
    vocabularies: dict[str, list[str]]
    arrays: dict[str, list[int]]
    task: str
    classes: list[str]
    target_mean: float = 0.0
    target_standard_deviation: float = 1.0

    @property
    def features(self) -> Features:
        return Features(
            numbers={name: tuple(edges) for name, edges in self.deciles.items()},
            categories={name: len(values) + 1 for name, values in self.vocabularies.items()},
            arrays={name: tuple(shape) for name, shape in self.arrays.items()},
        )

    @property
    def num_outputs(self) -> int:
        return len(self.classes) if len(self.classes) > 2 else 1

    @property
    def target(self) -> TargetScale:
        return TargetScale(self.target_mean, self.target_standard_deviation)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @staticmethod
    def from_json(text: str) -> Preprocessing:
        return Preprocessing(**json.loads(text))

    def build_layers(self) -> keras.Model | None:
        """Returns the preprocessing of raw rows as a Keras model, or None where arrays pass through.

        Its inputs are `numbers` (B, num_numbers) float32 with nan for empty and `text` (B, num_text) string; its
        outputs are what the model gets, `numbers` and `categories`.
        """
        inputs, outputs = {}, {}
        if self.medians:
            inputs["numbers"] = keras.Input((len(self.medians),), name="numbers")
            filled = Impute(list(self.medians.values()))(inputs["numbers"])
            scale = keras.layers.Normalization(
                mean=np.array(list(self.means.values())), variance=np.array(list(self.variances.values()))
            )
            outputs["numbers"] = scale(filled)
        if self.vocabularies:
            inputs["text"] = keras.Input((len(self.vocabularies),), name="text", dtype="string")
            ids = [
                keras.layers.StringLookup(vocabulary=values, num_oov_indices=1)(inputs["text"][:, k : k + 1])
                for k, values in enumerate(self.vocabularies.values())
            ]
            outputs["categories"] = keras.ops.cast(keras.ops.concatenate(ids, axis=1), "int32")
        return keras.Model(inputs, outputs, name="preprocessing") if inputs else None


@dataclass(frozen=True)
class Examples:
    """Encoded rows of all splits, on the host.

    Attributes:
        inputs: what the model gets, an array or a mapping of arrays, (N, ...) each.
        targets: (N, 1), float32 (scaled) or int32 (ids of classes).
        splits: "train", "val" and "test" -> row numbers, int32.
        preprocessing: what was learnt from the training rows.
        fingerprint: SHA-256 over the raw columns and the target.
    """

    inputs: Any
    targets: np.ndarray
    splits: dict[str, np.ndarray]
    preprocessing: Preprocessing
    fingerprint: str


def prepare(table: Table, config: dict[str, Any]) -> Examples:
    """Splits a table, fits the preprocessing on its training rows and encodes all of it.

    Args:
        table: the raw rows.
        config: the config's `data`: `validation_split`, `test_split`, `split_seed`, `limit_rows`, `target_scaling`.

    Raises:
        DataError: too few rows, a column without any value, a target that can't be used.
    """
    splits = split_rows(len(table.target), config)
    preprocessing = fit(table, splits["train"], config["target_scaling"] == "standard")
    return Examples(*encode(table, preprocessing), splits, preprocessing, fingerprint(table))


def split_rows(num_rows: int, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Returns the row numbers of train, val and test: shuffled once by `split_seed`, then cut."""
    order = np.random.default_rng(config["split_seed"]).permutation(num_rows).astype(np.int32)
    num_test, num_val = round(num_rows * config["test_split"]), round(num_rows * config["validation_split"])
    test, val, train = np.split(order, [num_test, num_test + num_val])
    if len(train) == 0:
        raise DataError(
            f"data: no rows are left for training. Received: {num_rows} rows, {num_val} val, {num_test} test"
        )
    return {"train": train[: config.get("limit_rows")], "val": val, "test": test}


def fit(table: Table, rows: np.ndarray, scale_target: bool) -> Preprocessing:
    """Learns medians, scales and vocabularies from the given rows."""
    medians, means, variances, deciles, vocabularies, arrays = {}, {}, {}, {}, {}, {}
    for name, column in table.columns.items():
        if column.ndim > 1:
            arrays[name] = list(column.shape[1:])
        elif column.dtype == object:
            values, counts = np.unique(column[rows].astype(str), return_counts=True)
            ranked = sorted(zip(values.tolist(), counts.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
            vocabularies[name] = [value for value, _ in ranked if value]
            if not vocabularies[name]:
                raise DataError(f"{table.source}: column {name!r} has no value in the training rows; leave it out")
        else:
            known = column[rows][~np.isnan(column[rows])]
            if len(known) == 0:
                raise DataError(f"{table.source}: column {name!r} has no value in the training rows; leave it out")
            medians[name] = float(np.median(known))
            filled = np.where(np.isnan(column[rows]), medians[name], column[rows])
            means[name], variances[name] = float(filled.mean()), float(filled.var())
            spread = max(np.sqrt(variances[name]), keras.config.epsilon())
            edges = (np.quantile(filled, np.linspace(0.1, 0.9, 9)) - means[name]) / spread
            deciles[name] = sorted(set(edges.tolist()))
    fitted = Preprocessing(medians, means, variances, deciles, vocabularies, arrays, table.task, [])
    if table.task == "classification":
        classes = _labels(table.target, rows)
        if not 2 <= len(classes) <= MAX_CLASSES:
            raise DataError(
                f"{table.source}: target {table.target_name!r} must have 2 to {MAX_CLASSES} classes "
                f"in the training rows. Received: {len(classes)}"
            )
        return Preprocessing(**{**asdict(fitted), "classes": classes})
    if not scale_target:
        return fitted
    target = table.target[rows]
    spread = float(target.std())
    return Preprocessing(
        **{
            **asdict(fitted),
            "target_mean": float(target.mean()),
            # a constant target has nothing to scale
            "target_standard_deviation": spread if spread > 0 else 1.0,
        }
    )


def _labels(target: np.ndarray, rows: np.ndarray) -> list[str]:
    return [_label(value) for value in np.unique(target[rows])]


def _label(value: Any) -> str:
    return f"{value:.17g}" if isinstance(value, float) else str(value)


def encode(table: Table, preprocessing: Preprocessing) -> tuple[Any, np.ndarray]:
    """Returns the inputs and the targets of all rows as the program takes them.

    Raises:
        DataError: columns or labels that the preprocessing does not know.
    """
    wanted = [*preprocessing.medians, *preprocessing.vocabularies, *preprocessing.arrays]
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise DataError(
            f"{table.source}: columns are missing. Received: {', '.join(table.columns)}. Missing: {', '.join(missing)}"
        )
    inputs = {name: table.columns[name].astype(keras.config.floatx()) for name in preprocessing.arrays}
    layers = preprocessing.build_layers()
    if layers is not None:
        raw = {}
        if preprocessing.medians:
            numbers = [table.columns[name] for name in preprocessing.medians]
            raw["numbers"] = np.stack(numbers, axis=1).astype(keras.config.floatx())
        if preprocessing.vocabularies:
            raw["text"] = np.stack([table.columns[name] for name in preprocessing.vocabularies], axis=1)
        encoded = layers({name: tf.convert_to_tensor(value) for name, value in raw.items()})
        inputs |= {name: value.numpy() for name, value in encoded.items()}
    alone = len(inputs) == 1 and preprocessing.arrays  # a single array is given to the model bare
    return next(iter(inputs.values())) if alone else inputs, _targets(table, preprocessing)


def _targets(table: Table, preprocessing: Preprocessing) -> np.ndarray:
    if preprocessing.task == "regression":
        scaled = (table.target - preprocessing.target_mean) / preprocessing.target_standard_deviation
        return scaled.astype(keras.config.floatx())[:, None]
    ids = {label: k for k, label in enumerate(preprocessing.classes)}
    found = [ids.get(_label(value), -1) for value in table.target.tolist()]
    if -1 in found:
        row = found.index(-1)
        raise DataError(
            f"{table.source}:{table.first_line + row}: target {table.target_name!r} is a class that the training rows "
            f"don't have. Received: {table.target[row]!r}. Known: {', '.join(preprocessing.classes[:20])}"
        )
    dtype = np.int32 if len(preprocessing.classes) > 2 else keras.config.floatx()
    return np.array(found, dtype=dtype)[:, None]


def fingerprint(table: Table) -> str:
    """Returns the SHA-256 of a table's contents."""
    digest = hashlib.sha256()
    for name, column in [*table.columns.items(), (table.target_name, table.target)]:
        digest.update(name.encode())
        digest.update("\0".join(column).encode() if column.dtype == object else np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
