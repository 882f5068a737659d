"""A network of keras.applications as the backbone of a model."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.layers.pixels import PixelScaling
from tfrun.components.models.pretrained import pretrained
from tfrun.data.table import Features
from tfrun.errors import ConfigError

SMALL = {"application": "mobilenet_v2", "alpha": 0.35, "weights": None}
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype("float32")


def features(*shape: int) -> Features:
    return Features({}, {}, arrays={"image": shape})


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "densenet", "efficientnet"])
@pytest.mark.parametrize("white", [1.0, 255.0])
def test_pixels_are_scaled_as_the_network_was_trained(name: str, white: float) -> None:
    """Of the modes tf, caffe (which swaps red and blue), torch and none."""
    preprocess = getattr(keras.applications, name).preprocess_input
    layer = PixelScaling.like(preprocess, white=white)
    expected = preprocess(PIXELS.copy())
    np.testing.assert_allclose(layer(PIXELS * white / 255), expected, rtol=1e-5, atol=1e-4)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    np.testing.assert_array_equal(again(PIXELS), layer(PIXELS))


def test_images_of_one_channel_become_red_green_and_blue() -> None:
    layer = PixelScaling((1, 2, 3), (0, 0, 10))
    assert layer(np.full((1, 1, 1, 1), 2.0, np.float32)).numpy().ravel().tolist() == [2.0, 4.0, 16.0]


def test_variables_are_the_backbone_s_or_the_head_s() -> None:
    model = pretrained(features(32, 32), 5, backbone=SMALL, head=[keras.layers.Dense(4, name="hidden")])
    assert model(np.zeros((2, 32, 32), np.float32)).shape == (2, 5)
    of_head = [variable.path for variable in model.trainable_variables if variable.path.startswith("head/")]
    assert of_head == ["head/hidden/kernel", "head/hidden/bias", "head/output/kernel", "head/output/bias"]
    backbone = keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, weights=None, include_top=False)
    assert len(model.trainable_variables) == len(backbone.trainable_variables) + 4
    assert getattr(model, "first_weights", None) is None


def test_the_output_of_a_layer_in_the_middle() -> None:
    model = pretrained(features(32, 32, 3), 1, backbone={**SMALL, "cut": "block_3_expand_relu"}, size=[64, 64])
    assert (
        model.get_layer("backbone").output_shape[1:3] == (16, 16) or model.get_layer("backbone").output.shape[1] == 16
    )
    with pytest.raises(ConfigError, match=r"Did you mean 'block_3_expand_relu'\?"):
        pretrained(features(32, 32, 3), 1, backbone={**SMALL, "cut": "block_3_expand_rel"})


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((32,), {}, "needs images"),
        ((32, 32, 2), {}, "needs images of 1 or 3 channels"),
        ((32, 32), {"backbone": {"application": "mobilenet2"}}, r"Did you mean 'MobileNetV2'\?|Did you mean"),
        ((32, 32), {"backbone": {**SMALL, "aplha": 1.0}}, r"model\.backbone\.aplha|Did you mean 'alpha'"),
        ((32, 32), {"backbone": {**SMALL, "alpha": "small"}}, r"model\.backbone: "),
        ((32, 32), {"backbone": SMALL, "size": [32]}, r"model\.size: must be a height and a width"),
    ],
)
def test_wrong_parameters(shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pretrained(features(*shape), 1, **{"backbone": SMALL, **options})


WRITE = """
import keras, numpy as np
model = keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, weights=None, classes=7)
random = np.random.default_rng(3)
model.set_weights([abs(random.normal(size=w.shape)).astype("float32") for w in model.get_weights()])
model.save_weights("own.weights.h5")
model.save("own.keras")
model.save("old.h5")
np.save("first.npy", model.get_weights()[0])
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of files that plain Keras has written in another process."""
    folder = tmp_path_factory.mktemp("files")
    subprocess.run([sys.executable, "-c", WRITE], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", ["own.weights.h5", "own.keras", "old.h5"])
def test_a_whole_network_s_file_gives_the_backbone_its_weights(files: Path, name: str) -> None:
    from tfrun.config.settings import InitSettings
    from tfrun.engine.building.initial_weights import begin

    model = pretrained(features(32, 32, 3), 5, backbone={**SMALL, "weights": str(files / name)})
    head = model.get_layer("head").get_weights()
    origins = begin(model, InitSettings(), inputs=None, preprocessing=None)  # type: ignore[arg-type]
    assert origins is not None
    backbone = model.get_layer("backbone")
    assert len(origins.copied) == len(backbone.variables)
    assert {origin.variable for origin in origins.new} == {v.path for v in model.get_layer("head").variables}
    assert len(origins.unused) == 2  # the classes of the whole network
    np.testing.assert_array_equal(backbone.variables[0], np.load(files / "first.npy"))
    for value, expected in zip(model.get_layer("head").get_weights(), head, strict=True):
        np.testing.assert_array_equal(value, expected)


WRITE_OWN = """
import keras, numpy as np
keras.utils.set_random_seed(1)
model = keras.Sequential([
    keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, name="convolution"), keras.layers.GlobalMaxPooling2D(),
    keras.layers.Dense(6, name="embedding"), keras.layers.Dense(3, name="classes")], name="mine")
