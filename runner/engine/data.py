"""A table becomes tensors: splits, preprocessing fitted on the training rows alone, encoding.

The encoded rows of all splits lie in one array; a split is a list of row numbers. No step of this needs a second copy
of all rows: raw columns go as encoded ones come, and what is done to rows is done to a block at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.arrays import StoredArray, aligned_empty, blocks, give_back, load
from tfrun.components.layers.impute import Impute
from tfrun.engine.devices import dtype_policy
from tfrun.engine.step import TargetScale
from tfrun.errors import DataError
from tfrun.table import Features, Table

MAX_CLASSES = 1000
BLOCK_BYTES = 2**21  # of encoded rows: enough to make up for a call of Keras layers


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

    def build_layers(self) -> dict[str, keras.Model]:
        """Returns the preprocessing of raw rows as Keras models; array columns have none.

        `numbers` takes (B, num_numbers) floats with nan for empty, and gives the same standardized. `categories` takes
        (B, num_text) strings and gives (B, num_text) int32 ids. Both are of full precision: raw numbers have more
        digits than half of it holds.
        """
        with dtype_policy(keras.config.floatx()):
            return self._layers()

    def _layers(self) -> dict[str, keras.Model]:
        models = {}
        if self.medians:
            numbers = keras.Input((len(self.medians),))
            filled = Impute(list(self.medians.values()))(numbers)
            scale = keras.layers.Normalization(
                mean=np.array(list(self.means.values())), variance=np.array(list(self.variances.values()))
            )
            models["numbers"] = keras.Model(numbers, scale(filled))
        if self.vocabularies:
            text = keras.Input((len(self.vocabularies),), dtype="string")
            models["categories"] = keras.Model(
                text, self.look_up([text[:, k : k + 1] for k in range(len(self.vocabularies))])
            )
        return models

    def look_up(self, columns: Sequence[Any]) -> Any:
        """Returns the ids, (B, num_text) int32, of the text columns, each a Keras tensor (B, 1) of strings."""
        ids = [
            keras.layers.StringLookup(vocabulary=values, num_oov_indices=1)(column)
            for values, column in zip(self.vocabularies.values(), columns, strict=True)
        ]
        return keras.ops.cast(keras.ops.concatenate(ids, axis=1), "int32")


@dataclass(frozen=True)
class Examples:
    """Encoded rows of all splits, on the host.

    Attributes:
        inputs: what the model gets, an array or a mapping of arrays, (N, ...) each. Those in memory are aligned for
            `tfrun.arrays.load`; one on disk is a `StoredArray` with numbers of its own type, still to be converted.
        targets: (N, 1), float32 (scaled) or int32 (ids of classes), aligned too.
        weights: how much each row counts, (N,) of floats, or None where all count the same.
        splits: "train", "val" and "test" -> row numbers, int32.
        preprocessing: what was learnt from the training rows.
        fingerprint: SHA-256 over the raw columns and the target.
    """

    inputs: Any
    targets: np.ndarray
    splits: dict[str, np.ndarray]
    preprocessing: Preprocessing
    fingerprint: str
    weights: np.ndarray | None = None

    @property
    def arrays(self) -> tuple[Any, np.ndarray, Any]:
        """Everything that there is of each row: (inputs, targets, weights), `()` for no weights."""
        return self.inputs, self.targets, () if self.weights is None else self.weights


def prepare(table: Table, config: dict[str, Any]) -> Examples:
    """Splits a table, fits the preprocessing on its training rows and encodes all of it.

    Args:
        table: the raw rows. Its columns are gone afterwards, so that they don't lie in memory beside the encoded ones.
        config: the config's `data`: `validation_split`, `test_split`, `split_seed`, `limit_rows`, `target_scaling`.

    Raises:
        DataError: too few rows, a column without any value, a number that isn't finite, a target that can't be used.
    """
    splits, digest = split_rows(len(table.target), config), fingerprint(table)
    preprocessing = fit(table, splits["train"], config["target_scaling"] == "standard")
    return _examples(table, splits, preprocessing, digest)


def prepare_evaluation(table: Table, preprocessing: Preprocessing) -> Examples:
    """Encodes a table with a trained run's preprocessing: all rows are there to be evaluated, none to be trained on.

    Args:
        table: the raw rows. Its columns are gone afterwards.
        preprocessing: the run's.

    Raises:
        DataError: columns or labels that the preprocessing does not know, a number that isn't finite.
    """
    splits = {"train": np.arange(1), "val": np.arange(0), "test": np.arange(len(table.target))}
    return _examples(table, splits, preprocessing, fingerprint(table))


def _examples(table: Table, splits: dict[str, np.ndarray], preprocessing: Preprocessing, digest: str) -> Examples:
    inputs, targets = encode(table, preprocessing)
    give_back()
    weights = None if table.weights is None else load(table.weights, keras.config.floatx())
    if weights is not None and not weights[splits["train"]].any():
        raise DataError(f"{table.source}: data.sample_weight: every training row has weight 0")
    return Examples(inputs, targets, splits, preprocessing, digest, weights)


def split_rows(num_rows: int, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Returns the row numbers of train, val and test: shuffled once by `split_seed`, then cut."""
    order = np.arange(num_rows, dtype=np.int32)
    np.random.default_rng(config["split_seed"]).shuffle(order)
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
            counts = Counter(column[rows].tolist())
            ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
            vocabularies[name] = [value for value, _ in ranked if value]
            if not vocabularies[name]:
                raise DataError(f"{table.source}: column {name!r} has no value in the training rows; leave it out")
        else:
            numbers = column[rows]
            empty = np.isnan(numbers)
            if empty.all():
                raise DataError(f"{table.source}: column {name!r} has no value in the training rows; leave it out")
            medians[name] = float(np.median(numbers[~empty], overwrite_input=True))
            numbers[empty] = medians[name]
            means[name], variances[name] = float(numbers.mean()), float(numbers.var())
            spread = max(np.sqrt(variances[name]), keras.config.epsilon())
            edges = (np.quantile(numbers, np.linspace(0.1, 0.9, 9), overwrite_input=True) - means[name]) / spread
            deciles[name] = sorted(set(edges.tolist()))
    fitted = Preprocessing(medians, means, variances, deciles, vocabularies, arrays, table.task, [])
    if table.task == "classification":
        classes = [_label(value) for value in sorted(set(table.target[rows].tolist()))]
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


