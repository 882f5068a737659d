"""Every private name of Keras and TensorFlow that tfrun relies on.

Each function says why a public name will not do, and raises LibraryChangedError ("Keras changed …") as soon as the
library no longer has what it needs, since the alternative is often a wrong number and no error at all. Nothing of a
library is replaced when this module is imported: functions replace it when they are called, context managers only
while they are open.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrun.errors import library_changed, private_imports, private_name

with private_imports("Keras"):
    from keras.src.backend.common import stateless_scope
    from keras.src.backend.tensorflow.optimizer import TFOptimizer
    from keras.src.optimizers.base_optimizer import BaseOptimizer
    from keras.src.saving import saving_lib
with private_imports("TensorFlow"):
    from tensorflow.python.client import device_lib
    from tensorflow.python.eager import context
    from tensorflow.python.framework import convert_to_constants, op_callbacks, random_seed
    from tensorflow.python.grappler import tf_optimizer
    from tensorflow.python.ops import random_ops
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

# The methods of Keras' optimizers that Keras overrides on TensorFlow, for its strategies. They write to TensorFlow's
# variables directly, which a stateless scope can't see.
METHODS_FOR_STRATEGIES = (
    "assign",
    "assign_add",
    "assign_sub",
    "_apply_weight_decay",
    "_backend_update_step",
    "_overwrite_model_variables_with_average_value",
    "_var_key",
)

TERMINATED = "TF_DEFAULT_PREEMPTION_NOTICE_KEY"  # of the value that a worker's SIGTERM sets
SEEDS_APART = 40_503_001  # between two neighbouring replicas: far beyond the seeds that people choose


def parse_profile(data: bytes) -> Any:
    """Returns the `XSpace` in a file of TensorFlow's profiler.

    The profiler is public, but nothing public reads its file: TensorBoard's plugin for it is a package of its own.
    """
    return xplane_pb2.XSpace.FromString(data)


def abort_exchanges(reason: str) -> None:
    """Makes every exchange with other workers fail, also one that waits; called from another thread.

    Without it, TensorFlow notices only after some seconds that a worker has ended, unless the two were just sending.
    TensorFlow has a public way to receive such an error, but none to cause it.
    """
    use = "end a step whose workers are gone"
    runtime = private_name(context, "context", library="TensorFlow", use=use)()
    private_name(runtime, "abort_collective_ops", library="TensorFlow", use=use)(tf.errors.UNAVAILABLE, reason)


def when_terminated_early(call: Callable[[], object], seconds: float = 3.0) -> None:
    """Calls a function, in another thread, if a worker has received SIGTERM while TensorFlow made the strategy.

    TensorFlow has a handler of its own then. It lets all workers know by a key, and does nothing else.

    Args:
        call: what to do.
        seconds: how long to wait for the key: TensorFlow's own thread sets it.
    """
    use = "stop after a SIGTERM that TensorFlow has received"
    runtime = private_name(context, "context", library="TensorFlow", use=use)()
    read = private_name(runtime, "get_config_key_value", library="TensorFlow", use=use)

    def watch() -> None:
        with contextlib.suppress(tf.errors.OpError):  # no such key by then, or the run has ended
            read(TERMINATED, timeout_in_ms=int(1000 * seconds))
            call()

    threading.Thread(target=watch, name="early SIGTERM", daemon=True).start()


def keep_gradients_unsummed(optimizer: Any) -> None:
    """Makes an optimizer apply the gradients that it gets, instead of their sum over the replicas.

    tfrun's step has summed them already: Keras' own sum would double them on two replicas, without any error. It is
    replaced on one device too, where TensorFlow would keep every program that was traced with it in memory.
    """
    private_name(
        keras.optimizers.Optimizer, "_all_reduce_sum_gradients", library="Keras", use="sum gradients once, not twice"
    )
    optimizer._all_reduce_sum_gradients = _return_gradients


def _return_gradients(gradients: Any) -> Any:
    return gradients


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns a model and all layers in it, however deep they are nested.

    The public `model.layers` leaves out the model itself and the layers inside of layers.
    """
    return private_name(model, "_flatten_layers", library="Keras", use="find all layers of a model")()


