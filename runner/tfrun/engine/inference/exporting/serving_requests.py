"""Requests to TensorFlow Serving: those that it warms up with, and one as JSON.

A warm-up file has `PredictionLog` messages. TensorFlow Serving's own messages in it have nothing but fields of known
length, which take a line each here; its package would be one more to install.
https://github.com/tensorflow/serving/blob/master/tensorflow_serving/g3doc/saved_model_warmup.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfrun.files import strict_json

SIGNATURE = "serving_default"
WARMUP_SIZES = (1, 2, 8, 32)  # rows of each request
NUM_ROWS = 2  # of the request as JSON
OF_KNOWN_LENGTH = 2  # the wire type of texts, bytes and messages in protocol buffers


def prediction_logs(rows: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    """Yields the warm-up requests: batches of several sizes of the rows, repeated where they are too few.

    Args:
        rows: raw rows by column.
    """
    for size in WARMUP_SIZES:
        yield _prediction_log({name: cells[np.arange(size) % len(cells)] for name, cells in rows.items()})


def request_json(rows: Mapping[str, np.ndarray]) -> str:
    """Returns the body of a POST to `…:predict`, one row a line.

    An empty number cell is NaN, which is no JSON: TensorFlow Serving reads it, and refuses null. Numbers have a point,
    since it also refuses whole numbers above 2²⁴ that float32 can't hold exactly.
    """
    instances = [
        ", ".join(
            f"{strict_json.dumps(name)}: {_literal(cells[k].tolist(), cells.dtype)}" for name, cells in rows.items()
        )
        for k in range(min(NUM_ROWS, len(next(iter(rows.values())))))
    ]
    lines = ",\n".join(f"  {{{instance}}}" for instance in instances)
    return f'{{"signature_name": "{SIGNATURE}", "instances": [\n{lines}\n]}}\n'


def _literal(value: Any, dtype: np.dtype[Any]) -> str:
    """Returns cells of one row as TensorFlow Serving reads them."""
    if isinstance(value, list):
        return f"[{', '.join(_literal(each, dtype) for each in value)}]"
    if isinstance(value, float):
        return "NaN" if np.isnan(value) else str(dtype.type(value))
    return strict_json.dumps(value)


def _prediction_log(rows: Mapping[str, np.ndarray]) -> bytes:
    """Returns a `PredictionLog` of a request without the model's name, which a server knows from its own config."""
    model = _field(3, SIGNATURE.encode())  # ModelSpec.signature_name
    request = _field(1, model)  # PredictRequest.model_spec
    for name, cells in rows.items():
        tensor = tf.make_tensor_proto(cells).SerializeToString()
        request += _field(2, _field(1, name.encode()) + _field(2, tensor))  # an entry of the map PredictRequest.inputs
    return _field(6, _field(1, request))  # PredictionLog.predict_log, PredictLog.request


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | OF_KNOWN_LENGTH) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Returns a number as protocol buffers write it: 7 bits a byte, the lowest first."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