def _label(value: Any) -> str:
    return f"{value:.17g}" if isinstance(value, float) else str(value)


def encode(table: Table, preprocessing: Preprocessing) -> tuple[Any, np.ndarray]:
    """Returns the inputs and the targets of all rows as the program takes them.

    Args:
        table: the raw rows. Each of its columns goes as soon as it is encoded.
        preprocessing: what was learnt from training rows.

    Raises:
        DataError: columns or labels that the preprocessing does not know.
    """
    wanted = [*preprocessing.medians, *preprocessing.vocabularies, *preprocessing.arrays]
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise DataError(
            f"{table.source}: columns are missing. Received: {', '.join(table.columns)}. Missing: {', '.join(missing)}"
        )
    targets = _targets(table, preprocessing)
    columns = table.columns
    inputs: dict[str, np.ndarray | StoredArray] = {}
    for name in preprocessing.arrays:
        column = columns.pop(name)
        inputs[name] = column if isinstance(column, StoredArray) else load(column, keras.config.floatx())
    models = preprocessing.build_layers()
    if preprocessing.medians:
        inputs["numbers"] = _side_by_side(
            [columns.pop(name).astype(keras.config.floatx()) for name in preprocessing.medians],
            lambda rows: models["numbers"](tf.convert_to_tensor(rows)).numpy(),
        )
    if preprocessing.vocabularies:
        places, ids = _look_up((columns.pop(name) for name in preprocessing.vocabularies), models["categories"])
        inputs["categories"] = _side_by_side(places, lambda rows: np.take_along_axis(ids, rows, axis=0))
    alone = len(inputs) == 1 and preprocessing.arrays  # a single array is given to the model bare
    return next(iter(inputs.values())) if alone else inputs, targets


def _look_up(columns: Iterable[np.ndarray], model: keras.Model) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns each column's cells as places among its different texts, (N,) int32, and their ids, (U, num_text)."""
    places, texts = [], []
    for column in columns:
        seen: dict[str, int] = {}
        places.append(np.fromiter((seen.setdefault(text, len(seen)) for text in column), np.int32, len(column)))
        texts.append(list(seen))
    padded = np.full((max(map(len, texts)), len(texts)), "", dtype=object)
    for k, different in enumerate(texts):
        padded[: len(different), k] = different
    return places, model(tf.convert_to_tensor(padded)).numpy()


def _side_by_side(columns: Sequence[np.ndarray], change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Returns (N, num_columns): the columns beside each other, each block of rows changed."""
    give_back()  # what the columns were made from
    made = aligned_empty((len(columns[0]), len(columns)), columns[0].dtype)
    for rows in blocks(made, BLOCK_BYTES):
        made[rows] = change(np.stack([column[rows] for column in columns], axis=1))
    return made


def _targets(table: Table, preprocessing: Preprocessing) -> np.ndarray:
    regression, binary = preprocessing.task == "regression", len(preprocessing.classes) <= 2
    dtype = keras.config.floatx() if regression or binary else np.int32
    targets = aligned_empty((len(table.target), 1), dtype)
    ids = {label: k for k, label in enumerate(preprocessing.classes)}
    for rows in blocks(table.target):
        target = table.target[rows]
        if regression:
            targets[rows, 0] = (target - preprocessing.target_mean) / preprocessing.target_standard_deviation
            continue
        found = [ids.get(_label(value), -1) for value in target.tolist()]
        if -1 in found:
            row = found.index(-1)
            raise DataError(
                f"{table.source}:{table.first_line + rows.start + row}: target {table.target_name!r} is a class that "
                f"the training rows don't have. Received: {target[row]!r}. "
                f"Known: {', '.join(preprocessing.classes[:20])}"
            )
        targets[rows, 0] = found
    return targets


def fingerprint(table: Table) -> str:
    """Returns the SHA-256 of a table's contents.

    Raises:
        DataError: an array column holds nan or inf. It is looked for here because this reads a file's every row.
    """
    digest = hashlib.sha256()
    weights = [] if table.weights is None else [("", table.weights)]
    for name, column in [*table.columns.items(), (table.target_name, table.target), *weights]:
        digest.update(name.encode())
        for rows in blocks(column):
            block = column[rows]
            if block.dtype == object:
                digest.update(("\0" * (rows.start > 0) + "\0".join(block)).encode())
                continue
            if block.ndim > 1 and block.dtype.kind == "f" and not np.isfinite(block).all():
                row = int(np.argmin(np.isfinite(block).reshape(len(block), -1).all(axis=1)))
                raise DataError(f"{table.source}: nan or inf in row {rows.start + row} of {name!r}")
            digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()
