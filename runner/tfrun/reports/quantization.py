"""A sentence on what quantizing an export has changed."""

from __future__ import annotations

from tfrun.console import shown_number
from tfrun.files.exports import Quantized


def sentence_on_quantized(quantized: Quantized) -> str:
    """Returns a sentence with the metric, the size and the time of one row, each in float32 and quantized."""
    before, after = map(shown_number, quantized.values)
    size, small = (f"{size / 1000:,.0f}" for size in quantized.sizes)
    slow, fast = (f"{milliseconds:.3g}" for milliseconds in quantized.milliseconds)
    return (
        f"{quantized.kind}: {quantized.metric} {after} on {quantized.num_rows:,} test rows, {before} in float32 "
        f"({_drop_text(quantized)}); {small} kB instead of {size}; {fast} ms a row instead of {slow}"
    )


def _drop_text(quantized: Quantized) -> str:
    """Returns how much worse the metric became, as `max_drop` counts it."""
    if quantized.drop <= 0:
        return "no drop"
    if not quantized.is_relative:
        return f"a drop of {quantized.drop:.4f}"
    return f"a drop of {100 * quantized.drop:.2f} %"
