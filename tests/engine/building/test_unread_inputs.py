from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.building.kinds import Named
from tfrun.engine.building.unread_inputs import Reads, warn_of_unread

INPUTS = {
    "numbers": np.array([[1.0, 2.0], [3.0, 4.0]], "float32"),
    "categories": np.array([[1], [2]], "int32"),
    "words": np.array([[3, 0], [4, 1]], "int32"),
}
TABLE = tf.Variable(np.zeros((5, 1), "float32"))
STATE = tf.Variable(np.zeros((2, 1), "float32"))


@tf.function
def first(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values[:, :1], tf.float32)


def kept(inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    STATE.assign(inputs["numbers"][:, :1])
    return tf.cast(inputs["categories"], tf.float32) + STATE


def as_many_ones(inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    return inputs["numbers"][:, :1] * tf.cast(tf.ones_like(inputs["categories"]), tf.float32)


class Calling(keras.Model):
    """A model that returns what a function of its inputs returns."""

    def __init__(self, function: Callable[[Any], Any]):
        super().__init__()
        self.function = function

    def call(self, inputs: Any) -> Any:
        return self.function(inputs)


def unread(model: keras.Model, inputs: Any = INPUTS) -> list[str]:
    reads = Reads(inputs)
    with reads.recorded():
        outputs = model(reads.inputs, training=False)
    return reads.unread(model, outputs)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x["numbers"][:, :1], ["categories", "words"]),
        (lambda x: 0.0 * x["numbers"][:, :1] + first(x["words"]), ["categories"]),
        (lambda x: {"output": x["numbers"], "other": tf.gather(TABLE, x["categories"][:, 0])}, ["words"]),
        (lambda x: tf.nn.embedding_lookup(TABLE, x["categories"][:, 0]), ["numbers", "words"]),  # weights of 0
        (kept, ["words"]),
        (as_many_ones, ["categories", "words"]),
        (lambda x: tf.reshape(x["numbers"], [tf.shape(x["words"])[0], -1]), ["categories", "words"]),
        (lambda x: tf.py_function(lambda a: a, [x["words"]], tf.int32), ["numbers", "categories"]),
        (lambda x: tf.map_fn(lambda row: row[:1], x["numbers"]), ["categories", "words"]),
        (lambda x: tf.constant([[1.0], [2.0]]), []),  # not judged
    ],
)
def test_what_a_model_does_not_read(function: Callable[[Any], Any], expected: list[str]) -> None:
    assert unread(Calling(function)) == expected


def test_a_loss_that_a_model_adds_is_a_use() -> None:
    class WithLoss(keras.Model):
        def call(self, inputs: Any) -> Any:
            self.add_loss(tf.reduce_mean(tf.cast(inputs["words"], tf.float32)))
            return inputs["numbers"][:, :1]

    assert unread(WithLoss()) == ["categories"]


def test_layers_of_keras() -> None:
    embedding, recurrent, head = keras.layers.Embedding(5, 3), keras.layers.GRU(2), keras.layers.Dense(1)
    assert unread(Calling(lambda x: head(recurrent(embedding(x["words"]))))) == ["numbers", "categories"]


def test_a_single_input_is_not_judged() -> None:
    zeros = Calling(lambda x: tf.zeros([2, 1]))
    assert unread(zeros, {"numbers": INPUTS["numbers"]}) == unread(zeros, INPUTS["numbers"]) == []


def column(name: str) -> Any:
    return SimpleNamespace(name=name)


def test_the_advice() -> None:
    preprocessing = cast(
        Preprocessing,
        SimpleNamespace(
            numbers=[column("x")],
            categories=[column("kind"), column("a town")],
            tokens=[column("numbers")],
            arrays=[column("photo")],
            input_name=lambda column: {"numbers": "numbers_"}.get(column.name, column.name),
        ),
    )
    named = Named("model", "mine", "mine.py:1")
    begin = "model: mine (mine.py:1) doesn't read inputs["
    kinds = ["categories", "numbers_"]
    assert warn_of_unread(kinds, named, preprocessing=preprocessing, excluded=["id"]) == [
        f"{begin}'categories'], so no prediction depends on the columns 'kind', 'a town'. Let the model read them, or "
        "leave them out with 'data.exclude=[id,kind,\"a town\"]'",
        f"{begin}'numbers_'], so no prediction depends on the column 'numbers'. Let the model read it, or leave it out "
        "with 'data.exclude=[id,kind,\"a town\",numbers]'",
    ]
    assert warn_of_unread(["photo"], named, preprocessing=preprocessing, excluded=None) == [
        f"{begin}'photo'], so no prediction depends on the column 'photo'. Let the model read it"
    ]


CSV = "x,kind,review,y\n" + "".join(f"{k % 7},{'ab'[k % 2]},good w{k % 3},{k % 5}\n" for k in range(40))


FOR_TABLES = ["wide_deep", "deepfm", "dcn_v2", "two_tower", "mlp", "linear", "residual_mlp", "sequential", "multi_task"]
FOR_TABLES += ["mc_dropout", "fixed_point", "reconstructing_regressor", "residual_regressor"]


