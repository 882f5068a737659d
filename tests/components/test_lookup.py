"""Tables are read by rows: the gradient has rows, and no program reads a whole table."""

import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.layers.lookup import Lookup, add_table, rows_of
from tfrun.components.models.dcn_v2 import DeepAndCross
from tfrun.components.models.deepfm import DeepFM
from tfrun.components.models.sequence import sequence
from tfrun.components.models.two_tower import TwoTower
from tfrun.components.models.wide_deep import WideDeep
from tfrun.data.table import Features

TABLE = Features({"a": ()}, {"city": 4, "kind": 3}, {}, {"words": (5, 4)})
WORDS = Features({}, {}, {}, {"words": (5, 4)})
IDS = tf.constant([[2, 3, 2, 0], [4, 0, 0, 0]])
ROW_INPUTS = {"numbers": tf.ones([2, 1]), "categories": tf.constant([[1, 2], [3, 2]]), "words": IDS}
CASES = {
    "wide_deep": (WideDeep, TABLE, ROW_INPUTS, 4),
    "sequence": (sequence, WORDS, {"words": IDS}, 1),
}


@pytest.fixture(params=["float32", "mixed_float16", "mixed_bfloat16"])
def precision(request: Any) -> Any:
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def is_table(variable: Any) -> bool:
    return variable.path.endswith(("table", "embeddings", "importance"))


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("case", CASES)
def test_gradients_of_tables_have_rows(precision: str, mode: str, case: str) -> None:
    make, features, inputs, num_tables = CASES[case]
    model: Any = make(features, 1)
    tables = [variable for variable in model.trainable_variables if is_table(variable)]
    assert len(tables) == num_tables
    seen: list[Any] = []

    def gradients() -> list[Any]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((tf.cast(model(inputs, training=True), tf.float32) - 1.0) ** 2)
        seen[:] = tape.gradient(loss, [table.value for table in tables])
        return [tf.convert_to_tensor(gradient) for gradient in seen]

    step: Any = gradients if mode == "eager" else tf.function(gradients, jit_compile=mode == "xla")
    dense = step()
    for gradient, table, sums in zip(seen, tables, dense, strict=True):
        assert isinstance(gradient, tf.IndexedSlices), table.path
        assert gradient.values.dtype == tf.float32
        assert gradient.values.shape.is_fully_defined() and gradient.indices.shape.is_fully_defined()
        assert gradient.values.shape[1:] == table.shape[1:]
        assert np.isfinite(sums).all()
    if mode != "eager":
        assert not whole_reads(step, tables)


@pytest.mark.parametrize(
    ("make", "num_tables"),
    [  # wide_deep and deepfm also have a weight for each id and token
        (functools.partial(WideDeep, embedding_rows=2), 6),
        (functools.partial(DeepFM, embedding_rows=2), 6),
        (functools.partial(DeepAndCross, embedding_rows=2), 4),
        (functools.partial(TwoTower, user=["a", "city"], embedding_rows=2), 6),
    ],
    ids=["wide_deep", "deepfm", "dcn_v2", "two_tower"],
)
def test_hashed_tables_of_all_models_have_rows(make: Any, num_tables: int) -> None:
    model = make(TABLE, 1)
    tables = [variable for variable in model.trainable_variables if is_table(variable)]
    assert len(tables) == num_tables
    seen: list[Any] = []

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(ROW_INPUTS, training=True) - 1.0) ** 2)
        seen[:] = tape.gradient(loss, [table.value for table in tables])
        return loss

    assert np.isfinite(step())
    assert [
        table.path for table, slope in zip(tables, seen, strict=True) if not isinstance(slope, tf.IndexedSlices)
    ] == []
    assert not whole_reads(step, tables)


def whole_reads(function: Any, tables: Any) -> list[str]:
    """Returns the paths of tables that a traced function reads as a whole, rather than by rows."""
    graph = function.get_concrete_function().graph
    handles = {graph.capture(table.value.handle).name: table.path for table in tables}
    reads = [op.inputs[0].name for op in graph.get_operations() if op.type == "ReadVariableOp"]
    gathers = {op.inputs[0].name for op in graph.get_operations() if op.type == "ResourceGather"}
    assert gathers >= handles.keys()
    return [handles[name] for name in reads if name in handles]


def test_whole_reads_are_seen() -> None:
    layer = Lookup(5, 2)
    layer.build()

    @tf.function
    def read() -> Any:
        return rows_of(layer.embeddings, IDS) + tf.reduce_sum(tf.convert_to_tensor(layer.embeddings))

    assert whole_reads(read, [layer.embeddings]) == ["lookup/embeddings"]


def test_rows_are_those_of_the_table_and_of_a_stateless_scope() -> None:
    layer = Lookup(3, 2, dtype="mixed_bfloat16")
    layer.build()
    layer.embeddings.assign([[1.0, 2.0], [3.0, 4.0], [1 / 3, 5.0]])
    assert rows_of(layer.embeddings, tf.constant([[2, 0]])).numpy().tolist() == [[[np.float32(1 / 3), 5.0], [1.0, 2.0]]]
    assert layer(tf.constant([[1]])).dtype == tf.bfloat16
    other = tf.constant([[0.0, 0.0], [7.0, 8.0], [0.0, 0.0]])
    with keras.StatelessScope([(layer.embeddings, other)]):
        assert rows_of(layer.embeddings, tf.constant([1])).numpy().tolist() == [[7.0, 8.0]]
        assert tf.cast(layer(tf.constant([1])), tf.float32).numpy().tolist() == [[7.0, 8.0]]
    assert rows_of(layer.embeddings, tf.constant([1])).numpy().tolist() == [[3.0, 4.0]]


def test_a_table_has_no_more_rows_than_ids_can_number() -> None:
    with pytest.raises(ValueError, match=r"at most 2,147,483,647 rows\. Received: 2,147,483,648"):
        add_table(keras.layers.Layer(), "table", shape=(2**31, 1), initializer="zeros")


def test_the_gradient_sums_the_rows_of_each_id() -> None:
    layer = Lookup(3, 2)
    layer.build()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([[0, 2], [2, 2]])) * [1.0, 10.0])
    gradient = tape.gradient(loss, layer.embeddings.value)
    assert tf.convert_to_tensor(gradient).numpy().tolist() == [[1.0, 10.0], [0.0, 0.0], [3.0, 30.0]]
