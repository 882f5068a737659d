"""Small charts as SVG elements of an HTML page: lines, points and bars, with a tooltip for each mark.

They are as wide as a phone and need no script, so that a page with many of them stays small.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tfrun.reports.texts import shortened

WIDTH, HEIGHT = 340, 230
LEFT, RIGHT, TOP, BOTTOM = 60, 8, 10, 40  # margins around the marks
PADDING = 6  # between the axes and the marks
LETTER = 6.2  # pixels, the width of most letters
BAR = 32  # pixels, the height of a bar with its name above it
STEPS = (1, 2, 5, 10)  # ticks are these times a power of ten
MAX_WHOLE = 10_000_000  # from here on, numbers have an exponent
NUM_TICKS = 6  # at most about this many

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
        label: what it shows.
        place: a function that returns the place of a value, from 0 to 1.
        ticks: the texts at the axis, each with its place.
        has_slots: whether each text is short enough for its place.
    """

    label: str
    place: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]
    has_slots: bool = False


@dataclass(frozen=True)
class Mark:
    """Points that belong together: a line through them, or a single one.

    Attributes:
        points: (x, y) of each; None is a gap in a line.
        title: the tooltip.
        is_best: whether it is drawn in the colour of the best run.
        is_reference: whether it is a dashed line to compare with.
    """

    points: Sequence[Point | None]
    title: str
    is_best: bool = False
    is_reference: bool = False


def number_axis(label: str, values: Sequence[float], *, is_logarithmic: bool = False) -> Axis:
    """Returns an axis from the least of some finite values to the greatest; for a single value, around it."""
    low, high = min(values), max(values)
    scale = math.log10 if is_logarithmic else float
    first, last = scale(low), scale(high)
    if not first < last:
        first, last = first - 0.5, last + 0.5
    is_whole = all(float(value).is_integer() for value in values)
    ticks = _powers(low, high) if is_logarithmic else _even(first, last, least_step=1.0 if is_whole else 0.0)
    # halves, since the difference of the greatest floats is infinite
    span = last / 2 - first / 2

    def place(value: float) -> float:
        return (scale(value) / 2 - first / 2) / span

    return Axis(label, place, [(place(tick), text) for tick, text in zip(ticks, _numbers(ticks), strict=True)])


def text_axis(label: str, texts: Sequence[str]) -> Axis:
    """Returns an axis for values 0, 1, 2, …, each with its text in a slot of its own."""
    letters = max(int((WIDTH - LEFT - RIGHT) / len(texts) / LETTER), 2)

    def place(value: float) -> float:
        return (value + 0.5) / len(texts)

    return Axis(
        label, place, [(place(index), shortened(text, letters)) for index, text in enumerate(texts)], has_slots=True
    )


def line_chart(x: Axis, y: Axis, lines: Sequence[Mark], points: Sequence[Mark] = ()) -> str:
    """Returns lines over two axes, and points over them; the last ones are drawn on top."""
    marks = "".join(_line(x, y, line) for line in lines)
    return _chart(x, y, marks + _points(x, y, points))


def point_chart(x: Axis, y: Axis, points: Sequence[Mark], lines: Sequence[Mark] = ()) -> str:
    """Returns points over two axes, and lines over them; the last ones are drawn on top."""
    marks = "".join(_line(x, y, line) for line in lines)
    return _chart(x, y, _points(x, y, points) + marks)


def column_chart(x: Axis, y: Axis, columns: Sequence[tuple[float, float, float]]) -> str:
    """Returns a histogram: a column (left, right, height) for each; the axis of heights has to begin at 0."""
    bottom = _from_top(y.place(0))
    marks = []
    for left, right, height in columns:
        start, end, top = _from_left(x.place(left)), _from_left(x.place(right)), _from_top(y.place(height))
        size = f"x={start + 0.5:.1f} y={top:.1f} width={max(end - start - 1, 1):.1f} height={max(bottom - top, 0):.1f}"
        marks.append(f"<rect class=bar {size}>{_title(f'{left:.4g} to {right:.4g}: {height:,.0f}')}</rect>")
    return _chart(x, y, "".join(marks))


