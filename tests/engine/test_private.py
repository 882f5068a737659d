"""The private names of Keras and TensorFlow: each does what tfrun needs of it, and is missed loudly once it is gone."""

from __future__ import annotations

import functools
import runpy
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf
from keras.src.backend.common import stateless_scope
from keras.src.backend.tensorflow.optimizer import TFOptimizer
from keras.src.optimizers.base_optimizer import BaseOptimizer
from tensorflow.python.client import device_lib
from tensorflow.python.eager import context
from tensorflow.python.framework import convert_to_constants, op_callbacks, random_seed
from tensorflow.python.grappler import tf_optimizer
from tensorflow.python.ops import random_ops
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from tfrun.engine import private
from tfrun.errors import LibraryChangedError


def test_a_profile_is_parsed() -> None:
    space = xplane_pb2.XSpace()
    space.planes.add(name="/host:CPU")
    assert private.parse_profile(space.SerializeToString()).planes[0].name == "/host:CPU"


def built_sgd() -> tuple[Any, Any]:
    """Returns SGD with a learning rate of 1, and the variable that it trains: 0."""
    variable, optimizer = keras.Variable(0.0), keras.optimizers.SGD(1.0)
    optimizer.build([variable])
    return variable, optimizer


def open_optimizers() -> None:
    with private.backend_neutral_optimizers([built_sgd()[1]]):
        pass


def begin_run(seed: int = 1) -> None:
    with private.keep_kernels():
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(seed)


def freeze() -> Any:
    variable = tf.Variable(2.0)
    return private.freeze_variables(tf.function(lambda x: variable * x).get_concrete_function(tf.TensorSpec([])))


@functools.cache  # TensorFlow optimizes while it freezes, too
def frozen_sum() -> Any:
    function = tf.function(lambda x: x + tf.constant(2.0) * tf.constant(3.0))
    return private.freeze_variables(function.get_concrete_function(tf.TensorSpec([])))


def optimized_operations() -> set[str]:
    """Returns the operations of x + (2 · 3) once what is constant has been computed."""
    frozen = frozen_sum()
    ends = {"inputs": frozen.inputs, "outputs": frozen.outputs}
    graph = private.optimized_graph(frozen.graph.as_graph_def(), ends=ends, optimizers=["constfold", "pruning"])
    return {node.op for node in graph.node}


def begin_another_run() -> None:
    private._stateful_draws.watch()
    begin_run()


def executed(function: Callable[[], Any]) -> list[tuple[str, list[Any], list[Any]]]:
    """Returns the type, the inputs and the outputs of each operation that a function executes."""
    operations: list[tuple[str, list[Any], list[Any]]] = []
    with private.executed_operations(lambda kind, *ends: operations.append((kind, *map(list, ends)))):
        function()
    return operations


AUTOGRAPH = tf.__internal__.autograph
NAMES: list[tuple[str, Any, str, Callable[[], Any]]] = [
    ("Keras", TFOptimizer, "_all_reduce_sum_gradients", lambda: private.keep_gradients_unsummed(built_sgd()[1])),
    ("Keras", keras.layers.Layer, "_flatten_layers", lambda: private.layers_of(keras.Sequential())),
    ("Keras", stateless_scope, "get_stateless_scope", private.open_stateless_scope),
    *[("Keras", TFOptimizer, name, open_optimizers) for name in private.METHODS_FOR_STRATEGIES],
    ("TensorFlow", tf, "__internal__", lambda: private.convert_to_autograph(abs)),
    ("TensorFlow", AUTOGRAPH, "tf_convert", lambda: private.convert_to_autograph(abs)),
    ("TensorFlow", AUTOGRAPH, "control_status_ctx", lambda: private.convert_to_autograph(abs)),
    ("TensorFlow", random_seed, "get_seed", begin_run),
    ("TensorFlow", random_ops, "random_seed", begin_run),
    ("TensorFlow", context.pywrap_tfe, "TFE_ContextClearCaches", begin_another_run),
    ("TensorFlow", convert_to_constants, "convert_variables_to_constants_v2", freeze),
    ("TensorFlow", tf_optimizer, "OptimizeGraph", lambda: optimized_operations()),
    ("TensorFlow", op_callbacks, "add_op_callback", lambda: executed(int)),
    ("TensorFlow", op_callbacks, "remove_op_callback", lambda: executed(int)),
    ("TensorFlow", device_lib, "list_local_devices", private.gpu_memory_limits),
    ("TensorFlow", context, "context", lambda: private.abort_exchanges("a test")),
    ("TensorFlow", context.Context, "abort_collective_ops", lambda: private.abort_exchanges("a test")),
    ("TensorFlow", context.Context, "get_config_key_value", lambda: private.when_terminated_early(lambda: None)),
]
MODULES = {
    "keras.src.backend.common.stateless_scope": "Keras",
    "keras.src.backend.tensorflow.optimizer": "Keras",
    "keras.src.optimizers.base_optimizer": "Keras",
    "tensorflow.python.client.device_lib": "TensorFlow",
    "tensorflow.python.eager.context": "TensorFlow",
    "tensorflow.python.framework.convert_to_constants": "TensorFlow",
    "tensorflow.python.framework.op_callbacks": "TensorFlow",
    "tensorflow.python.framework.random_seed": "TensorFlow",
    "tensorflow.python.grappler.tf_optimizer": "TensorFlow",
    "tensorflow.python.ops.random_ops": "TensorFlow",
}


