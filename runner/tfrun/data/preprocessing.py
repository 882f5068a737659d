"""A table becomes tensors: splits, preprocessing fitted on the training rows alone, encoding.

The encoded rows of all splits lie in one array; a split is a list of row numbers. No step of this needs a second copy
of all rows: raw columns go as encoded ones come, and what is done to rows is done to a block at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.components.layers.impute import Impute
from tfrun.config.settings import DataSettings, HashEncoding, TextEncoding, TokensEncoding, VocabularyEncoding
from tfrun.data.arrays import StoredArray, aligned_empty, blocks, give_back, load
from tfrun.data.table import Features, Table, Target
from tfrun.data.targets import MAIN_OUTPUT, FittedTarget, TargetScale, main_output
from tfrun.engine.building.devices import dtype_policy
from tfrun.errors import DataError, near_miss

MAX_CLASSES = 1000
BLOCK_BYTES = 2**21  # of encoded rows: enough to make up for a call of Keras layers


@dataclass(frozen=True)
class Preprocessing:
    """What was learnt from the training rows; all that is needed to encode other rows. Kept as JSON in the run folder.

    Attributes:
        medians, means, variances: number column -> statistic over its non-empty cells (the last two after imputing).
        deciles: number column -> inner decile boundaries of the standardized values.
        vocabularies: text column -> its values, most frequent first; their ids start at 1.
        bins: hashed text column -> how many ids its values share; they start at 1, and 0 stands for empty.
        tokens: column of texts of several words -> its words, most frequent first, whose ids start at 2.
        lengths: such a column -> how many words of a text are kept.
        arrays: array column -> the shape of one example.
        task: "regression" or "classification".
        classes: the labels of a classification's classes, in the order of their ids.
        target_mean, target_standard_deviation: the scale that the target is trained on.
        others: further targets, by name.
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
    bins: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, list[str]] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    others: dict[str, FittedTarget] = field(default_factory=dict)

    @property
    def targets(self) -> dict[str, FittedTarget]:
        """All targets, by the model's output that predicts them."""
        main = FittedTarget(self.task, self.classes, self.target_mean, self.target_standard_deviation)
        return {MAIN_OUTPUT: main, **self.others}

    @property
    def features(self) -> Features:
        sizes = {name: len(values) for name, values in self.vocabularies.items()} | self.bins
        return Features(
            numbers={name: tuple(edges) for name, edges in self.deciles.items()},
            categories={name: size + 1 for name, size in sizes.items()},
            arrays={name: tuple(shape) for name, shape in self.arrays.items()},
            tokens={name: (len(words) + 2, self.lengths[name]) for name, words in self.tokens.items()},
        )

    @property
    def categories(self) -> list[str]:
        """The text columns that have one id, in the order of `inputs["categories"]`."""
        return [*self.vocabularies, *self.bins]

    @property
    def num_outputs(self) -> int:
        return self.targets[MAIN_OUTPUT].num_outputs

    @property
    def target(self) -> TargetScale:
        return self.targets[MAIN_OUTPUT].scale

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @staticmethod
    def from_json(text: str) -> Preprocessing:
        return Preprocessing.of(json.loads(text))

    @staticmethod
    def of(fields: dict[str, Any]) -> Preprocessing:
        """Returns what `to_json` wrote, read already."""
        return Preprocessing(
            **fields | {"others": {k: FittedTarget(**own) for k, own in fields.get("others", {}).items()}}
        )

    def build_layers(self) -> dict[str, keras.Model]:
        """Returns the preprocessing of raw rows as Keras models; array columns have none.

        `numbers` takes (B, num_numbers) floats with nan for empty, and gives the same standardized. `categories` takes
        (B, num_text) strings and gives (B, num_text) int32 ids. A token column's own takes (B, 1) strings and gives
        (B, length) int32 ids. They are of full precision: raw numbers have more digits than half of it holds.
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
        if self.categories:
            text = keras.Input((len(self.categories),), dtype="string")
            models["categories"] = keras.Model(
                text, self.look_up([text[:, k : k + 1] for k in range(len(self.categories))])
            )
        for name in self.tokens:
            text = keras.Input((1,), dtype="string")
            models[name] = keras.Model(text, self.look_up_tokens(name, text))
        return models

    def look_up(self, columns: Sequence[Any]) -> Any:
        """Returns the ids, (B, num_text) int32, of the text columns, each a Keras tensor (B, 1) of strings."""
        layers = [
            *(keras.layers.StringLookup(vocabulary=values, num_oov_indices=1) for values in self.vocabularies.values()),
            *(keras.layers.Hashing(bins + 1, mask_value="") for bins in self.bins.values()),
        ]
        ids = [keras.ops.cast(layer(column), "int32") for layer, column in zip(layers, columns, strict=True)]
        return keras.ops.concatenate(ids, axis=1)

    def look_up_tokens(self, name: str, column: Any) -> Any:
        """Returns the ids, (B, length) int32, of a column of texts of several words, a Keras tensor (B, 1)."""
        split = keras.layers.TextVectorization(
            standardize=None, output_sequence_length=self.lengths[name], vocabulary=self.tokens[name]
        )
        return keras.ops.cast(split(column), "int32")


@dataclass(frozen=True)
class Examples:
    """Encoded rows of all splits, on the host.

    Attributes:
        inputs: what the model gets, an array or a mapping of arrays, (N, ...) each. Those in memory are aligned for
            `arrays.load`; one on disk is a `StoredArray` with numbers of its own type, still to be converted.
        targets: (N, 1), float32 (scaled) or int32 (ids of classes), aligned too; of several targets a mapping of such
            arrays, by the model's output that predicts them.
        weights: how much each row counts, (N,) of floats, or None where all count the same.
        splits: "train", "val" and "test" -> row numbers, int32.
        preprocessing: what was learnt from the training rows.
        fingerprint: SHA-256 over the raw columns and the target.
    """

    inputs: Any
    targets: Any
    splits: dict[str, np.ndarray]
    preprocessing: Preprocessing
    fingerprint: str
    weights: np.ndarray | None = None

    @property
    def num_rows(self) -> int:
        return len(main_output(self.targets))

    @property
    def arrays(self) -> tuple[Any, Any, Any]:
        """Everything that there is of each row: (inputs, targets, weights), `()` for no weights."""
        return self.inputs, self.targets, () if self.weights is None else self.weights


def prepare(table: Table, data: DataSettings) -> Examples:
    """Splits a table, fits the preprocessing on its training rows and encodes all of it.

    Args:
        table: the raw rows. Its columns are gone afterwards, so that they don't lie in memory beside the encoded ones.
        data: how the rows are split and encoded.

    Raises:
        DataError: too few rows, a column without any value, a number that isn't finite, a target that can't be used.
    """
    splits = split_rows(
        len(table.target),
        validation_split=data.validation_split,
        test_split=data.test_split,
        seed=data.split_seed,
        limit_rows=data.limit_rows,
    )
    digest = fingerprint(table)
    preprocessing = fit(table, splits["train"], data.target_scaling == "standard", data.text)
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


def with_any_targets(table: Table, preprocessing: Preprocessing, names: Sequence[str]) -> Table:
    """Returns rows that have no targets with some that the preprocessing takes, to be predicted and not compared."""

    def some(fitted: FittedTarget) -> Target:
        label: Any = fitted.classes[0] if fitted.classes else 0.0
        return Target(np.full(len(table.target), label, dtype=object if fitted.classes else "float64"), fitted.task)

    main, *others = (some(fitted) for fitted in preprocessing.targets.values())
    return replace(
        table,
        target=main.values,
        target_name=names[0],
        task=main.task,
        weights=None,
        others=dict(zip(preprocessing.others, others, strict=True)),
    )


def split_rows(
    num_rows: int, *, validation_split: float, test_split: float, seed: int, limit_rows: int | None = None
) -> dict[str, np.ndarray]:
    """Returns the row numbers of train, val and test: shuffled once by `seed`, then cut.

    Args:
        num_rows: how many rows there are.
        validation_split, test_split: their shares of the rows, from 0 to below 1.
        seed: of the shuffling.
        limit_rows: how many of the training rows are used; None uses all.
    """
    order = np.arange(num_rows, dtype=np.int32)
    np.random.default_rng(seed).shuffle(order)
    num_test, num_val = round(num_rows * test_split), round(num_rows * validation_split)
    test, val, train = np.split(order, [num_test, num_test + num_val])
    if len(train) == 0:
        raise DataError(
            f"data: no rows are left for training. Received: {num_rows} rows, {num_val} val, {num_test} test"
        )
    return {"train": train[:limit_rows], "val": val, "test": test}


def fit(
    table: Table,
    rows: np.ndarray,
    scale_target: bool,
    text: Mapping[str, TextEncoding] = {},  # noqa: B006 (never changed)
) -> Preprocessing:
    """Learns medians, scales and vocabularies from the given rows.

    Args:
        table: the raw rows.
        rows: the numbers of the training rows.
        scale_target: whether a number target is standardized.
        text: text column -> how its texts become ids; as a vocabulary of them where nothing is said.

    Raises:
        DataError: a column without any value, no such text column, a target that can't be used.
    """
    medians, means, variances, deciles, arrays, bins, lengths = {}, {}, {}, {}, {}, {}, {}
    vocabularies, tokens = dict[str, list[str]](), dict[str, list[str]]()
    texts = [name for name, column in table.columns.items() if column.ndim == 1 and column.dtype == object]
    for name in text:
        if name not in texts:
            raise DataError(
                f"{table.source}: data.text: no such text column. Received: {name!r}. Known: {', '.join(texts)}."
                f"{near_miss(name, texts)}"
            )
    for name, column in table.columns.items():
        if column.ndim > 1:
            arrays[name] = list(column.shape[1:])
        elif name in texts:
            encoding = text.get(name, VocabularyEncoding())
            if isinstance(encoding, HashEncoding):
                bins[name] = encoding.bins
                continue
            splits = isinstance(encoding, TokensEncoding)
            found = _most_frequent(column[rows], splits)[: encoding.max_ids]
            if not found:
                raise DataError(f"{table.source}: column {name!r} has no value in the training rows; leave it out")
            (tokens if splits else vocabularies)[name] = found
            if isinstance(encoding, TokensEncoding):
                lengths[name] = encoding.length
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
    main, *others = [
        _fit_target(f"{table.source}: target {name!r}", target, rows, scale_target)
        for name, target in _all_targets(table).items()
    ]
    return Preprocessing(
        medians,
        means,
        variances,
        deciles,
        vocabularies,
        arrays,
        main.task,
        main.classes,
        main.mean,
        main.standard_deviation,
        bins,
        tokens,
        lengths,
        dict(zip(table.others, others, strict=True)),
    )


def _all_targets(table: Table) -> dict[str, Target]:
    return {table.target_name: Target(table.target, table.task), **table.others}


def _fit_target(where: str, target: Target, rows: np.ndarray, scale: bool) -> FittedTarget:
    values = target.values[rows]
    if target.task == "classification":
        classes = [_label(value) for value in sorted(set(values.tolist()))]
        if not 2 <= len(classes) <= MAX_CLASSES:
            raise DataError(
                f"{where} must have 2 to {MAX_CLASSES} classes in the training rows. Received: {len(classes)}"
            )
        return FittedTarget(target.task, classes)
    if not scale:
        return FittedTarget(target.task)
    spread = float(values.std())
    # a constant target has nothing to scale
    return FittedTarget(target.task, [], float(values.mean()), spread if spread > 0 else 1.0)


def _most_frequent(texts: np.ndarray, splits: bool) -> list[str]:
    """Returns the different texts, or their words, the most frequent first; "" is none."""
    counts: Counter[str] = Counter()
    if splits:
        for words in texts:  # at the blanks that TensorFlow splits at, which are ASCII's
            counts.update(word.decode() for word in words.encode().split())
    else:
        counts.update(texts.tolist())
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [value for value, _ in ranked if value]


def _label(value: Any) -> str:
    return f"{value:.17g}" if isinstance(value, float) else str(value)


def encode(table: Table, preprocessing: Preprocessing) -> tuple[Any, Any]:
    """Returns the inputs and the targets of all rows as the program takes them.

    Args:
        table: the raw rows. Each of its columns goes as soon as it is encoded.
        preprocessing: what was learnt from training rows.

    Raises:
        DataError: columns or labels that the preprocessing does not know.
    """
    wanted = [*preprocessing.medians, *preprocessing.categories, *preprocessing.tokens, *preprocessing.arrays]
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise DataError(
            f"{table.source}: columns are missing. Received: {', '.join(table.columns)}. Missing: {', '.join(missing)}"
        )
    targets = {
        output: _encoded(table, name, target.values, preprocessing.targets[output])
        for output, (name, target) in zip(preprocessing.targets, _all_targets(table).items(), strict=True)
    }
    columns = table.columns
    inputs: dict[str, np.ndarray | StoredArray] = {}
    for name in preprocessing.arrays:
        column = columns.pop(name)
        inputs[name] = column if isinstance(column, StoredArray) else load(column, keras.config.floatx())
    models = preprocessing.build_layers()
    for name in preprocessing.medians:
        if columns[name].dtype == object:
            raise DataError(f"{table.source}: column {name!r} must hold numbers, as it did in training")
    if preprocessing.medians:
        inputs["numbers"] = _side_by_side(
            [columns.pop(name).astype(keras.config.floatx()) for name in preprocessing.medians],
            lambda rows: models["numbers"](tf.convert_to_tensor(rows)).numpy(),
        )
    if preprocessing.categories:
        places, ids = _look_up((columns.pop(name) for name in preprocessing.categories), models["categories"])
        inputs["categories"] = _side_by_side(places, lambda rows: np.take_along_axis(ids, rows, axis=0))
    for name, length in preprocessing.lengths.items():
        column = columns.pop(name)
        inputs[name] = made = aligned_empty((len(column), length), np.int32)
        for rows in blocks(made, BLOCK_BYTES):
            made[rows] = models[name](tf.convert_to_tensor(column[rows, None])).numpy()
    alone = len(inputs) == 1 and preprocessing.arrays  # a single array is given to the model bare
    return next(iter(inputs.values())) if alone else inputs, targets if table.others else targets[MAIN_OUTPUT]


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


def _encoded(table: Table, name: str, values: np.ndarray, fitted: FittedTarget) -> np.ndarray:
    """Returns a target as it is trained on, (N, 1)."""
    regression, binary = fitted.task == "regression", len(fitted.classes) <= 2
    dtype = keras.config.floatx() if regression or binary else np.int32
    targets = aligned_empty((len(values), 1), dtype)
    ids = {label: k for k, label in enumerate(fitted.classes)}
    for rows in blocks(values):
        target = values[rows]
        if regression:
            targets[rows, 0] = (target - fitted.mean) / fitted.standard_deviation
            continue
        found = [ids.get(_label(value), -1) for value in target.tolist()]
        if -1 in found:
            row = found.index(-1)
            raise DataError(
                f"{table.source}:{table.first_line + rows.start + row}: target {name!r} is a class that "
                f"the training rows don't have. Received: {target[row]!r}. "
                f"Known: {', '.join(fitted.classes[:20])}"
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
    targets = [(name, target.values) for name, target in _all_targets(table).items()]
    for name, column in [*table.columns.items(), *targets, *weights]:
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
