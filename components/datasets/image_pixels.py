"""Decodes images, in files or in memory, to pixels of one size."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps, UnidentifiedImageError

from tfrun.data.sinks import PlannedSink
from tfrun.errors import DataError

PILLOW_VERSION: str = PIL.__version__
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
MAX_PIXELS = 2**27  # of a file: a small one can unpack to more than the memory
AT_ONCE = 256  # images
CHANNELS = {1: "L", 3: "RGB"}
WHITE = (255, 255, 255, 255)
STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")  # of JPEG, PNG and GIF


class ImageError(Exception):
    """Bytes that can't be read as an image; the message says why.

    Attributes:
        row: the image's place among several.
    """

    row = 0


@dataclass(frozen=True)
class PixelFormat:
    """The size and the channels that every image gets.

    Attributes:
        resize: "stretch", "crop" or "pad".
    """

    height: int
    width: int
    channels: int
    resize: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image's pixels."""
        return self.height, self.width, self.channels


def decode_all(
    paths: Sequence[Path], pixel_format: PixelFormat, *, find: Callable[[int], str] | None = None
) -> Iterator[np.ndarray]:
    """Yields the pixels of images, block by block, (B, height, width, channels) uint8, in the order of the paths.

    Args:
        paths: the files.
        pixel_format: the size and channels.
        find: the place of a path -> where it is named, for messages; None if nowhere.

    Raises:
        DataError: a file can't be read, isn't an image, or is too large.
    """

    def attempt(path: Path) -> np.ndarray | DataError:
        try:
            return decode(path, pixel_format)
        except DataError as error:
            return error

    with warnings.catch_warnings(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `decode` refuses sooner than it warns
        for start in range(0, len(paths), AT_ONCE):
            block: list[np.ndarray] = []
            for row, decoded in enumerate(threads.map(attempt, paths[start : start + AT_ONCE]), start):
                if isinstance(decoded, DataError):
                    raise decoded if find is None else DataError(f"{find(row)}, {decoded}")
                block.append(decoded)
            yield np.stack(block)


def decode_in_memory(
    paths: Sequence[Path], pixel_format: PixelFormat, *, find: Callable[[int], str] | None = None
) -> np.ndarray:
    """Returns the pixels of images as one array, (N, height, width, channels) uint8; see `decode_all`."""
    pixels = PlannedSink((len(paths), *pixel_format.shape), np.uint8)
    for block in decode_all(paths, pixel_format, find=find):
        pixels.append(block)
    return pixels.finish()


def decode(path: Path, pixel_format: PixelFormat) -> np.ndarray:
    """Returns an image's pixels, (height, width, channels) uint8, turned as its EXIF data say.

    Transparent pixels are on white. Raises DataError.
    """
    if not path.is_file():  # a pipe would wait
        raise DataError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
    try:
        return _decode(path, pixel_format)
    except ImageError as error:
        raise DataError(f"{path}: {error}") from None


def decode_bytes(contents: Sequence[bytes], pixel_format: PixelFormat) -> np.ndarray:
    """Returns the pixels of images, (B, height, width, channels) uint8, which `contents` has as they are in files.

    Raises:
        ImageError: an image can't be read; `row` is its place.
    """

    def attempt(content: bytes) -> np.ndarray | ImageError:
        try:
            return _decode(io.BytesIO(content), pixel_format)
        except ImageError as error:
            return error

    pixels = np.empty((len(contents), *pixel_format.shape), np.uint8)
    with warnings.catch_warnings(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `_decode` refuses sooner than it warns
        for row, decoded in enumerate(threads.map(attempt, contents)):
            if isinstance(decoded, ImageError):
                decoded.row = row
                raise decoded
            pixels[row] = decoded
    return pixels


def is_image(content: bytes) -> bool:
    """Returns whether bytes begin as an image of a known format, of which no text begins so, does."""
    return content.startswith(STARTS) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def _decode(file: Path | io.BytesIO, pixel_format: PixelFormat) -> np.ndarray:
    """Returns an image's pixels. Raises ImageError."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"more than {MAX_PIXELS:,} pixels. Received: {image.width} x {image.height}")
            # a JPEG that is much too large can be decoded at a half, a quarter or an eighth of its size
            image.draft(None, (2 * max(pixel_format.shape[:2]),) * 2)
            return _pixels(ImageOps.exif_transpose(image), pixel_format)
    except ImageError:
        raise
    except Image.DecompressionBombError:  # Pillow's own limit
        raise ImageError(f"more than {MAX_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise ImageError(f"isn't an image of the formats {', '.join(FORMATS)}") from None
    except OSError as error:
        raise ImageError(f"can't be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged file can raise almost anything
        raise ImageError(f"can't be read as an image: {error}") from None


def _pixels(image: Image.Image, pixel_format: PixelFormat) -> np.ndarray:
    size = pixel_format.width, pixel_format.height
    converted = _converted(image, CHANNELS[pixel_format.channels])
    if pixel_format.resize == "crop":
        resized = ImageOps.fit(converted, size, Image.Resampling.BILINEAR)
    elif pixel_format.resize == "pad":
        resized = ImageOps.pad(converted, size, Image.Resampling.BILINEAR)
    else:
        resized = converted.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(resized, np.uint8).reshape(pixel_format.shape)


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """Returns an image as "L" or "RGB"."""
    if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
    return image.convert(mode)