@pytest.fixture(autouse=True)
def _not_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets each test begin as a process does, before its first run."""
    monkeypatch.setattr(private, "_stateful_draws", private._StatefulDraws())
    monkeypatch.setattr(random_seed, "get_seed", random_seed.get_seed)


@pytest.mark.parametrize(("library", "owner", "name", "use"), NAMES, ids=[name for _, _, name, _ in NAMES])
def test_a_private_name_that_is_gone_is_reported(
    library: str, owner: Any, name: str, use: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    use()
    monkeypatch.setattr(private, "_stateful_draws", private._StatefulDraws())
    monkeypatch.delattr(owner, name)
    with pytest.raises(LibraryChangedError, match=rf"^{library} changed \S*\b{name}\b"):
        use()


def test_what_is_constant_is_computed() -> None:
    assert "Mul" not in optimized_operations() and "AddV2" in optimized_operations()


@pytest.mark.parametrize("name", ["_trainable_variables", "_trainable_variables_indices"])
def test_an_attribute_of_an_optimizer_that_is_gone_is_reported(name: str) -> None:
    optimizer = built_sgd()[1]
    delattr(optimizer, name)
    with (
        pytest.raises(LibraryChangedError, match=f"^Keras changed SGD.{name}"),
        private.backend_neutral_optimizers([optimizer]),
    ):
        pass


def test_a_method_that_can_not_be_replaced_is_reported() -> None:
    class Stubborn(keras.layers.Layer):
        def __setattr__(self, name: str, value: Any) -> None:
            if name != "call":
                super().__setattr__(name, value)

    with pytest.raises(LibraryChangedError, match="^Keras changed Stubborn.call"):
        private.replace_method(Stubborn(), "call", method=lambda x: x)


def test_metrics_of_a_layer_that_are_gone_are_reported() -> None:
    layer = keras.layers.Dense(1)
    layer.mean = keras.metrics.Mean()
    assert private.own_metrics(layer) == [layer.mean]
    del layer.__dict__["_metrics"]
    with pytest.raises(LibraryChangedError, match="^Keras changed Dense._metrics"):
        private.own_metrics(layer)


def test_a_memory_limit_of_a_gpu_that_is_gone_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Device:
        device_type = "GPU"

    monkeypatch.setattr(device_lib, "list_local_devices", lambda: [Device()])
    with pytest.raises(LibraryChangedError, match="^TensorFlow changed Device.memory_limit"):
        private.gpu_memory_limits()


@pytest.mark.parametrize(("module", "library"), MODULES.items())
def test_a_private_module_that_is_gone_is_reported(module: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package, _, name = module.rpartition(".")
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delattr(sys.modules[package], name, raising=False)
    with pytest.raises(LibraryChangedError, match=f"^{library} changed {package}"):
        runpy.run_path(str(private.__file__))


def test_importing_the_engine_replaces_nothing() -> None:
    code = """