class _Places(saving_lib.H5IOStore):
    """What Keras saves weights to, where it only writes down which variable would be saved at which place."""

    def __init__(self) -> None:
        self.found: dict[int, dict[str, str]] = {}
        self._names: dict[str, str] = {}
        self._path = ""

    def __bool__(self) -> bool:
        return True

    def make(self, path: str, metadata: dict[str, Any] | None = None) -> _Places:
        self._path = path
        self._names[path] = (metadata or {}).get("name") or ""
        return self

    def __setitem__(self, key: str, value: Any) -> None:
        parts = self._path.split("/") if self._path else []
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        layers = [name for path in above if (name := self._names.get(path))]
        places = "/".join([*parts, "vars", key])
        self.found[id(value)] = {"place": places, "layer": "/".join([*layers, "vars", key])}

    def __len__(self) -> int:
        return len(self.found)


def places_of_variables(model: keras.Model) -> dict[int, dict[str, str]]:
    """Returns how Keras' files name the variables of a model, by identity.

    `place` is that of its array in a file, `layers/dense/vars/0`, and `layer` the names of the layers that it is in
    and its place in the last one, `dense/vars/0`. Keras makes them up while it saves, and has no public way to ask for
    them. A variable that a layer saves in a way of its own is missing.
    """
    save = private_name(saving_lib, "_save_state", library="Keras", use="find a variable's place in a file of weights")
    places = _Places()
    adapted = [layer for layer in layers_of(model) if getattr(layer, "lora_enabled", False)]
    try:
        for layer in adapted:
            layer.lora_enabled = False  # it would save the sum of its kernel and what it has learnt beside it
        save(model, weights_store=places, assets_store=None, inner_path="", visited_saveables=set())
    finally:
        for layer in adapted:
            layer.lora_enabled = True
    return places.found


def own_metrics(layer: keras.layers.Layer) -> list[keras.metrics.Metric]:
    """Returns the metrics that a layer holds as attributes.

    The author of a layer may override the public `layer.metrics`, to return only some of them.
    """
    return private_name(layer, "_metrics", library="Keras", use="export the variables of a model's metrics")