def matrix_chart(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Returns a confusion matrix: true classes down, predicted ones across; a darker cell has more of its row."""
    cell = (WIDTH - LEFT - RIGHT) / len(names)
    parts = [f"<text x=0 y=11>true ↓</text><text text-anchor=end x={WIDTH - RIGHT} y=11>predicted →</text>"]
    height = max(min(cell, 44), 18)
    for row, (name, numbers) in enumerate(zip(names, counts, strict=True)):
        top, left = 34 + row * height, LEFT + row * cell
        label = html.escape(shortened(name, int(LEFT / LETTER) - 1))
        parts.append(f"<text text-anchor=end x={LEFT - 5} y={top + height / 2 + 4:.4g}>{label}</text>")
        label = html.escape(shortened(name, max(int(cell / LETTER), 1)))
        parts.append(f"<text text-anchor=middle x={left + cell / 2:.4g} y=28>{label}</text>")
        for column, number in enumerate(numbers):
            share = number / (sum(numbers) or 1)
            place = f"x={LEFT + column * cell:.4g} y={top:.4g}"
            tip = _title(f"{number:,} of class {name} predicted as {names[column]}, {share:.1%} of the class")
            size = f"width={cell - 1:.4g} height={height - 1:.4g}"
            parts.append(f"<rect class=cell fill-opacity={max(share, 0.02):.2f} {place} {size}>{tip}</rect>")
            middle = f"x={LEFT + (column + 0.5) * cell:.4g} y={top + height / 2 + 4:.4g}"
            ink = " class=ink" if share > 0.55 else ""
            text = f"{number:,}" if len(f"{number:,}") * LETTER < cell else ""
            parts.append(f"<text text-anchor=middle{ink} {middle}>{text}</text>" if number else "")
    return _svg("confusion matrix", "".join(parts), height=int(36 + len(names) * height))


def _points(x: Axis, y: Axis, points: Sequence[Mark]) -> str:
    """Returns points; the last ones are drawn on top."""
    marks = []
    for mark in points:
        left, top = _at(x, y, next(point for point in mark.points if point is not None))
        attributes = "class=b r=5" if mark.is_best else "r=3"
        marks.append(f"<circle {attributes} cx={left} cy={top}>{_title(mark.title)}</circle>")
    return f"<g class=p>{''.join(marks)}</g>" if marks else ""


def bar_chart(label: str, shares: Sequence[tuple[str, float]]) -> str:
    """Returns a horizontal bar for each share from 0 to 1, with its name above it and its percentage beside it."""
    return value_chart(label, [(name, share, f"{share:.0%}", f"{name} {share:.1%}") for name, share in shares])


def value_chart(label: str, bars: Sequence[tuple[str, float, str, str]]) -> str:
    """Returns a horizontal bar for each (name, value, text, tooltip): the name above it, the text beside it.

    A value below 0 has no length.
    """
    room = WIDTH - max([48.0, *(LETTER * len(text) + 12 for _, _, text, _ in bars)])  # for the texts
    greatest = max((value for _, value, _, _ in bars), default=0)
    parts = []
    for index, (name, value, text, tip) in enumerate(bars):
        top, width = index * BAR, max(room * value / greatest if greatest > 0 else 0, 1)
        parts.append(
            f"<text x=0 y={top + 13}>{html.escape(shortened(name, int(WIDTH / LETTER)))}</text>"
            f"<rect class=bar x=0 y={top + 18} width={width:.1f} height=10 rx=2>{_title(tip)}</rect>"
            f"<text x={width + 6:.1f} y={top + 27}>{html.escape(text)}</text>"
        )
    return _svg(label, "".join(parts), height=max(len(bars), 1) * BAR)


def _even(low: float, high: float, *, least_step: float) -> list[float]:
    """Returns round numbers between two others, at most about NUM_TICKS of them."""
    wanted = max(high / NUM_TICKS - low / NUM_TICKS, least_step)
    power = 10.0 ** math.floor(math.log10(wanted))
    step = next((factor * power for factor in STEPS if factor * power >= wanted * 0.999), 10 * power)
    first = math.ceil(low / step - 1e-9)
    ticks = [(first + index) * step for index in range(NUM_TICKS + 2)]
    return [tick for tick in ticks if tick <= high + 1e-9 * step]


def _numbers(ticks: Sequence[float]) -> list[str]:
    """Returns numbers as texts, with as many digits as distinguish them; whole ones of up to 7 digits with all."""
    if all(float(tick).is_integer() and abs(tick) < MAX_WHOLE for tick in ticks):
        return [f"{tick:.0f}" for tick in ticks]
    for digits in (4, 6, 8, 17):
        texts = [f"{tick:.{digits}g}" for tick in ticks]
        if len(set(texts)) == len(set(ticks)):
            break
    return texts


def _powers(low: float, high: float) -> list[float]:
    """Returns powers of ten between two positive numbers, at most about NUM_TICKS; the two if there are few."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    every = max(math.ceil((last - first) / NUM_TICKS), 1)
    powers = [10.0**power for power in range(first, last + 1, every)]
    return powers if len(powers) > 1 else [low, high]


def _from_left(place: float) -> float:
    return LEFT + PADDING + place * (WIDTH - LEFT - RIGHT - 2 * PADDING)


def _from_top(place: float) -> float:
    return HEIGHT - BOTTOM - PADDING - place * (HEIGHT - TOP - BOTTOM - 2 * PADDING)


def _at(x: Axis, y: Axis, point: Point) -> tuple[str, str]:
    """Returns where a point is drawn, in pixels from the left and from the top."""
    return f"{_from_left(x.place(point[0])):.4g}", f"{_from_top(y.place(point[1])):.4g}"


def _line(x: Axis, y: Axis, line: Mark) -> str:
    """Returns a path through the points of a line, in pieces where it has gaps; a piece of one point is a dot."""
    path, is_open = "", False
    for point in line.points:
        if point is None:
            is_open = False
            continue
        path += f"{'L' if is_open else 'M'}{' '.join(_at(x, y, point))}{'' if is_open else 'h0'}"
        is_open = True
    attributes = "class=lr" if line.is_reference else "class=lb" if line.is_best else "class=l"
    return f'<path {attributes} d="{path}">{_title(line.title)}</path>' if path else ""


def _title(text: str) -> str:
    return f"<title>{html.escape(text)}</title>"


def _chart(x: Axis, y: Axis, marks: str) -> str:
    """Returns marks within two axes with their ticks and labels."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [f'<path class=a d="M{LEFT} {TOP}V{bottom}H{right}"/>']
    for place, text in y.ticks:
        top = _from_top(place)
        parts.append(f'<path class=g d="M{LEFT} {top:.4g}H{right}"/>')
        parts.append(f"<text text-anchor=end x={LEFT - 5} y={top + 4:.4g}>{html.escape(text)}</text>")
    for place, text in x.ticks if x.has_slots else _with_room(x.ticks):
        left = _from_left(place)
        anchor = "end" if place > 0.95 else "middle"
        parts.append(f"<text text-anchor={anchor} x={left:.4g} y={bottom + 15}>{html.escape(text)}</text>")
    label = html.escape(shortened(x.label, int((WIDTH - LEFT) / LETTER)))
    parts.append(f"<text class=x text-anchor=middle x={(LEFT + right) / 2:.4g} y={HEIGHT - 6}>{label}</text>")
    return _svg(f"{y.label} over {x.label}", "".join(parts) + marks, height=HEIGHT)


def _with_room(ticks: Sequence[tuple[float, str]]) -> Sequence[tuple[float, str]]:
    """Returns those ticks below a chart whose texts don't touch: all, or every second, or every third."""
    letters = max((len(text) for _, text in ticks), default=0) + 1
    most = max(int((WIDTH - LEFT - RIGHT) / LETTER / letters), 1)
    return ticks[:: -(-len(ticks) // most) or 1]


def _svg(label: str, content: str, *, height: int) -> str:
    name = html.escape(label, quote=True)
    return f'<svg role=img aria-label="{name}" viewBox="0 0 {WIDTH} {height}">{content}</svg>'
