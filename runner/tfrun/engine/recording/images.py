"""Draws images for TensorBoard, and for the page of a run."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL_PIXELS = 56
MARGIN_PIXELS = 90
SMALL_CELLS_PIXELS = 1200  # the size of a matrix whose cells are too small for numbers
MAX_LABELED = 40  # classes; a larger matrix has no room for labels and numbers
SMALL_IMAGE_PIXELS = 64  # the most of a small image
LABELED_PIXELS, LINE_PIXELS = 104, 16  # of an image with its label, and of a line of that
MIN_IMAGE_PIXELS = 64  # smaller images are enlarged to about this size


def confusion_matrix(counts: np.ndarray, labels: Sequence[str]) -> bytes:
    """Returns a PNG with a row for each true class and a column for each predicted one.

    The greater a cell's share of its row, the darker it is.

    Args:
        counts: (K, K), true classes down, predicted ones across.
        labels: the classes' names.
    """
    num_classes = len(counts)
    is_labeled = num_classes <= MAX_LABELED
    cell = CELL_PIXELS if is_labeled else max(2, SMALL_CELLS_PIXELS // num_classes)
    size = MARGIN_PIXELS + cell * num_classes
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    draw.text((4, 4), "true \\ predicted", fill="black")
    for i in range(num_classes):
        y = MARGIN_PIXELS + i * cell
        if is_labeled:
            draw.text((4, y + cell // 2 - 5), labels[i][:12], fill="black")
            draw.text((y + 4, MARGIN_PIXELS - 16), labels[i][:8], fill="black")  # the matrix is square: x is y
        for j in range(num_classes):
            x = MARGIN_PIXELS + j * cell
            shade = 255 - round(205 * shares[i, j])
            draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=(shade, shade, 255), outline=(210, 210, 210))
            if is_labeled:
                ink = "white" if shares[i, j] > 0.6 else "black"
                draw.text((x + cell // 2, y + cell // 2), f"{counts[i, j]:,.10g}", fill=ink, anchor="mm")
    return _png(image)


def image_grid(images: np.ndarray) -> bytes:
    """Returns a PNG with images side by side; the least value of all is black and the greatest white.

    Args:
        images: (N, H, W), or (N, H, W, C) with one channel or three; drawn in about √N rows.
    """
    values = np.asarray(images, "float64")
    values = values if values.ndim == 4 else values[..., None]
    low = values.min()
    high = values.max()
    pixels: np.ndarray = np.round(255 * (values - low) / max(high - low, 1e-12)).astype(np.uint8)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    num_columns = math.ceil(len(pixels) ** 0.5)
    num_rows = math.ceil(len(pixels) / num_columns)
    factor = max(1, MIN_IMAGE_PIXELS // max(pixels.shape[1:3]))
    height, width = (factor * size for size in pixels.shape[1:3])
    grid = Image.new("RGB", (num_columns * (width + 2), num_rows * (height + 2)), "white")
    for k, small in enumerate(pixels):
        image = Image.fromarray(np.ascontiguousarray(small)).resize((width, height), Image.Resampling.NEAREST)
        row, column = divmod(k, num_columns)
        grid.paste(image, (column * (width + 2) + 1, row * (height + 2) + 1))
    return _png(grid)


def small_images(images: np.ndarray) -> list[bytes]:
    """Returns a PNG of each image, at most 64 pixels a side; the least value of all is black, the greatest white.

    Args:
        images: (N, H, W), or (N, H, W, C) with one channel or three.
    """
    values = np.asarray(images, "float64")
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    low, high = values.min(), values.max()
    pixels: np.ndarray = np.round(255 * (values - low) / max(high - low, 1e-12)).astype(np.uint8)
    pngs = []
    for each in pixels:
        image = Image.fromarray(np.ascontiguousarray(each))
        image.thumbnail((SMALL_IMAGE_PIXELS, SMALL_IMAGE_PIXELS))
        pngs.append(_png(image))
    return pngs


def labeled_images(pngs: Sequence[bytes], names: Sequence[Sequence[str]]) -> bytes:
    """Returns a PNG with images side by side, each above what is predicted for it: in red, with the truth, if wrong.

    Args:
        pngs: the images, N of them.
        names: the predicted and the true class of each.
    """
    num_columns = math.ceil(len(pngs) ** 0.5)
    height = LABELED_PIXELS + 2 * LINE_PIXELS
    grid = Image.new("RGB", (num_columns * LABELED_PIXELS, math.ceil(len(pngs) / num_columns) * height), "white")
    draw = ImageDraw.Draw(grid)
    font = ImageFont.load_default(LINE_PIXELS - 3)
    for k, (png, (predicted, true)) in enumerate(zip(pngs, names, strict=True)):
        row, column = divmod(k, num_columns)
        left, top = column * LABELED_PIXELS, row * height
        image = Image.open(io.BytesIO(png))
        factor = (LABELED_PIXELS - 8) / max(image.size)
        size = (max(1, round(factor * image.width)), max(1, round(factor * image.height)))
        grid.paste(image.resize(size, Image.Resampling.NEAREST).convert("RGB"), (left + 4, top + 4))
        is_right = predicted == true
        draw.text((left + 4, top + LABELED_PIXELS), predicted[:14], fill="black" if is_right else "red", font=font)
        if not is_right:
            draw.text((left + 4, top + LABELED_PIXELS + LINE_PIXELS), f"not {true[:10]}", fill="red", font=font)
    return _png(grid)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
