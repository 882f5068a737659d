"""The page of a range test: its curve, the rates that it suggests, and the command to copy."""

from __future__ import annotations

import html

from tfrun.reports.html_parts import document, note
from tfrun.reports.range_curve import short_rate
from tfrun.reports.range_report import RangeReport
from tfrun.reports.svg import Mark, Point, number_axis, point_chart

MAX_POINTS = 400
WIDE = "<style>.range svg { max-width: 640px; } pre { user-select: all; }</style>"


def page(report: RangeReport, *, title: str, command: str) -> str:
    """Returns the page, which loads nothing and has no script.

    Args:
        report: the test.
        title: the config that was tested.
        command: the command line that trains with the suggested rate; empty if there is none.
    """
    parts = [WIDE, f"<h1>Learning-rate range test</h1>{note(title)}"]
    if command:
        rate = short_rate(report.curve.suggestion)
        parts.append(
            f"<div class=best><p><b>{rate}</b> suggested</p><pre class=words>{html.escape(command)}</pre></div>"
        )
    else:
        parts.append(f"<div class=best>No suggestion: {html.escape(report.curve.why_none())}.</div>")
    parts.append(f"<div class=range>{chart(report)}</div>")
    parts.append(note("Points: the loss of each step. Line: the smoothed loss. Dashed: the suggested rate."))
    facts = "".join(f"<dt>{html.escape(name)}<dd>{html.escape(text)}" for name, text in report.facts())
    parts.append(f"<dl>{facts}</dl>")
    return document("tfrun find lr", "".join(parts))


def chart(report: RangeReport) -> str:
    """Returns the losses over the rates as an SVG element; what is higher than the chart is left out."""
    curve = report.curve
    low = min(min(curve.losses), float(curve.smooth_losses.min()))
    x = number_axis(report.x_label, [curve.rates[0], curve.rates[-1]], is_logarithmic=True)
    y = number_axis("loss", [low, curve.top])
    every = -(-len(curve.losses) // MAX_POINTS)
    steps = range(0, len(curve.losses), every)
    points = [
        Mark(
            [(curve.rates[k], curve.losses[k])], f"step {k + 1}: rate {curve.rates[k]:.2e}, loss {curve.losses[k]:.4g}"
        )
        for k in steps
        if curve.losses[k] <= curve.top
    ]
    smooth: list[Point | None] = [
        (float(10 ** curve.log_rates[k]), float(curve.smooth_losses[k]))
        if curve.smooth_losses[k] <= curve.top
        else None
        for k in steps
    ]
    lines = [Mark(smooth, "smoothed loss", is_best=True)]
    if report.has_suggestion:
        ends = [(curve.suggestion, low), (curve.suggestion, curve.top)]
        lines.append(Mark(ends, f"suggested: {short_rate(curve.suggestion)}", is_reference=True))
    return point_chart(x, y, points, lines)