@pytest.mark.parametrize("model", FOR_TABLES)
def test_no_model_that_ships_is_warned_of(model: str, small: Any, tmp_path: Path) -> None:
    """Many of their weights are 0 at first, so that no output changes with an input."""
    (tmp_path / "rows.csv").write_text(CSV)
    words = ["data=csv", f"data.path={tmp_path}/rows.csv", "data.target=y", "data.batch_size=8", f"model={model}"]
    words += ["model.user=[x,kind]"] if model == "two_tower" else []
    pieces = small.pieces(*words, "data.text={review: {name: tokens, length: 3}}")
    assert sorted(pieces.examples.inputs) == ["categories", "numbers", "review"]
    assert pieces.parts.warnings == ()


def test_a_model_that_reads_some_columns_is_warned_of(small: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(CSV)
    words = ["data=csv", f"data.path={tmp_path}/rows.csv", "data.target=y", "data.batch_size=8", "model=two_tower"]
    (warning,) = small.pieces(*words, "model.user=[kind]", "model.item=[review]").parts.warnings
    assert "doesn't read inputs['numbers'], so no prediction depends on the column 'x'." in warning


def documented_models(root: Path) -> str:
    """Returns the code of the section `I have a Keras model` of docs/components.md."""
    page = (root / "docs" / "components.md").read_text()
    section = page.partition("### I have a Keras model\n")[2].partition("\n### ")[0]
    code = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert [len(block.splitlines()) for block in code] == [5, 5]
    return "\n\n".join(code)


NETWORKS = """
import keras
from tfrun import register

def build_network(num_inputs, num_outputs):
    x = keras.Input((num_inputs,))
    return keras.Model(x, keras.layers.Dense(num_outputs)(keras.layers.Dense(4, activation="relu")(x)))

@keras.saving.register_keras_serializable("mine")
class MyNetwork(keras.Model):
    def __init__(self, num_outputs, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(4, activation="relu")
        self.head = keras.layers.Dense(num_outputs)

    def call(self, x):
        return self.head(self.hidden(x))

    def get_config(self):
        return {**super().get_config(), "num_outputs": self.head.units}

"""
WARNING = """\
warning: model: {name} ({file}:{line}) doesn't read inputs['categories'], so no prediction depends on the columns
'kind', 'review'. Let the model read them, or leave them out with data.exclude=[kind,review]"""


@pytest.mark.parametrize("name", ["my_functional", "my_subclassed"])
def test_the_models_of_the_documentation(name: str, root: Path, tmp_path: Path, warm_tfrun: Callable[..., Any]) -> None:
    source = NETWORKS + documented_models(root)
    (tmp_path / "mine.py").write_text(source)
    (tmp_path / "rows.csv").write_text(CSV)
    line = source.splitlines().index(f"def {name}(features, num_outputs):") + 1
    words = ["plugins=[mine]", f"model={name}", "data=csv", "data.path=rows.csv", "data.target=y"]
    warning = " ".join(WARNING.format(name=name, file=tmp_path / "mine.py", line=line).split())
    for command in (["check"], ["trainer.max_epochs=1"]):
        done = warm_tfrun(*command, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert warning in " ".join(done.stdout.split())
    done = warm_tfrun(*words, "trainer.max_epochs=1", "data.exclude=[kind,review]")
    assert done.returncode == 0 and "warning" not in done.stdout
    (run,) = (folder for folder in tmp_path.glob("outputs/default/*") if "exclude: null" in read_config(folder))
    for format in ("saved_model", "keras"):
        exported = warm_tfrun("export", str(run), f"format={format}")
        assert exported.returncode == 0, exported.stdout + exported.stderr


def read_config(folder: Path) -> str:
    return (folder / "config.yaml").read_text()


PARTIAL = """
import keras
from tfrun import register

@register.model("partial")
def partial(features, num_outputs):
    \"\"\"A functional model of the texts' words.\"\"\"
    words = keras.Input((3,), dtype="int32")
    x = keras.layers.Flatten()(keras.layers.Embedding(99, 2)(words))
    return keras.Model({"review": words}, keras.layers.Dense(num_outputs)(x))
"""


def test_a_functional_model_of_some_inputs(tmp_path: Path, warm_tfrun: Callable[..., Any]) -> None:
    """Its only input would get the categories, which come first in the order of the names."""
    (tmp_path / "mine.py").write_text(textwrap.dedent(PARTIAL))
    (tmp_path / "rows.csv").write_text(CSV)
    words = ["plugins=[mine]", "model=partial", "data=csv", "data.path=rows.csv", "data.target=y"]
    words += ["data.text={review: {name: tokens, length: 3}}", "trainer.max_epochs=1"]
    done = warm_tfrun(*words)
    text = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "doesn't read inputs['numbers'], so no prediction depends on the column 'x'" in text
    assert "doesn't read inputs['categories'], so no prediction depends on the column 'kind'" in text
    assert "out with data.exclude=[x,kind]" in text
    done = warm_tfrun("check", *words, "format=keras")
    assert done.returncode == 0, done.stdout + done.stderr
