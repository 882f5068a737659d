"""Ids in place of texts: what a program in any language needs to compute the inputs of a model without strings.

Such a model has no operation on strings, no table and no state, which many runtimes lack.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfrun.data.kinds import CategoryColumn, Column, DateColumn, NumericColumn, TokensColumn
from tfrun.data.kinds.hashed import HashedColumn
from tfrun.data.layers import numbers_of_texts
from tfrun.data.preprocessing import Preprocessing
from tfrun.errors import ConfigError

MOST_INDICES = 2**32 - 1  # of an array in JavaScript
Encoding = Mapping[str, Any]  # of a column of texts, as JSON


def encoding_of(column: Column) -> Encoding:
    """Returns how the texts of a column become ids or numbers, as JSON.

    `kind` is one of
    - category: the place in `values`, from 1 on; 0 for a text that isn't there;
    - hashed: 1 + fingerprint64(text) mod `bins`; 0 for an empty text. The hash is that of FarmHash, of UTF-8;
    - words: for each of the first `length` words, split at ASCII's white space, the place in `values` from 2 on, 1 for
      a word that isn't there; 0 after the last word;
    - hashed_words: the same with 1 + fingerprint64(word) mod `bins`;
    - numbers: `values[text]`, of the text in lower case if `lower`; nan for a text that isn't there.
    """
    numbers = numbers_of_texts(column)
    if numbers is not None:
        return {"kind": "numbers", "values": numbers[0], "lower": numbers[1]}
    if isinstance(column, CategoryColumn):
        return {"kind": "category", "values": list(column.values)}
    if isinstance(column, HashedColumn):
        return {"kind": "hashed", "bins": column.bins}
    if isinstance(column, TokensColumn) and column.bins is not None:
        return {"kind": "hashed_words", "bins": column.bins, "length": column.length}
    if isinstance(column, TokensColumn) and column.tokenizer is None:
        return {"kind": "words", "values": list(column.words), "length": column.length}
    raise TypeError(f"{column.name}: {column.kind.name} has no ids")


def encodings(preprocessing: Preprocessing) -> dict[str, Encoding]:
    """Returns the encoding of each column of texts."""
    return {column.name: encoding_of(column) for column in preprocessing.columns if column.is_text}


def metadata(preprocessing: Preprocessing, text: Mapping[str, Encoding], *, has_targets: bool = True) -> dict[str, Any]:
    """Returns what a program needs to know to use a model of ids, as JSON.

    Args:
        preprocessing: the run's.
        text: the encoding of each column of texts.
        has_targets: whether the model predicts the data's target.

    Returns:
        `text`; `classes`, the classes of each output that gives probabilities, in their order; and
        `structuredOutputKeys`, the outputs in the order in which TensorFlow.js' `predict` has their tensors: that of
        the keys of a JavaScript object, where those that are array indices come first, by their size.
    """
    targets = preprocessing.targets if has_targets else {}
    classes = {name: list(target.classes) for name, target in targets.items() if target.classes}
    outputs = sorted(preprocessing.targets, key=_place_in_object)
    return {"text": dict(text), "classes": classes, "structuredOutputKeys": outputs}


def _place_in_object(key: str) -> tuple[int, int, str]:
    """Returns what the keys of a JavaScript object are ordered by that was written with sorted keys."""
    is_index = re.fullmatch("0|[1-9][0-9]{0,9}", key) is not None and int(key) < MOST_INDICES
    return (0, int(key), "") if is_index else (1, 0, key)


def encoded_cells(column: Column, shape: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """Returns the shape and the type of the ids or numbers of one example that stand for the texts of a column.

    Args:
        column: a column of texts.
        shape: of the texts.
    """
    if isinstance(column, NumericColumn):
        return shape, keras.config.floatx()
    return ((column.length,) if isinstance(column, TokensColumn) else shape), "int32"


def refuse_all_but(format: str, preprocessing: Preprocessing, *, kinds: Sequence[str], others: str) -> None:
    """Raises ConfigError for columns of texts whose encoding a format's users can't make.

    Args:
        format: the name of the format.
        preprocessing: the columns.
        kinds: the kinds of encodings that they can make.
        others: which texts can't be used, for the message.
    """

    def is_held(column: Column) -> bool:
        has_ids = not isinstance(column, DateColumn) and getattr(column, "tokenizer", None) is None
        return not column.is_text or (has_ids and encoding_of(column)["kind"] in kinds)

    refused = [f"{column.name} ({column.kind.name})" for column in preprocessing.columns if not is_held(column)]
    if refused:
        raise ConfigError(
            f"format={format}: can't hold {others}. Received columns: {', '.join(refused)}. Use saved_model or keras"
        )


def of_shared_ids(
    models: Sequence[keras.Model], members: Sequence[Mapping[str, Encoding]]
) -> tuple[list[keras.Model], dict[str, Encoding]]:
    """Returns models that take the same ids, of the texts that any of them knows, and the encodings of these ids.

    Args:
        models: of raw rows, with ids in place of texts.
        members: the encodings of each.

    Raises:
        ConfigError: the models have other bins, other lengths or other numbers.
    """
    shared = {name: _shared(name, [member[name] for member in members]) for name in members[0]}
    result = []
    for model, member in zip(models, members, strict=True):
        inputs = {
            name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name)
            for name, tensor in model.input.items()
        }
        translated = {
            name: _translated(cells, shared[name], to=member[name]) if name in shared else cells
            for name, cells in inputs.items()
        }
        result.append(keras.Model(inputs, model(translated)))
    return result, shared


def _shared(column: str, encodings: Sequence[Encoding]) -> Encoding:
    """Returns an encoding of all texts that have an id in one of those of a column. Raises ConfigError."""
    first = encodings[0]
    has_ids = first["kind"] in ("category", "words")
    alike = [{**encoding, "values": None} if has_ids else encoding for encoding in encodings]
    if any(encoding != alike[0] for encoding in alike):
        raise ConfigError(f"ensemble: the runs encode the texts of column {column!r} in different ways")
    if not has_ids:
        return first
    return {**first, "values": list(dict.fromkeys(text for encoding in encodings for text in encoding["values"]))}


def _translated(cells: Any, encoding: Encoding, *, to: Encoding) -> Any:
    """Returns the ids of an encoding, a Keras tensor, as those of another one that lacks some of its texts."""
    if encoding == to:
        return cells
    first = 1 if encoding["kind"] == "category" else 2  # the id of the first text; the one before stands for unseen
    places = {text: place for place, text in enumerate(to["values"], start=first)}
    table = [*range(first), *(places.get(text, first - 1) for text in encoding["values"])]
    return keras.ops.take(np.array(table, "int32"), cells, axis=0)
