"""What `trainer.threads=auto` becomes. TensorFlow has started in this process, so its setting is a stand-in."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import keras
import pytest
import tensorflow as tf

from tfrun import host_cores
from tfrun.config.earlier_runs import as_it_began
from tfrun.config.settings import Settings
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Features
from tfrun.engine.building import threads
from tfrun.engine.building.work import Work

FITTED = cast(Preprocessing, SimpleNamespace(features=Features({}, {}, {"x": (512,)})))
HAS_GPU = bool(tf.config.list_physical_devices("GPU"))
pytestmark = pytest.mark.skipif(HAS_GPU, reason="operations run on the GPU")


class Setting:
    """TensorFlow's setting of the threads of an operation: 0 until it is set, fixed once the runtime has started."""

    def __init__(self) -> None:
        self.value = 0
        self.has_started = False

    def get(self) -> int:
        return self.value

    def set(self, value: int) -> None:
        if self.has_started and value != self.value:
            raise RuntimeError("Intra op parallelism cannot be modified after initialization.")
        self.value = value


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Setting:
    """The setting of a process that may use four cores."""
    setting = Setting()
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", setting.get)
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", setting.set)
    monkeypatch.setattr(host_cores, "num_cores", lambda: 4)
    return setting


def dense(units: int) -> Callable[[], keras.Model]:
    return lambda: keras.Sequential([keras.Input((512,)), keras.layers.Dense(units)])


def unused() -> keras.Model:
    raise AssertionError("not built")


# a batch of 32 x 512 inputs: 2 x 32 x 512 = 2^15 operations for each unit, so that 2^8 units have 2^23
@pytest.mark.parametrize(("units", "count"), [(2**8 - 1, 1), (2**8, 4)])
def test_a_small_model_has_one_thread(
    units: int, count: int, setting: Setting, settings: Callable[..., Settings]
) -> None:
    assert threads.choose(settings("data.batch_size=32"), FITTED, build=dense(units))
    assert threads.num_threads() == count
    assert threads.limit() == (1 if count == 1 else None)


def test_the_batch_that_counts_is_that_of_a_microbatch(setting: Setting, settings: Callable[..., Settings]) -> None:
    threads.choose(settings("data.batch_size=64", "trainer.microbatches=2"), FITTED, build=dense(2**8 - 1))
    assert threads.num_threads() == 1


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (Work(57_600, 1_000), True),  # wide & deep of 8 numbers, at a batch of 32
        (Work(2 * 512 * 64 * 64, 32_768), True),  # the residual network at 512
        (Work(2 * 32 * 784 * 300, 235_200), False),  # 784-300-100-10 at 32
        (Work(57_600, 2**20), False),  # a large table, all of which an optimizer updates
    ],
)
def test_what_is_small(work: Work, expected: bool) -> None:
    assert threads.is_small(work) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["optimizer=adagrad"], 0),
        (["optimizer=adagrad", "optimizer.rows=dense"], 700),
        (["optimizer=adam"], 700),
        (["optimizer=adam", "optimizer.rows=lazy"], 0),
        (["optimizer.groups={a: {match: a/, name: sgd}, b: {match: b/, name: adam}}"], 500),
    ],
)
def test_a_table_counts_if_it_is_updated_as_a_whole(
    words: list[str], expected: int, settings: Callable[..., Settings]
) -> None:
    tables = {"a/embeddings": 700, "b/embeddings": 500}
    assert threads.largest_whole_table(tables, settings(*words).groups.values()) == expected


@pytest.mark.parametrize(("optimizer", "count"), [("adagrad", 1), ("adam", 4)])
def test_a_large_table_that_is_updated_by_rows_has_one_thread(
    optimizer: str, count: int, setting: Setting, settings: Callable[..., Settings]
) -> None:
    def build() -> keras.Model:
        return keras.Sequential([keras.layers.Embedding(2**18, 4)])

    assert threads.choose(settings(f"optimizer={optimizer}"), FITTED, build=build)
    assert threads.num_threads() == count


@pytest.mark.parametrize("word", ["trainer.threads=null", "trainer.threads=3", "strategy=mirrored"])
def test_the_model_is_built_for_auto_only(word: str, setting: Setting, settings: Callable[..., Settings]) -> None:
    assert not threads.choose(settings(word), FITTED, build=unused)
    assert setting.value == 0


def test_what_has_started_stays(setting: Setting, settings: Callable[..., Settings]) -> None:
    setting.has_started = True
    assert not threads.choose(settings(), FITTED, build=unused)
    assert threads.num_threads() == 4


def test_a_model_that_can_not_be_built_without_values_has_all_cores(
    setting: Setting, settings: Callable[..., Settings]
) -> None:
    assert threads.choose(settings(), FITTED, build=unused)
    assert threads.num_threads() == 4


@pytest.mark.parametrize(("engine", "count"), [({"threads": 2}, 2), ({"threads": 1}, 1), ({"mode": "graph_loop"}, 4)])
def test_a_resumed_run_keeps_its_number(
    engine: dict[str, Any], count: int, setting: Setting, settings: Callable[..., Settings]
) -> None:
    began = as_it_began(settings(), {"step": 30, "engine": engine})
    assert not threads.choose(began, FITTED, build=unused)
    assert threads.num_threads() == count
