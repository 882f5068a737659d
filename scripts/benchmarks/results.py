"""What was measured, and the ratios between it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contenders import BASE, LIMIT, Usage


@dataclass
class Result:
    """What was measured under one name.

    Attributes:
        rates: steps per second of each round.
        others: the cores that other processes used in each round; empty for a part of another result.
        usage: first step and memory.
        difference: how far its losses were from the reference's, relative.
    """

    rates: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    usage: Usage | None = None
    difference: float | None = None


def ratios(results: dict[str, Result], name: str, base: str) -> list[float]:
    """Returns a contender's rate by the base's in the same round."""
    return [own / other for own, other in zip(results[name].rates, results[base].rates, strict=True)]


def fastest(results: dict[str, Result], prefix: str) -> str | None:
    """Returns the fastest of those whose name begins so, by its median."""
    named = [name for name in results if name.startswith(prefix)]
    return max(named, key=lambda name: statistics.median(results[name].rates), default=None)


def spread(values: list[float]) -> dict[str, float]:
    """Returns the median, the least and the greatest."""
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


def rows_of(results: dict[str, Result]) -> list[dict[str, Any]]:
    """Returns the table's rows; None where something is not measured apart."""
    return [
        {
            "contender": name,
            "steps_per_second": spread(result.rates),
            "ratio": spread(ratios(results, name, BASE)),
            "first_step_seconds": result.usage and result.usage.first_step_seconds,
            "peak_mb": result.usage and result.usage.peak_bytes / 1e6,
            "gpu_peak_mb": result.usage and result.usage.gpu_peak_bytes and result.usage.gpu_peak_bytes / 1e6,
            "others_cores": statistics.median(result.others) if result.others else None,
            "loss_difference": result.difference,
        }
        for name, result in results.items()
    ]


def summary_of(results: dict[str, Result]) -> dict[str, dict[str, Any]]:
    """Returns tfrun's ratios to fit() and to the fastest of each kind that there is, by the kind's name."""
    bases = {BASE: BASE, "best fit()": fastest(results, "fit()")}
    bases |= {kind: fastest(results, kind) for kind in ("Orbit", "PyTorch", LIMIT)}
    own = [name for name in ("tfrun", "tfrun, one Adam") if name in results]
    return {
        kind: {"base": base, "ratios": {name: spread(ratios(results, name, base)) for name in own}}
        for kind, base in bases.items()
        if base is not None
    }
