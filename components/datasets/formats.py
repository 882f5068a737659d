"""Recognizes files of other formats by their first bytes, to name the data set that reads them."""

from __future__ import annotations

STARTS = (  # the first bytes of a file, its format, and what reads it
    (b"PAR1", "Parquet", "data=parquet"),
    (b"ARROW1", "Arrow", "data=parquet"),
    (b"\xff\xff\xff\xff", "Arrow", "data=parquet"),
    (b"\x93NUMPY", ".npy", "data=npz, as an array of an .npz file"),
    (b"\x89PNG", "PNG", "data=images"),
    (b"\xff\xd8\xff", "JPEG", "data=images"),
)
NUM_START = 8  # bytes, enough for all of them


def advice_for(path: str, start: bytes) -> str:
    """Returns a sentence on what reads a file, with a space before it; empty if its format isn't known.

    Args:
        path: the file, whose ending tells zip formats apart.
        start: its first `NUM_START` bytes.
    """
    for beginning, name, reader in STARTS:
        if start.startswith(beginning):
            return f" Its format is {name}: use {reader}"
    if start.startswith(b"PK"):
        return " For .npz files, use data=npz" if path.endswith(".npz") else " It is a zip file or a spreadsheet"
    return ""
