"""Requests to TensorFlow Serving."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.inference.exporting.serving_requests import prediction_logs, request_json

ROWS = {
    'größe "m²"': np.array([[0.1], [np.nan], [3.0]], "float32"),
    "town": np.array([["Köln"], [""], ["Aix"]]),
    "photo": np.arange(12, dtype="float32").reshape(3, 2, 2),
}


def test_the_request_has_one_row_a_line_with_nan_for_an_empty_number() -> None:
    assert request_json(ROWS) == (
        '{"signature_name": "serving_default", "instances": [\n'
        '  {"gr\\u00f6\\u00dfe \\"m\\u00b2\\"": [0.1], "town": ["K\\u00f6ln"], "photo": [[0.0, 1.0], [2.0, 3.0]]},\n'
        '  {"gr\\u00f6\\u00dfe \\"m\\u00b2\\"": [NaN], "town": [""], "photo": [[4.0, 5.0], [6.0, 7.0]]}\n'
        "]}\n"
    )
    assert request_json({"x": np.array([[2.0**24]], "float32")}).count("{") == 2  # one row is enough


def test_warm_up_requests_are_prediction_logs() -> None:
    reason = "tensorflow-serving-api, of the extra test, isn't installed"
    messages = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2", reason=reason)
    logs = [messages.PredictionLog.FromString(log) for log in prediction_logs(ROWS)]
    assert [log.WhichOneof("log_type") for log in logs] == ["predict_log"] * 4
    for size, log in zip((1, 2, 8, 32), logs, strict=True):
        request = log.predict_log.request
        assert request.model_spec.signature_name == "serving_default" and set(request.inputs) == set(ROWS)
        numbers, towns = (tf.make_ndarray(request.inputs[name]) for name in ('größe "m²"', "town"))
        np.testing.assert_array_equal(numbers, np.resize(ROWS['größe "m²"'], (size, 1)))
        assert [town.decode() for town in towns[:, 0]] == np.resize(["Köln", "", "Aix"], size).tolist()
