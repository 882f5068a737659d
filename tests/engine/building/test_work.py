"""The work of a model's call, counted by hand."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import keras
import pytest
import tensorflow as tf

from tfrun.data.table import Features
from tfrun.engine.building.work import Work, called_without_values, work_of


@pytest.fixture(autouse=True)
def _forget_models() -> Iterator[None]:
    yield
    keras.utils.clear_session()


def dense(units: int, *shape: int) -> Callable[[], keras.Model]:
    return lambda: keras.Sequential([keras.Input(shape), keras.layers.Dense(units)])


IMAGES = Features({}, {}, {"image": (28, 28, 3)})


@pytest.mark.parametrize(
    ("build", "shape", "expected"),
    [
        # 32 rows x 784 inputs x 300 units, two operations each; the kernel is the largest array
        (dense(300, 784), (784,), Work(2 * 32 * 784 * 300, 784 * 300)),
        # Keras multiplies (32, 7, 5) by (5, 2); the output has 32 x 7 x 2 values, the input is the largest array
        (dense(2, 7, 5), (7, 5), Work(2 * 32 * 7 * 5 * 2, 32 * 7 * 5)),
        (  # of 28 x 28 outputs, each of 8 filters sums over 3 x 3 x 3 values
            lambda: keras.Sequential([keras.layers.Conv2D(8, 3, padding="same")]),
            (28, 28, 3),
            Work(2 * 32 * 28 * 28 * 8 * 27, 32 * 28 * 28 * 8),
        ),
        (  # each output of a depthwise convolution sums over 3 x 3 values
            lambda: keras.Sequential([keras.layers.DepthwiseConv2D(3, padding="same")]),
            (28, 28, 4),
            Work(2 * 32 * 28 * 28 * 4 * 9, 32 * 28 * 28 * 4),
        ),
        (  # bsc,cd->bsd: each of 32 x 6 x 9 outputs sums over 4 values
            lambda: keras.Sequential([keras.layers.EinsumDense("bsc,cd->bsd", (6, 9))]),
            (6, 4),
            Work(2 * 32 * 6 * 9 * 4, 32 * 6 * 9),
        ),
        (  # ...c,cd->...d: the axes of the ellipsis stay
            lambda: keras.layers.Lambda(lambda x: tf.einsum("...c,cd->...d", x, tf.ones([4, 9]))),
            (6, 4),
            Work(2 * 32 * 6 * 9 * 4, 32 * 6 * 9),
        ),
    ],
)
def test_the_largest_operation(build: Callable[[], Any], shape: tuple[int, ...], expected: Work) -> None:
    assert work_of(build, Features({}, {}, {"x": shape}), num_rows=32) == expected


def test_a_table_of_ids_is_no_array_unless_all_of_it_is_read() -> None:
    class Model(keras.Model):
        def __init__(self, reads_all: bool):
            super().__init__()
            self.embed = keras.layers.Embedding(900, 4)
            self.reads_all = reads_all

        def call(self, inputs: Any) -> Any:
            vectors = self.embed(tf.cast(inputs, tf.int32))
            return vectors + tf.reduce_sum(self.embed.embeddings) if self.reads_all else vectors

    features = Features({}, {}, {"x": (3,)})
    by_rows = work_of(lambda: Model(reads_all=False), features, num_rows=5)
    assert by_rows is not None and by_rows.array == 5 * 3 * 4
    assert list(by_rows.tables.values()) == [900 * 4]
    assert work_of(lambda: Model(reads_all=True), features, num_rows=5) == Work(0, 900 * 4, {})


def test_a_table_has_inputs_of_all_kinds() -> None:
    features = Features({"a": (0.0,), "b": (0.0,)}, {"c": 50}, {}, {"text": (90, 7)})
    seen: dict[str, Any] = {}

    class Model(keras.Model):
        def call(self, inputs: Any) -> Any:
            seen.update({name: (value.dtype.name, value.shape.as_list()) for name, value in inputs.items()})
            return tf.matmul(inputs["numbers"], inputs["numbers"], transpose_a=True)

    # (2, 2) outputs that sum over 5 rows
    assert work_of(Model, features, num_rows=5) == Work(2 * 2 * 2 * 5, 35)
    assert seen == {"numbers": ("float32", [5, 2]), "categories": ("int32", [5, 1]), "text": ("int32", [5, 7])}


def test_nothing_is_drawn_and_no_variable_gets_a_value() -> None:
    built: list[keras.Model] = []

    def build() -> keras.Model:
        built.append(keras.Sequential([keras.layers.Dense(3), keras.layers.Dropout(0.5)]))
        return built[0]

    random.seed(7)
    expected = random.random()
    random.seed(7)
    assert work_of(build, IMAGES, num_rows=2) is not None
    assert random.random() == expected
    assert [variable._value for variable in built[0].trainable_variables] == [None, None]


def test_a_called_model_has_shapes_of_all_its_variables() -> None:
    class Model(keras.Model):
        def build(self, input_shape: Any) -> None:
            self.used = self.add_weight(shape=(4, 2), name="used")
            self.unused = self.add_weight(shape=(9,), name="unused")

        def call(self, x: Any) -> Any:
            return tf.matmul(x, self.used)

    features = Features({}, {}, {"x": (4,)})
    variables = called_without_values(Model, features, num_rows=3).variables
    assert [(variable.name, tuple(variable.shape)) for variable in variables] == [("used", (4, 2)), ("unused", (9,))]
    assert work_of(Model, features, num_rows=3) == Work(2 * 3 * 2 * 4, 12)


def test_a_loop_can_not_be_counted() -> None:
    assert work_of(lambda: keras.Sequential([keras.layers.GRU(4)]), Features({}, {}, {"x": (9, 2)}), num_rows=3) is None


def test_a_model_that_needs_values_raises() -> None:
    class NeedsValues(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs * float(inputs.numpy().mean())

    with pytest.raises(AttributeError):
        work_of(NeedsValues, IMAGES, num_rows=2)
