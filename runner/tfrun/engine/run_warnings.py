"""The warnings of a run before its first step."""

from __future__ import annotations

from collections.abc import Iterator

from tfrun.config.settings import Settings
from tfrun.engine.building import devices
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.verify.input_ranges import unscaled_images


def warnings_of(pieces: Pieces, settings: Settings) -> Iterator[str]:
    """Yields the warnings of a run's first weights, devices, tables, model, data and metrics, in this order.

    Args:
        pieces: the run's.
        settings: its config.
    """
    if pieces.origins is not None:
        yield from (f"init: {text}" for text in pieces.origins.differences)
    yield from devices.warnings(settings.trainer, settings.strategy)
    yield from (str(table) for table in pieces.whole_tables if table.is_slow)
    yield from pieces.parts.warnings
    yield from pieces.examples.warnings
    yield from unscaled_images(pieces.parts.model, pieces.examples)
    for name in pieces.parts.step.metrics.rounding:
        yield f"metric.{name}: can't compute in float64, and float32 has too few digits for a target so far from 0"