def convert_to_autograph(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function converted by AutoGraph: its `if` and `for` may depend on tensors.

    The public `tf.autograph.to_graph` raises for a function whose source can't be read, as of a built-in or of a lambda
    in an interactive session. This one leaves such a function as it is.
    """
    internal = private_name(tf, "__internal__", library="TensorFlow", use="convert a component's control flow")
    autograph = private_name(internal, "autograph", library="TensorFlow", use="convert a component's control flow")
    convert = private_name(autograph, "tf_convert", library="TensorFlow", use="convert a component's control flow")
    status = private_name(
        autograph, "control_status_ctx", library="TensorFlow", use="convert a component's control flow"
    )
    return convert(function, status())


def replace_method(part: Any, name: str, *, method: Callable[..., Any]) -> None:
    """Replaces a method of one Keras object only: a layer's `call`, a metric's `update_state`.

    Both names are public. But Keras doesn't promise to look them up on the object, where it finds the replacement.
    """
    private_name(type(part), name, library="Keras", use="convert a component's control flow")
    setattr(part, name, method)
    if getattr(part, name) is not method:
        raise library_changed("Keras", f"{type(part).__name__}.{name}", use="convert a component's control flow")


@contextlib.contextmanager
def method_replaced(part: Any, name: str, *, method: Callable[..., Any]) -> Iterator[None]:
    """Replaces a method of one Keras object inside the context, see `replace_method`."""
    earlier = vars(part).get(name)
    replace_method(part, name, method=method)
    try:
        yield
    finally:
        if earlier is None:
            delattr(part, name)
        else:
            setattr(part, name, earlier)


def open_stateless_scope() -> Any:
    """Returns the `keras.StatelessScope` that is open, or None.

    Keras exports the scope, but not the function that returns the open one.
    """
    return private_name(stateless_scope, "get_stateless_scope", library="Keras", use="train several runs together")()


@contextlib.contextmanager
def backend_neutral_optimizers(optimizers: Sequence[Any]) -> Iterator[None]:
    """Makes optimizers work inside a stateless scope, by the methods that Keras gives them on its other backends.

    On TensorFlow they refuse: `stateless_apply` raises, as their methods serve TensorFlow's strategies.
    """
    use = "train several runs together"
    neutral = {name: private_name(BaseOptimizer, name, library="Keras", use=use) for name in METHODS_FOR_STRATEGIES}
    for name in METHODS_FOR_STRATEGIES:
        if name not in vars(TFOptimizer):  # then another class has it, and what is replaced here has no effect
            raise library_changed("Keras", f"TFOptimizer.{name}", use=use)
    variables = [private_name(optimizer, "_trainable_variables", library="Keras", use=use) for optimizer in optimizers]
    indices = [
        private_name(optimizer, "_trainable_variables_indices", library="Keras", use=use) for optimizer in optimizers
    ]
    replaced = {name: vars(TFOptimizer)[name] for name in METHODS_FOR_STRATEGIES}
    try:
        for name, method in neutral.items():
            setattr(TFOptimizer, name, method)
        for optimizer, trained in zip(optimizers, variables, strict=True):
            optimizer._trainable_variables_indices = {id(variable): k for k, variable in enumerate(trained)}
        yield
    finally:
        for name, method in replaced.items():
            setattr(TFOptimizer, name, method)
        for optimizer, earlier in zip(optimizers, indices, strict=True):
            optimizer._trainable_variables_indices = earlier


@contextlib.contextmanager
def before_variables(check: Callable[[tuple[int, ...], str], None]) -> Iterator[None]:
    """Calls a function with the shape and dtype of each Keras variable that is about to get its memory.

    Keras says how large a model is once it is built, which is too late for one that is larger than the memory.
    """
    variables, name = keras.Variable, "_initialize_with_initializer"
    make = private_name(variables, name, library="Keras", use="refuse a model that is larger than the memory")

    def check_and_make(variable: Any, initializer: Any) -> None:
        check(tuple(variable.shape), variable.dtype)
        make(variable, initializer)

    setattr(variables, name, check_and_make)
    try:
        yield
    finally:
        setattr(variables, name, make)


@contextlib.contextmanager
def seeds_of_replicas() -> Iterator[None]:
    """Makes every seed generator return another seed on each replica; its state stays the same on all of them.

    Keras' generators give all replicas the same seed, so that dropout would use one mask for the shares of all
    replicas. Keras has no public way to change that for the layers that hold a generator.
    """
    generators = keras.random.SeedGenerator
    next_seed = private_name(generators, "next", library="Keras", use="draw other random numbers on each replica")

    def next_of_replica(generator: Any, *args: Any, **kwargs: Any) -> tf.Tensor:
        seed = next_seed(generator, *args, **kwargs)
        replica = tf.distribute.get_replica_context()
        if replica is None or tuple(seed.shape) != (2,):
            return seed
        return seed + tf.cast(tf.stack([SEEDS_APART * replica.replica_id_in_sync_group, 0]), seed.dtype)

    generators.next = next_of_replica
    try:
        yield
    finally:
        generators.next = next_seed


class _StatefulDraws:
    """Watches whether a random op with a state of its own has asked TensorFlow for a seed in this process.

    Attributes:
        is_watching: whether `watch` has been called.
        seen: whether an op has asked for a seed since.
    """

    def __init__(self) -> None:
        self.is_watching = False
        self.seen = False

    def watch(self) -> None:
        """Replaces, for good, the function that TensorFlow's stateful random ops get their seed from."""
        use = "tell whether a random op has a state"
        get_seed = private_name(random_seed, "get_seed", library="TensorFlow", use=use)
        if private_name(random_ops, "random_seed", library="TensorFlow", use=use) is not random_seed:
            raise library_changed("TensorFlow", "random_ops.random_seed", use=use)

        def record_and_get_seed(op_seed: Any) -> Any:
            self.seen = True
            return get_seed(op_seed)

        random_seed.get_seed = record_and_get_seed
        self.is_watching = True


_stateful_draws = _StatefulDraws()


def may_draw_statefully() -> bool:
    """Returns whether a random op with a state of its own may have been called in this process."""
    return _stateful_draws.seen or not _stateful_draws.is_watching


@contextlib.contextmanager
def keep_kernels() -> Iterator[None]:
    """Keeps TensorFlow's compiled kernels while, inside the context, it is seeded or Keras' session is cleared.

    TensorFlow would drop all its kernels then, since those of its stateful random ops hold a state. Compiling them
    again takes a third of the time of a sweep's short job. Keras' random ops are stateless, and most programs have no
    others: as long as no op with a state of its own has asked for a seed, the kernels are kept. TensorFlow has no
    public way to keep them.
    """
    if not _stateful_draws.is_watching:  # the first run of this process, which has no kernels to keep yet
        _stateful_draws.watch()
        yield
        return
    if _stateful_draws.seen:
        yield
        return
    runtime = private_name(context, "pywrap_tfe", library="TensorFlow", use="keep what it has compiled")
    clear_caches = private_name(
        runtime, "TFE_ContextClearCaches", library="TensorFlow", use="keep what it has compiled"
    )
    runtime.TFE_ContextClearCaches = lambda handle: None
    try:
        yield
    finally:
        runtime.TFE_ContextClearCaches = clear_caches


@contextlib.contextmanager
def executed_operations(record: Callable[[str, Sequence[Any], Sequence[Any]], None]) -> Iterator[None]:
    """Calls a function with the type, the inputs and the outputs of each operation that is executed in the context.

    Only eager operations count, and a function of TensorFlow is one operation. The public gradient tapes don't follow
    integers, and a graph of the same operations would take another trace.
    """
    use = "tell which inputs a model reads"
    add = private_name(op_callbacks, "add_op_callback", library="TensorFlow", use=use)
    remove = private_name(op_callbacks, "remove_op_callback", library="TensorFlow", use=use)

    def receive(kind: Any, inputs: Any, attributes: Any, outputs: Any, op_name: Any = None, graph: Any = None) -> None:
        if graph is None:
            record(tf.compat.as_str(kind), inputs, tf.nest.flatten(outputs))

    add(receive)
    try:
        yield
    finally:
        remove(receive)


def freeze_variables(function: Any, *, lowers_loops: bool = True) -> Any:
    """Returns a concrete function with its variables as constants, as converters need it.

    TensorFlow's public converter is of version 1, for graphs with sessions.

    Args:
        function: a concrete function.
        lowers_loops: whether loops and branches become operations of version 1, instead of functions that are called.
    """
    freeze = private_name(
        convert_to_constants, "convert_variables_to_constants_v2", library="TensorFlow", use="export a model as a graph"
    )
    return freeze(function, lower_control_flow=lowers_loops)


def optimized_graph(graph: Any, *, ends: Mapping[str, Sequence[tf.Tensor]], optimizers: Sequence[str]) -> Any:
    """Returns a graph that TensorFlow's Grappler has rewritten: constants folded, for example.

    TensorFlow optimizes graphs when it runs them, and has no public way to ask for the result.

    Args:
        graph: a GraphDef.
        ends: the tensors that stay, as "inputs" and "outputs".
        optimizers: Grappler's names of what it is to do.
    """
    use = "export a model as a graph"
    optimize = private_name(tf_optimizer, "OptimizeGraph", library="TensorFlow", use=use)
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.optimizers.extend(optimizers)
    config.graph_options.rewrite_options.min_graph_nodes = -1  # small graphs too
    meta = tf.compat.v1.MetaGraphDef(graph_def=graph)
    for name, tensors in ends.items():
        for tensor in tensors:
            info = getattr(meta.signature_def["serving_default"], name)[tensor.name]
            info.name, info.dtype = tensor.name, tensor.dtype.as_datatype_enum
            info.tensor_shape.CopyFrom(tensor.shape.as_proto())
    return optimize(config, meta)


def gpu_memory_limits() -> list[int]:
    """Returns the memory that this process may use of each GPU, in bytes. Initializes every device of the machine.

    The public `tf.config.experimental.get_memory_info` returns the memory in use, not the limit, and
    `tf.config.get_logical_device_configuration` only a limit that a person has set.
    """
    use = "know whether the examples fit on the device"
    devices = private_name(device_lib, "list_local_devices", library="TensorFlow", use=use)()
    return [
        private_name(device, "memory_limit", library="TensorFlow", use=use)
        for device in devices
        if device.device_type == "GPU"
    ]