model.compile("adam", "mse")
model.save("mine.keras")
np.save("outputs.npy", keras.Model(model.inputs, model.get_layer("embedding").output)(np.ones((2, 8, 8, 1))))
"""


def test_the_model_of_a_file_up_to_a_layer(tmp_path: Path) -> None:
    from tfrun.config.settings import InitSettings
    from tfrun.engine.building.initial_weights import begin

    subprocess.run([sys.executable, "-c", WRITE_OWN], cwd=tmp_path, check=True, capture_output=True)
    backbone = {"keras": str(tmp_path / "mine.keras"), "cut": "embedding"}
    model = pretrained(features(8, 8), 2, backbone=backbone)
    origins = begin(model, InitSettings(), inputs=None, preprocessing=None)  # type: ignore[arg-type]
    assert origins is not None and len(origins.copied) == 4 and len(origins.unused) == 2
    images = np.ones((2, 8, 8), np.float32)
    inner = keras.Model(model.input, model.get_layer("head").input)
    np.testing.assert_allclose(inner(images), np.load(tmp_path / "outputs.npy"), rtol=1e-5)
    with pytest.raises(ConfigError, match=r"needs images \(8, 8, 1\)"):
        pretrained(features(9, 9), 2, backbone=backbone)
    with pytest.raises(ConfigError, match="no such file"):
        pretrained(features(8, 8), 2, backbone={"keras": "nowhere.keras"})
    with pytest.raises(ConfigError, match="takes one of application, preset, keras, saved_model"):
        pretrained(features(8, 8), 2, backbone={**SMALL, "keras": "mine.keras"})


WRITE_SAVED_MODELS = """
import keras, numpy as np, tensorflow as tf
keras.utils.set_random_seed(1)
model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(),
                          keras.layers.GlobalMaxPooling2D()])
model.layers[1].set_weights([np.full(4, value, np.float32) for value in (2.0, 1.0, 0.5, 4.0)])
images = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype("float32")
np.savez("vectors.npz", images=images, vectors=model(images, training=False))
model.export("of_keras", verbose=False)

class OfHub(tf.Module):
    def __init__(self):
        self.factor = tf.Variable(3.0, name="scale/factor")

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1), tf.float32)])
    def vectors(self, images):
        means = tf.reduce_mean(images, axis=(1, 2))
        return {"default": self.factor * means, "other": tf.concat([means, means], axis=1)}

module = OfHub()
tf.saved_model.save(module, "of_hub", signatures=module.vectors)
"""


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved_models")
    subprocess.run([sys.executable, "-c", WRITE_SAVED_MODELS], cwd=folder, check=True, capture_output=True)
    return folder


def test_a_saved_model_s_function_gives_the_vectors(saved_models: Path) -> None:
    model = pretrained(features(8, 8), 2, backbone={"saved_model": str(saved_models / "of_keras")})
    with np.load(saved_models / "vectors.npz") as saved:
        images, vectors = saved["images"], saved["vectors"]
    inner = keras.Model(model.input, model.get_layer("head").input)
    np.testing.assert_allclose(inner(images[..., 0]), vectors, rtol=1e-5)
    paths = [variable.path for variable in model.trainable_variables]
    assert len(paths) == 6 and sum(path.startswith("head/") for path in paths) == 2
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images[..., 0]))
    assert all(gradient is not None for gradient in tape.gradient(loss, model.trainable_variables))


def test_another_s_saved_model(saved_models: Path) -> None:
    backbone = {"saved_model": str(saved_models / "of_hub"), "output": "default"}
    model = pretrained(features(8, 8), 2, backbone=backbone)
    inner = keras.Model(model.input, model.get_layer("head").input)
    np.testing.assert_allclose(inner(np.full((1, 8, 8), 2.0, np.float32)), [[6.0]])
    for change, message in (
        ({"output": None}, "needs the name of an output. Received: None. Known: default, other"),
        ({"endpoint": "serving_defualt"}, "Did you mean 'serving_default'?"),
        ({"saved_model": "nowhere"}, "no SavedModel's folder. Received: 'nowhere'"),
        ({"endpiont": "serve"}, "Did you mean 'endpoint'?"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            pretrained(features(8, 8), 2, backbone={**backbone, **change})
    with pytest.raises(ConfigError, match="can't be applied to images"):
        pretrained(features(9, 9), 2, backbone=backbone)
    (saved_models / "damaged").mkdir()
    (saved_models / "damaged" / "saved_model.pb").write_bytes(
        (saved_models / "of_hub/saved_model.pb").read_bytes()[:99]
    )
    with pytest.raises(ConfigError, match="can't be applied"):
        pretrained(features(8, 8), 2, backbone={"saved_model": str(saved_models / "damaged")})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "can't be used as a model"),
        (b"[" * 100_000, "can't be used as a model"),
        (
            b'{"module": "os", "class_name": "system", "config": {"command": "touch hacked"}}',
            "can't be used as a model",
        ),
        (None, "can't be used as a model"),
    ],
)
def test_damaged_and_crafted_keras_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "model.keras"
    if content is None:
        path.mkdir()
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", content)
    with pytest.raises(ConfigError, match=message):
        pretrained(features(8, 8), 2, backbone={"keras": str(path)})
    assert not Path("hacked").exists()


def test_a_network_of_several_outputs_needs_a_cut(tmp_path: Path) -> None:
    inputs = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten(name="flat")(inputs)
    two = keras.Model(inputs, [keras.layers.Dense(2, name="one")(flat), keras.layers.Dense(3, name="other")(flat)])
    two.save(tmp_path / "two.keras")
    with pytest.raises(ConfigError, match="has several outputs. Name the layer of one with cut. Received: one, other"):
        pretrained(features(8, 8), 2, backbone={"keras": str(tmp_path / "two.keras")})
    assert pretrained(features(8, 8), 2, backbone={"keras": str(tmp_path / "two.keras"), "cut": "other"})
    with pytest.raises(ConfigError, match=r"must be a \.keras file; weights alone go to init"):
        pretrained(features(8, 8), 2, backbone={"keras": "mine.weights.h5"})
