"""Rates of the comparison, and the ratios between them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contenders import BASE, LIMIT, Usage


@dataclass
class Result:
    """The measurements under one name of the table.

    Attributes:
        rates: steps per second in each round.
        others: the cores that other processes used in each round; empty for a part of another result.
        usage: first step and memory.
        difference: relative difference between its losses and the reference's.
    """

    rates: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    usage: Usage | None = None
    difference: float | None = None


def ratios(results: dict[str, Result], name: str, *, base: str) -> list[float]:
    """Returns a contender's rate divided by the base's, for each round."""
    return [rate / base_rate for rate, base_rate in zip(results[name].rates, results[base].rates, strict=True)]


def fastest(results: dict[str, Result], prefix: str) -> str | None:
    """Returns the name with the best median among those that start with the prefix, or None."""
    names = [name for name in results if name.startswith(prefix)]
    return max(names, key=lambda name: statistics.median(results[name].rates), default=None)


def spread(values: list[float]) -> dict[str, float]:
    """Returns the median, the smallest and the largest value."""
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


def rows_of(results: dict[str, Result]) -> list[dict[str, Any]]:
    """Returns the table's rows; a value is None where it isn't measured separately."""
    return [
        {
            "contender": name,
            "steps_per_second": spread(result.rates),
            "ratio": spread(ratios(results, name, base=BASE)),
            "first_step_seconds": result.usage and result.usage.first_step_seconds,
            "peak_mb": result.usage and result.usage.peak_bytes / 1e6,
            "gpu_peak_mb": result.usage and result.usage.gpu_peak_bytes and result.usage.gpu_peak_bytes / 1e6,
            "others_cores": statistics.median(result.others) if result.others else None,
            "loss_difference": result.difference,
        }
        for name, result in results.items()
    ]


def summary_of(results: dict[str, Result]) -> dict[str, dict[str, Any]]:
    """Returns tfrun's ratios to fit() and to the fastest measured contender of each kind, by the kind's name."""
    bases = {BASE: BASE, "best fit()": fastest(results, "fit()")}
    bases |= {kind: fastest(results, kind) for kind in ("Orbit", "PyTorch", "JAX", LIMIT)}
    tfrun_names = [name for name in ("tfrun", "tfrun, one Adam") if name in results]
    return {
        kind: {"base": base, "ratios": {name: spread(ratios(results, name, base=base)) for name in tfrun_names}}
        for kind, base in bases.items()
        if base is not None
    }
