"""What the HTML pages of reports share: the style sheet, the frame of a document, notes and tables."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 1100px; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 1.8rem 0 .4rem; } h3 { font-size: .95rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
p { margin: .3rem 0; overflow-wrap: anywhere; } .note { color: #666; font-size: .87rem; }
.best { border-left: 4px solid #d9480f; background: #fff6f0; padding: .5rem .9rem; margin: 1rem 0; }
.best b { font-size: 1.35rem; }
.charts { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); }
.table { overflow: auto; max-height: 80vh; } table { border-collapse: collapse; font-size: .87rem; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th { position: sticky; top: 0; background: #fff; z-index: 1; }
td:first-child { position: sticky; left: 0; background: #fff; text-align: left; }
.has-best tr:first-child td { font-weight: 600; background: #fff6f0; }
svg { width: 100%; height: auto; max-width: 420px; display: block; } svg text { font-size: 11px; fill: #444; }
svg .x { font-size: 12px; } .a, .g { stroke: #888; fill: none; } .g { stroke: #e8e8e8; }
.l, .lb { fill: none; stroke: #7d9ec0; stroke-linecap: round; stroke-linejoin: round; stroke-opacity: .6; }
.lr { stroke: #666; fill: none; stroke-dasharray: 4 4; } svg .ink { fill: #fff; }
.lb { stroke: #d9480f; stroke-width: 2.5; stroke-opacity: 1; }
.p { fill: #2b6cb0; fill-opacity: .45; } .p .b { fill: #d9480f; fill-opacity: 1; } .bar, .cell { fill: #2b6cb0; }
.part { margin-top: 1.3rem; } th { white-space: normal; vertical-align: bottom; }
th:first-child { text-align: left; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .3rem 0; font-size: .9rem; }
dt { color: #666; } dd { margin: 0; overflow-wrap: anywhere; }
.images { display: grid; gap: .5rem; grid-template-columns: repeat(auto-fill, minmax(76px, 1fr)); font-size: .78rem; }
.images img { width: 100%; max-width: 96px; image-rendering: pixelated; display: block; background: #eee; }
figure { margin: 0; line-height: 1.3; overflow-wrap: anywhere; } .wrong { color: #b02a00; font-weight: 600; }
pre { overflow-x: auto; font-size: .82rem; background: #f6f6f6; padding: .6rem; } details { margin: .6rem 0; }
pre.words { white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; } .warning { border-left: 4px solid #b08900; background: #fffbe8; padding: .4rem .9rem; }
"""


def document(title: str, body: str) -> str:
    """Returns a whole page, which loads nothing and has no script."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style>{body}</html>\n"
    )


def note(text: str) -> str:
    """Returns a paragraph in small letters, empty without a text."""
    return f"<p class=note>{html.escape(text)}</p>" if text else ""


def row(cells: Sequence[str], tag: str) -> str:
    """Returns a row of a table; the tag is `th` or `td`."""
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}" for cell in cells)


def table_of(heads: Sequence[str], lines: Iterable[str], *, has_best: bool = False) -> str:
    """Returns a table of rows that are made already, which scrolls on a narrow screen.

    Args:
        heads: of the columns.
        lines: the rows, see `row`.
        has_best: whether the first row stands out.
    """
    head = f"<thead>{row(heads, 'th')}</thead>"
    body = f"<tbody{' class=has-best' if has_best else ''}>{''.join(lines)}</tbody>"
    return f"<div class=table><table>{head}{body}</table></div>"
