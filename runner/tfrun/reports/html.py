"""`tfrun compare --html`: one file that shows a sweep, and needs nothing from the network."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfrun.console import Terminal, say, short_names, shown
from tfrun.errors import ConfigError
from tfrun.files.disk import write_atomically
from tfrun.reports.comparison import Comparison, Row, importances, is_logarithmic

MOST_CURVES = 50  # of the best runs; more can't be told apart
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
    parts = [_table("Leaderboard", comparison.cells())]
    seeds = comparison.over_seeds()
    parts += [_table("Over seeds", seeds)] if seeds else []
    parts += [f"<h2>{html.escape(head)}</h2>{_div(own)}" for head, own in figures.items() if own is not None]
    title = html.escape(", ".join(dict.fromkeys(row.folder.path.parent.name for row in comparison.rows)))
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
        f"<script>{get_plotlyjs()}</script><h1>{title}</h1>{''.join(parts)}</html>"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page)
    say(Terminal(), shown(path))


def _names(comparison: Comparison) -> dict[str, str]:
    return dict(zip(comparison.keys, short_names(comparison.keys), strict=True))


def _div(figure: Any) -> str:
    figure.update_layout(height=HEIGHT, margin={"l": 90, "r": 30, "t": 50, "b": 50}, template="plotly_white")
    return figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})


def _table(head: str, table: tuple[list[str], list[list[str]]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<h2>{head}</h2><table>{row(table[0], 'th')}{''.join(row(line, 'td') for line in table[1])}</table>"


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
    for row in comparison.rows[:MOST_CURVES]:
        points = _points(row, comparison.metric)
        own = (f"{name}={row.config.get(key)}" for key, name in _names(comparison).items())
        name = " ".join([f"#{row.folder.path.name}", *own])
        figure.add_trace(go.Scatter(x=[x for x, _ in points], y=[y for _, y in points], name=name, mode="lines"))
    figure.update_xaxes(title="epoch")
    return figure if figure.data and any(len(trace.x) for trace in figure.data) else None


def _points(row: Row, metric: str) -> list[tuple[int, float]]:
    try:
        lines = row.folder.read_metrics()
    except (OSError, ValueError):
        return []
    return [(line["epoch"], line[metric]) for line in lines if metric in line]


def _importance(go: Any, comparison: Comparison) -> Any:
    shares = importances(comparison)
    if not shares:
        return None
    keys = list(reversed(shares))
    names = _names(comparison)
    return go.Figure(go.Bar(x=[shares[key] for key in keys], y=[names[key] for key in keys], orientation="h"))
