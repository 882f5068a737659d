"""The learning-rate range test: the program of a run, whose rates grow from step to step.

The growth is a schedule, so that the test is trained in blocks as any run is, and no rate needs a program of its own.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.settings import GroupSettings, Settings
from tfrun.data.table import Table
from tfrun.engine.building import memory
from tfrun.engine.building.alone import AloneDriver, Engine, Ready
from tfrun.engine.building.optimizers import keep_weights
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.building.reuse import Reuse
from tfrun.engine.training import loop
from tfrun.engine.training.block_result import BlockResult
from tfrun.engine.training.groups import Group
from tfrun.engine.training.timing import Timing
from tfrun.errors import ConfigError, DivergedError
from tfrun.reports.range_curve import Growth, RangeCurve


def _ignore(step: int, rate: float, loss: float) -> None:
    """What `RangeOptions.report` is if nobody watches."""


@dataclass(frozen=True)
class RangeOptions:
    """How a range test goes.

    Attributes:
        first_rate, last_rate: of the first step and of the last one.
        num_steps: at most; between two steps the rate grows by the same factor.
        smoothing: the β of the loss's moving average, 0 to below 1.
        group: the optimizer group to test while the others are frozen; None tests all that a run begins with.
        report: called after each block with the number of steps, the last rate and the last loss.
    """

    first_rate: float = 1e-7
    last_rate: float = 10.0
    num_steps: int = 100
    smoothing: float = 0.9
    group: str | None = None
    report: Callable[[int, float, float], None] = _ignore


@dataclass(frozen=True)
class RangeResult:
    """What a range test found.

    Attributes:
        curve: the losses over the rates of the first group.
        ratios: the rate of each tested group divided by that of the first one.
        untested: the groups that were not trained, though they aren't frozen.
        epochs: how many epochs the steps are.
        seconds: how long they took, without building and compiling.
        warnings: what a run with this config would warn of.
    """

    curve: RangeCurve
    ratios: Mapping[str, float]
    untested: tuple[str, ...] = ()
    epochs: float = 0.0
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


def range_test(settings: Settings, catalog: Catalog, *, table: Table, options: RangeOptions) -> RangeResult:
    """Trains a model from its first weights on while the learning rate grows, until its loss does.

    Args:
        settings: the config.
        catalog: the components that exist.
        table: the raw rows of the config's data.
        options: how the test goes.

    Raises:
        TfrunError: a run with this config would stop for this reason.
    """
    with memory.one_line_errors():
        reuse = Reuse()
        with _naming(options.group):
            pieces = reuse.build_pieces(settings_of_test(settings, options), catalog, table=table)
        ratios = _grow_rates(pieces, options)
        splits = pieces.examples.splits
        without_validation = replace(pieces.examples, splits={**splits, "val": splits["val"][:0]})
        driver = AloneDriver(reuse)
        engine = driver(Ready(replace(pieces, examples=without_validation)))
        assert isinstance(engine, Engine)
        started = time.perf_counter()
        curve = _trained(engine, driver, options, ratios=ratios)
    return RangeResult(
        curve=curve,
        ratios={group.name: ratio for group, ratio in zip(pieces.parts.step.active, ratios, strict=True)},
        untested=tuple(name for name, group in settings.groups.items() if not group.frozen and name in _frozen(pieces)),
        epochs=len(curve.losses) / pieces.order.steps_per_epoch,
        seconds=time.perf_counter() - started,
        warnings=(*pieces.examples.warnings, *pieces.parts.warnings),
    )


@contextlib.contextmanager
def _naming(group: str | None) -> Iterator[None]:
    """Makes an error say that one group is tested, as it may follow from the others being frozen."""
    try:
        yield
    except ConfigError as error:
        if group is None:
            raise
        raise ConfigError(f"group={group}, the other groups frozen: {error}") from error


def settings_of_test(settings: Settings, options: RangeOptions) -> Settings:
    """Returns the config of a test: without schedules, limits and early stopping, the untested groups frozen.

    A test is too short for stages: the groups that a run begins with are trained, or the one that is asked for.
    """
    trainer = replace(
        settings.trainer,
        max_epochs=None,
        max_steps=options.num_steps,
        max_seconds=None,
        on_divergence="stop",
    )
    checkpoint = replace(
        settings.checkpoint,
        every_epochs=None,
        every_steps=None,
        every_seconds=None,
        monitor="train/loss",
        mode="min",
    )
    groups = _groups_of_test(settings.groups, options.group)
    return replace(settings, groups=groups, trainer=trainer, checkpoint=checkpoint, early_stopping=None)


def _groups_of_test(groups: Mapping[str, GroupSettings], tested: str | None) -> dict[str, GroupSettings]:
    first = min((group.from_epoch for group in groups.values() if not group.frozen), default=0)
    result = {}
    for name, group in groups.items():
        is_tested = not group.frozen and (group.from_epoch == first if tested is None else name == tested)
        changed = {"schedule": None, "from_epoch": 0, "until_epoch": None} if is_tested else {"frozen": True}
        result[name] = replace(group, **changed)
    return result


def _frozen(pieces: Pieces) -> set[str]:
    return {group.name for group in pieces.parts.step.groups if group.optimizer is None}


def _grow_rates(pieces: Pieces, options: RangeOptions) -> list[float]:
    """Makes the rates of all groups grow together, and returns each one's ratio to the first group's."""
    active = pieces.parts.step.active
    rates = [float(group.base_learning_rate.numpy()) for group in active]
    if not rates[0]:
        raise ConfigError(
            f"find lr: the learning rates keep their ratios to the first group's, which can't be 0. "
            f"Received: {active[0].name}"
        )
    ratios = [rate / abs(rates[0]) for rate in rates]
    num_factors = max(options.num_steps - 1, 1)
    growth = math.log(options.last_rate / options.first_rate) / num_factors
    for group, ratio in zip(active, ratios, strict=True):
        _start_at(group, options.first_rate * ratio)
        group.schedule = lambda step: tf.exp(growth * tf.cast(step, tf.float64))
    if pieces.settings.init.reads_weights:  # what FTRL begins with follows from the first rate
        keep_weights(active)
    return ratios


def _start_at(group: Group, rate: float) -> None:
    group.base_learning_rate.assign(rate)
    group.optimizer.learning_rate.assign(rate)


def _trained(engine: Engine, driver: AloneDriver, options: RangeOptions, *, ratios: list[float]) -> RangeCurve:
    """Trains until the loss has grown, or isn't finite, or all rates were tried."""
    watch = _Watch(options, first_ratio=ratios[0])
    blocks = loop.train(
        engine.program,
        engine.pieces.plan,
        sizer=engine.sizer,
        observers=[watch],
        timing=Timing(),
        should_stop=lambda: watch.has_grown,
    )
    is_finite = True
    try:
        block = next(blocks)
        while True:
            result: Any = driver(block)
            block = blocks.send(result)
    except StopIteration:
        pass
    except DivergedError:
        is_finite = False
    finally:
        engine.program.release()
    return RangeCurve(
        rates=watch.rates,
        losses=watch.losses,
        ended="grew" if watch.has_grown else "range" if is_finite else "undefined",
        smoothing=options.smoothing,
        last_rate=options.last_rate,
    )


class _Watch(loop.Observer):
    """Keeps the losses, until they have grown.

    Attributes:
        rates: the first group's, of each step.
        losses: of each step.
        has_grown: whether the smoothed loss has.
    """

    def __init__(self, options: RangeOptions, *, first_ratio: float):
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.has_grown = False
        self._options = options
        self._sign = first_ratio
        self._growth = Growth(options.smoothing)

    def on_block(self, first_step: int, result: BlockResult) -> None:
        pairs: Any = zip(result.learning_rates[:, 0].tolist(), result.losses.tolist(), strict=True)
        for rate, loss in pairs:
            if self.has_grown or not np.isfinite(loss):
                break
            self.rates.append(rate * self._sign)
            self.losses.append(loss)
            self.has_grown = self._growth.add(loss)
        if self.losses:
            self._options.report(len(self.losses), self.rates[-1], self.losses[-1])
