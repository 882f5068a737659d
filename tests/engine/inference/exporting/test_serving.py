"""A served version, loaded as TensorFlow Serving does it: no server, no tfrun, and no Keras that could help."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tfrun.engine.inference.exporting import serving
from tfrun.engine.inference.exporting.names import tensor_names

COLUMNS = ("größe (m²)", "größe [m²]", "self", "town")

# Loads by tag, feeds by the signature's names, and replays the warm-up requests with TensorFlow Serving's messages.
SERVER = """
import json, sys
sys.modules["keras"] = sys.modules["tfrun"] = None
import numpy as np
import tensorflow as tf
folder, *rows = sys.argv[1:]
numbers, towns = json.loads(rows[0]), json.loads(rows[1])
session = tf.compat.v1.Session(graph=tf.Graph())
with session.graph.as_default():
    loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], folder)
signature = loaded.signature_def["serving_default"]
fetched = {name: tensor.name for name, tensor in signature.outputs.items()}

def run(cells):
    return session.run(fetched, {signature.inputs[name].name: values for name, values in cells.items()})

result = {"method": signature.method_name, "inputs": sorted(signature.inputs), "outputs": {}, "warmed": None}
for size in (1, 7, 300):
    cells = {name: np.resize(np.array(values, "float32"), (size, 1)) for name, values in numbers.items()}
    cells["town"] = np.resize(np.array(towns, object), (size, 1))
    result["outputs"][size] = {name: values.tolist() for name, values in run(cells).items()}
try:
    from tensorflow_serving.apis import prediction_log_pb2
except ImportError:
    pass
else:
    result["warmed"] = []
    for record in tf.compat.v1.io.tf_record_iterator(folder + "/assets.extra/tf_serving_warmup_requests"):
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.signature_name == "serving_default"
        outputs = run({name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()})
        result["warmed"].append({name: values.shape for name, values in outputs.items()})
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of y = a − 2 b + self + the town's number, and of that number alone."""
    names = tensor_names(COLUMNS)
    rows = {name: keras.Input((1,), name=names[name], dtype=None if name != "town" else "string") for name in COLUMNS}
    number = keras.ops.cast(keras.layers.StringLookup(vocabulary=["Aix", "Köln"])(rows["town"]), "float32")
    a, b, c = (rows[name] for name in COLUMNS[:3])
    with pytest.warns(UserWarning, match="all keys in the dict must match"):
        model = keras.Model(rows, {"output": a - 2.0 * b + c + number, "town's number": number})
    path = tmp_path_factory.mktemp("served") / "1"
    serving.write(model, path)
    cells = {name: np.array([[1.5], [np.nan], [-2.0]], "float32") for name in COLUMNS[:3]}
    serving.add_requests(path, {**cells, "town": np.array([["Aix"], [""], ["Köln"]])})
    return path


def test_a_version_is_loaded_as_a_server_does(version: Path) -> None:
    numbers = {"größe (m²)": [1.0, 2.0, float("nan")], "größe [m²]": [0.5, 0.0, 1.0], "self": [0.0, 10.0, 3.0]}
    towns = ["Köln", "Aix", ""]
    arguments = [sys.executable, "-c", SERVER, str(version), json.dumps(numbers), json.dumps(towns)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["method"] == "tensorflow/serving/predict" and result["inputs"] == sorted(COLUMNS)
    first, second = [1.0 - 1.0 + 0.0 + 2.0], [2.0 - 0.0 + 10.0 + 1.0]  # Köln is 2, Aix 1, all else 0
    for size in (1, 7, 300):
        expected = np.resize([first, second, [np.nan]], (size, 1))
        np.testing.assert_allclose(result["outputs"][str(size)]["output"], expected)
        np.testing.assert_allclose(result["outputs"][str(size)]["town's number"], np.resize([2.0, 1.0, 0.0], (size, 1)))
    if result["warmed"] is None:
        pytest.skip("tensorflow-serving-api, of the extra test, isn't installed: the warm-up requests weren't replayed")
    assert result["warmed"] == [{name: [size, 1] for name in ("output", "town's number")} for size in (1, 2, 8, 32)]