import tensorflow as tf, keras
from tensorflow.python.framework import random_seed
from tensorflow.python.eager import context
from keras.src.backend.tensorflow.optimizer import TFOptimizer
before = random_seed.get_seed, context.pywrap_tfe.TFE_ContextClearCaches, dict(vars(TFOptimizer))
from tfrun.engine import experiment
assert before == (random_seed.get_seed, context.pywrap_tfe.TFE_ContextClearCaches, dict(vars(TFOptimizer)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_gradients_are_not_summed_over_replicas_again() -> None:
    """One replica's gradient is 1 and a step's length 1: without Keras' sum the variable moves by 1, with it by 2."""
    code = """
import keras, tensorflow as tf
from tfrun.engine import private
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for is_kept in (True, False):
    with strategy.scope():
        variable, optimizer = keras.Variable(0.0), keras.optimizers.SGD(1.0)
        if is_kept:
            private.keep_gradients_unsummed(optimizer)
        optimizer.build([variable])
    tf.function(lambda: strategy.run(lambda: optimizer.apply([tf.constant(1.0)])))()
    print(float(variable.numpy()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["-1.0", "-2.0"], done.stderr


def test_the_first_replica_keeps_the_seeds_of_one_device() -> None:
    """Those of the others are in tests/end_to_end/test_mirrored.py."""
    method = keras.random.SeedGenerator.next
    seeds = [keras.random.SeedGenerator(3).next().numpy().tolist()]
    with private.seeds_of_replicas():
        assert keras.random.SeedGenerator.next is not method
        seeds.append(keras.random.SeedGenerator(3).next().numpy().tolist())
    assert seeds == [[3, 0], [3, 0]] and keras.random.SeedGenerator.next is method


def test_layers_are_found_at_any_depth() -> None:
    inner = keras.Sequential([keras.layers.Dense(1)])
    outer = keras.Sequential([inner])
    assert {id(layer) for layer in private.layers_of(outer)} == {id(outer), id(inner), id(inner.layers[0])}


def test_keras_calls_the_replacement_of_a_method() -> None:
    layer, metric = keras.layers.Activation("linear"), keras.metrics.Mean()
    private.replace_method(layer, "call", method=lambda x: 2.0 * x)
    update = metric.update_state
    private.replace_method(metric, "update_state", method=lambda x: update(3.0 * x))
    assert float(layer(tf.constant(1.0))) == 2.0
    assert float(metric(tf.constant(1.0))) == 3.0


def test_the_open_stateless_scope_is_found() -> None:
    assert private.open_stateless_scope() is None
    with keras.StatelessScope() as scope:
        assert private.open_stateless_scope() is scope


def test_a_neutral_optimizer_leaves_the_variables_to_the_scope() -> None:
    variable, optimizer = built_sgd()
    before = dict(vars(TFOptimizer))
    with keras.StatelessScope() as scope, private.backend_neutral_optimizers([optimizer]):
        optimizer.apply([tf.constant(1.0)])
        assert float(scope.get_current_value(variable)) == -1.0
    assert float(variable) == 0.0
    assert dict(vars(TFOptimizer)) == before
    optimizer.apply([tf.constant(1.0)])
    assert float(variable) == -1.0


def test_keras_has_no_further_method_for_strategies() -> None:
    """One that is new would write to the variables past the stateless scope."""
    not_needed = {"add_variable_from_reference", "stateless_apply", "_backend_increment_gradient_accumulators"}
    not_needed |= {"_clip_by_norm"}
    shared = {name for name in vars(TFOptimizer) if hasattr(BaseOptimizer, name) and not name.startswith("__")}
    assert shared - not_needed == set(private.METHODS_FOR_STRATEGIES)


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Is added to whenever TensorFlow forgets its kernels; a first run has been prepared."""
    times: list[int] = []
    forget = context.pywrap_tfe.TFE_ContextClearCaches

    def noting(handle: object) -> None:
        times.append(1)
        forget(handle)

    begin_run()
    monkeypatch.setattr(context.pywrap_tfe, "TFE_ContextClearCaches", noting)
    return times


def test_kernels_are_kept_if_only_stateless_ops_are_random(forgotten: list[int]) -> None:
    drawn = []
    for seed in (1, 2, 1):
        begin_run(seed)
        drawn.append(keras.random.normal([4]).numpy().tolist())
    assert drawn[0] == drawn[2] != drawn[1]
    assert forgotten == []


def test_kernels_are_forgotten_if_an_op_has_a_state(forgotten: list[int]) -> None:
    drawn = []
    for _ in range(3):
        begin_run()
        drawn.append(tf.random.normal([4]).numpy().tolist())
        tf.random.normal([4])
    assert drawn[0] == drawn[1] == drawn[2]
    assert len(forgotten) == 4  # twice in each run but the first


def test_operations_are_followed_while_they_are_executed() -> None:
    """A function is one operation, also when it is traced first."""
    one, two = tf.constant(1.0), tf.constant(2.0)
    add = tf.function(lambda a, b: tf.add(a, b) * a)
    results: list[Any] = []
    operations = executed(lambda: results.extend([tf.multiply(one, two), add(one, two)]))
    assert len(operations) == 2 and executed(lambda: None) == []
    for (_, inputs, outputs), result in zip(operations, results, strict=True):
        assert inputs[0] is one and inputs[1] is two and outputs[0] is result
    assert operations[0][0] == "Mul"
    tf.multiply(one, two)
    assert len(operations) == 2


def test_variables_become_constants() -> None:
    frozen = freeze()
    assert len(frozen.inputs) == 1 and frozen.variables == ()
    assert float(frozen(tf.constant(3.0))[0]) == 6.0
