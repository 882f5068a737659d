"""Draws plots with matplotlib, if it is installed."""

from __future__ import annotations

from typing import Any


def pyplot() -> Any:
    """Returns matplotlib's pyplot, set up to draw SVG files."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib") from None
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "tfrun", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    return pyplot
