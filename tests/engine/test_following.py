"""A worker that follows: it does what is announced, in that order. Several are in end_to_end/test_workers.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest

from tfrun.engine import following
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.building.reuse import Reuse
from tfrun.engine.following import follow
from tfrun.errors import ConfigError, WorkerLostError
from tfrun.workers.channel import Message
from tfrun.workers.cluster import Cluster
from tfrun.workers.follower import Follower

BEGIN: list[Message] = [{"do": "build", "run": {}}, {"do": "build_program", "streams": False}]


class Announced:
    """Stands in for a follower: has the messages of worker 0, and keeps what is said to it. There is no cluster."""

    def __init__(self, messages: list[Message]):
        self.cluster: Any = None
        self.said: list[Any] = []
        self._messages: Iterator[Message] = iter(messages)

    def next(self, **_: Any) -> Message:
        return dict(next(self._messages))

    def say(self, do: str, **fields: Any) -> None:
        self.said.append((do, *fields.values()))

    def fail(self, error: BaseException) -> None:
        self.said.append(("failed", str(error)))

    def why_lost(self, seconds: float) -> None:
        return None

    def when_lost(self, call: Callable[[], object]) -> None:
        pass


def follow_announced(small: Any, *messages: Message, words: tuple[str, ...] = ()) -> tuple[int, list[Any]]:
    follower = Announced(list(messages))
    settings = small.settings("model=linear", "trainer.compile=eager", "data.batch_size=64", *words)
    try:
        code = follow(settings, small.catalog, table=small.table(), follower=cast(Follower, follower))
    except Exception as error:
        error.args = (*error.args, follower.said)
        raise
    return code, follower.said


def test_it_does_what_is_announced(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps change the weights and the optimizer; what is written afterwards stays."""
    built = []

    class Recorded(Reuse):
        def build_pieces(self, *args: Any, **options: Any) -> Pieces:
            built.append(super().build_pieces(*args, **options))
            return built[-1]

    monkeypatch.setattr(following, "Reuse", Recorded)
    weights = {"model/0000": np.full((12, 1), 0.25, np.float32)}
    code, said = follow_announced(
        small,
        *BEGIN,
        {"do": "keep_restored_weights", "step": 0},
        {"do": "run", "first_step": 0, "num_steps": 2, "mode": "eager"},
        {"do": "read"},
        {"do": "scale_learning_rates", "factor": 0.5},
        {"do": "load_best"},
        {"do": "evaluate", "arrays": {"rows": np.arange(8)}},
        {"do": "write", "arrays": weights},
        {"do": "end", "code": 0, "message": ""},
    )
    assert (code, said) == (0, [("ready",)])
    (pieces,) = built
    (group,) = pieces.parts.step.active
    assert int(group.optimizer.iterations) == 2
    assert float(group.base_learning_rate) == pytest.approx(0.0005)  # half of the default
    np.testing.assert_array_equal(pieces.parts.model.variables[0].numpy(), weights["model/0000"])


def test_it_says_why_it_fails(small: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        follow_announced(small, *BEGIN, words=("model=mlp", "optimizer.groups.all.match=nothing"))
    said = caught.value.args[-1]
    assert said[0] == ("ready",) and said[1][0] == "failed" and "optimizer.groups" in said[1][1]


def test_it_ends_with_the_exit_code_of_worker_0(small: Any) -> None:
    follower = Announced([{"do": "end", "code": 4, "message": "the loss is not finite"}])
    follower.cluster = Cluster(("a:1", "b:2"), 1, "TF_CONFIG")
    settings = small.settings("model=linear")
    with pytest.raises(WorkerLostError, match="worker 0 .* has ended: the loss is not finite") as caught:
        follow(settings, small.catalog, table=small.table(), follower=cast(Follower, follower))
    assert caught.value.exit_code == 4 and follower.said == [("ready",)]
