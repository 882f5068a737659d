"""Draws the charts of `tfrun report` as PNGs, for TensorBoard's Images tab.

A chart is an SVG element that `reports.svg` has written. This draws the few elements and classes that it uses: lines,
circles, rectangles and texts.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser

from PIL import Image, ImageDraw, ImageFont

from tfrun.reports.svg import WIDTH

SCALE = 2  # pixels of the PNG for one of the SVG
HEAD = 24  # pixels of the SVG, above the chart
TEXT_PIXELS = 11
# As in the style sheet of `reports.html_parts`: colour, width of lines, dash.
INKS = {"a": "#888888", "g": "#e8e8e8", "lr": "#666666", "lb": "#d9480f", "l": "#7d9ec0", "b": "#d9480f"}
POINT, BAR, CELL, TEXT = "#7aa0cb", "#2b6cb0", (43, 108, 176), "#444444"
WIDTHS = {"lb": 2.5, "l": 1.4}
DASH = 4.0
WITHOUT_GLYPH = str.maketrans({"→": "", "↓": "", "−": "-"})  # in Pillow's own font


def png(head: str, svg: str) -> bytes:
    """Returns a PNG of a chart.

    Args:
        head: the title above it.
        svg: the SVG element.
    """
    parser = _Elements()
    parser.feed(svg)
    size = (SCALE * WIDTH, SCALE * (HEAD + parser.height))
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    font = _font(SCALE * (TEXT_PIXELS + 2))
    draw.text((SCALE * 4, SCALE * 4), head.translate(WITHOUT_GLYPH), fill="black", font=font)
    for name, attributes, text in parser.elements:
        _draw(draw, name, attributes=attributes, text=text)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


class _Elements(HTMLParser):
    """Collects the elements of a chart, whose attributes have no quotes, with their texts; tooltips are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], str]] = []
        self.height = 0
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self._open = tag
        if tag == "svg":
            self.height = int(float(attributes["viewbox"].split()[3]))
        elif tag in ("path", "circle", "rect", "text"):
            self.elements.append((tag, attributes, ""))

    def handle_data(self, data: str) -> None:
        if self._open == "text":
            name, attributes, text = self.elements[-1]
            self.elements[-1] = (name, attributes, text + data)


def _draw(draw: ImageDraw.ImageDraw, name: str, *, attributes: Mapping[str, str], text: str) -> None:
    kind = attributes.get("class", "")
    if name == "text":
        anchor = {"end": "rs", "middle": "ms"}.get(attributes.get("text-anchor", ""), "ls")
        place = _pixels(float(attributes["x"])), _pixels(float(attributes["y"]) + HEAD)
        ink = "white" if kind == "ink" else TEXT
        draw.text(place, text.translate(WITHOUT_GLYPH), fill=ink, font=_font(SCALE * TEXT_PIXELS), anchor=anchor)
    elif name == "rect":
        left, top, width, height = (float(attributes[key]) for key in ("x", "y", "width", "height"))
        ends = [_pixels(left), _pixels(top + HEAD), _pixels(left + width), _pixels(top + HEAD + height)]
        draw.rectangle(ends, fill=_shade(float(attributes["fill-opacity"])) if kind == "cell" else BAR)
    elif name == "circle":
        x, y, radius = (float(attributes[key]) for key in ("cx", "cy", "r"))
        ends = [_pixels(x - radius), _pixels(y + HEAD - radius), _pixels(x + radius), _pixels(y + HEAD + radius)]
        draw.ellipse(ends, fill=INKS["b"] if kind == "b" else POINT, outline="white")
    else:
        width = round(SCALE * WIDTHS.get(kind, 1.0))
        for line in _lines(attributes["d"]):
            for piece in _dashes(line) if kind == "lr" else [line]:
                draw.line([(_pixels(x), _pixels(y + HEAD)) for x, y in piece], fill=INKS[kind], width=width)


def _lines(path: str) -> Iterator[list[tuple[float, float]]]:
    """Yields the lines of a path, each as its points."""
    line: list[tuple[float, float]] = []
    for letter, rest in re.findall(r"([MLHVh])([^MLHVh]*)", path):
        numbers = [float(number) for number in rest.split()]
        if letter == "M":
            if len(line) > 1:
                yield line
            line = [(numbers[0], numbers[1])]
        elif letter == "L":
            line.append((numbers[0], numbers[1]))
        elif letter == "H":
            line.append((numbers[0], line[-1][1]))
        elif letter == "V":
            line.append((line[-1][0], numbers[0]))
    if len(line) > 1:
        yield line


def _dashes(line: list[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """Yields the dashes of a line."""
    for (x1, y1), (x2, y2) in zip(line, line[1:], strict=False):
        length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        for k in range(int(length / (2 * DASH)) + 1):
            begin, end = (min(DASH * place / max(length, 1e-9), 1.0) for place in (2 * k, 2 * k + 1))
            yield [(x1 + share * (x2 - x1), y1 + share * (y2 - y1)) for share in (begin, end)]


def _shade(share: float) -> tuple[int, int, int]:
    """Returns the colour of a cell over white."""
    red, green, blue = (round(255 - share * (255 - channel)) for channel in CELL)
    return red, green, blue


def _pixels(value: float) -> float:
    return SCALE * value


@functools.cache
def _font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(pixels)
