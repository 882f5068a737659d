"""Pictures for TensorBoard."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

CELL, MARGIN = 56, 90  # pixels
IMAGE = 64  # what a small image is enlarged to
MAX_DRAWN = 40  # classes; a larger matrix has no room for numbers


def confusion_matrix(counts: np.ndarray, labels: Sequence[str]) -> bytes:
    """Returns a PNG: a row for each true class, a column for each predicted one, darker where more of the row lies.

    Args:
        counts: (K, K), true classes down, predicted ones across.
        labels: the classes' names.
    """
    num_classes, written = len(counts), len(counts) <= MAX_DRAWN
    cell = CELL if written else max(2, 1200 // num_classes)
    size = MARGIN + cell * num_classes
    picture = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(picture)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    draw.text((4, 4), "true \\ predicted", fill="black")
    for i in range(num_classes):
        if written:
            draw.text((4, MARGIN + i * cell + cell // 2 - 5), labels[i][:12], fill="black")
            draw.text((MARGIN + i * cell + 4, MARGIN - 16), labels[i][:8], fill="black")
        for j in range(num_classes):
            x, y = MARGIN + j * cell, MARGIN + i * cell
            shade = 255 - round(205 * shares[i, j])
            draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=(shade, shade, 255), outline=(210, 210, 210))
            if written:
                ink = "white" if shares[i, j] > 0.6 else "black"
                draw.text((x + cell // 2, y + cell // 2), f"{counts[i, j]:,.10g}", fill=ink, anchor="mm")
    return _png(picture)


def images(values: np.ndarray) -> bytes:
    """Returns a PNG with images side by side, the least value of all black and the greatest white.

    Args:
        values: (N, H, W), or (N, H, W, C) with one channel or three; drawn in about √N rows.
    """
    values = np.asarray(values, "float64")
    values = values if values.ndim == 4 else values[..., None]
    low, high = values.min(), values.max()
    pixels: np.ndarray = np.round(255 * (values - low) / max(high - low, 1e-12)).astype(np.uint8)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    across = math.ceil(len(pixels) ** 0.5)
    down = math.ceil(len(pixels) / across)
    times = max(1, IMAGE // max(pixels.shape[1:3]))
    height, width = (times * size for size in pixels.shape[1:3])
    picture = Image.new("RGB", (across * (width + 2), down * (height + 2)), "white")
    for k, own in enumerate(pixels):
        image = Image.fromarray(np.ascontiguousarray(own)).resize((width, height), Image.Resampling.NEAREST)
        picture.paste(image, (k % across * (width + 2) + 1, k // across * (height + 2) + 1))
    return _png(picture)


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
