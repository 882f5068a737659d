"""`tfrun compare --html`: one file that shows a sweep and loads nothing from the network."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfrun.console import Terminal, say, short_names
from tfrun.errors import CheckpointError, ConfigError
from tfrun.files.disk import write_atomically
from tfrun.files.strict_json import defined
from tfrun.folders import shown
from tfrun.reports.comparison import Comparison, Row
from tfrun.reports.importance import importances, is_logarithmic
from tfrun.reports.repeats import repeats_table, repeats_title
from tfrun.reports.tables import runs_table
from tfrun.reports.texts import TextTable

MAX_CURVES = 50  # the eye can't distinguish more
HEIGHT = 420  # pixels of a figure
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th { position: sticky; top: 0; background: #fff; } tr:first-child td { font-weight: 600; }
"""


def write(comparison: Comparison, path: Path) -> None:
    """Writes the report.

    Raises:
        ConfigError: Plotly isn't installed, or the file isn't an .html file.
        ResourceError: the disk refuses.
    """
    try:
        import plotly.graph_objects as go
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ConfigError("--html: needs Plotly. Install it with: pip install 'tfrun[report]'") from error
    if path.suffix != ".html":
        raise ConfigError(f"--html: must be an .html file. Received: {str(path)!r}")
    figures = {
        "Every run": _parallel(go, comparison),
        f"{comparison.metric} over epochs": _curves(go, comparison),
        "What mattered most": _importance(go, comparison),
    }
    parts = [_table("Leaderboard", runs_table(comparison))]
    repeated = repeats_table(comparison)
    if repeated is not None:
        parts.append(_table(repeats_title(comparison).capitalize(), repeated))
    for head, figure in figures.items():
        if figure is not None:
            parts.append(f"<h2>{html.escape(head)}</h2>{_div(figure)}")
    title = html.escape(", ".join(dict.fromkeys(row.folder.path.parent.name for row in comparison.rows)))
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
        f"<script>{get_plotlyjs()}</script><h1>{title}</h1>{''.join(parts)}</html>"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page)
    say(Terminal(), shown(path))


def _names(comparison: Comparison) -> dict[str, str]:
    """Returns the keys that differ, each with the short name to show for it."""
    return dict(zip(comparison.keys, short_names(comparison.keys), strict=True))


def _div(figure: Any) -> str:
    figure.update_layout(height=HEIGHT, margin={"l": 90, "r": 30, "t": 50, "b": 50}, template="plotly_white")
    return figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})


def _table(head: str, table: TextTable) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    lines = "".join(row(line, "td") for line in table.lines)
    return f"<h2>{head}</h2><table>{row(table.heads, 'th')}{lines}</table>"


def _parallel(go: Any, comparison: Comparison) -> Any:
    """Returns the keys and the metric as parallel coordinates (Inselberg, 1985), coloured by the metric."""
    rows = comparison.done
    if len(rows) < 2:
        return None
    values = [comparison.value(row) for row in rows]
    axes = [_axis(name, [row.config.get(key) for row in rows]) for key, name in _names(comparison).items()]
    axes.append({"label": comparison.metric, "values": values})
    line = {"color": values, "colorscale": "Viridis", "showscale": True, "reversescale": comparison.mode == "max"}
    return go.Figure(go.Parcoords(line=line, dimensions=axes))


def _axis(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Returns an axis of the parallel coordinates: numbers, their logarithms, or the texts in order."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        if not is_logarithmic(values):
            return {"label": name, "values": values}
        powers = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
        ticks: list[Any] = [10.0**power for power in powers]
        places = [math.log10(value) for value in values]
        return {"label": name, "values": places, "tickvals": list(powers), "ticktext": [f"{tick:g}" for tick in ticks]}
    texts = [str(value) for value in values]
    ticks = sorted(set(texts))
    places = [float(ticks.index(text)) for text in texts]
    return {"label": name, "values": places, "tickvals": list(range(len(ticks))), "ticktext": ticks}


def _curves(go: Any, comparison: Comparison) -> Any:
    """Returns the metric over the epochs of the best runs."""
    figure = go.Figure()
    for row in comparison.rows[:MAX_CURVES]:
        points = _points(row, comparison.metric)
        settings = (f"{name}={row.config.get(key)}" for key, name in _names(comparison).items())
        label = " ".join([f"#{row.folder.path.name}", *settings])
        figure.add_trace(go.Scatter(x=[x for x, _ in points], y=[y for _, y in points], name=label, mode="lines"))
    figure.update_xaxes(title="epoch")
    return figure if figure.data and any(len(trace.x) for trace in figure.data) else None


def _points(row: Row, metric: str) -> list[tuple[int, float | None]]:
    """Returns (epoch, value) of each epoch in which a run has the metric; None, a gap, if it isn't defined."""
    try:
        lines = row.folder.read_metrics()
    except OSError:
        return []
    except CheckpointError as error:
        say(Terminal(stderr=True), f"warning: no curve: {error}")
        return []
    return [(line["epoch"], defined(line[metric])) for line in lines if metric in line]


def _importance(go: Any, comparison: Comparison) -> Any:
    """Returns the importances as bars, the greatest on top."""
    shares = importances(comparison)
    if not shares:
        return None
    keys = list(reversed(shares))
    names = _names(comparison)
    return go.Figure(go.Bar(x=[shares[key] for key in keys], y=[names[key] for key in keys], orientation="h"))
