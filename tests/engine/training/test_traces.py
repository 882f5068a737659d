"""How often functions are traced, and which argument was new."""

from __future__ import annotations

import tensorflow as tf

from tfrun.engine.training.traces import Traces


def test_the_reason_for_a_trace_names_the_new_argument() -> None:
    traces = Traces()

    def add(pair: tuple[tf.Tensor, tf.Tensor], size: int) -> tf.Tensor:
        return pair[0] + pair[1] * size

    compiled = tf.function(traces.recorded("add", add), autograph=False)
    one, two = tf.constant([1.0]), tf.constant([1.0, 2.0])
    for _ in range(2):
        compiled((one, one), 2)
    assert traces.reasons == {"add": ["first"]} and traces.retraces == []
    compiled((one, two), 2)
    compiled((one, two), 3)
    compiled((one, one), 3)
    assert traces.retraces == [
        "add: pair.1 float32 (1,) → float32 (2,)",
        "add: size 2 → 3",
        "add: size 2 → 3",  # compared with the trace that is most like it
    ]
    traces.start()  # another run, with shapes of its own
    compiled((two, two), 3)
    assert traces.retraces == [] and len(traces.reasons["add"]) == 5
    compiled((two, one), 3)
    assert traces.retraces == ["add: pair.0 float32 (1,) → float32 (2,)"]
