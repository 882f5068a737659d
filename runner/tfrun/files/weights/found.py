"""What a path of `init.from` is, looked at before TensorFlow is imported; `opened` reads it afterwards."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from tfrun.errors import ConfigError
from tfrun.folders import shown

RUN, SAVED_MODEL = "run", "saved_model"
SUFFIXES = {  # the longest that fits counts; the reader of each is in `opened`
    ".keras": "keras",
    ".weights.json": "weights.json",
    ".h5": "h5",
    ".hdf5": "h5",
    ".npz": "npz",
}


def kind_of(text: str) -> tuple[Path, str]:
    """Returns a source's path and kind. Raises ConfigError if there is no such file or folder, or it is none."""
    path = Path(text).expanduser().absolute()
    if os.path.isdir(path):  # Path.is_dir raises an error for a name that is too long
        if (path / "config.yaml").is_file():
            return path, RUN
        if (path / "saved_model.pb").is_file():
            return path, SAVED_MODEL
        newest = max(path.glob("*/config.yaml"), default=None, key=lambda file: file.parent.name)
        hint = f" Its newest run is {shown(newest.parent)}" if newest else ""
        raise _no_source(text, "the folder is neither a run's nor a SavedModel's", hint=hint)
    if not os.path.isfile(path):
        raise _no_source(text, "no such file or folder", hint=_near_miss(path))
    for suffix, kind in SUFFIXES.items():
        if path.name.endswith(suffix):
            return path, kind
    raise _no_source(text, "not a file of weights")


def _near_miss(path: Path) -> str:
    """Returns a sentence with the path that a mistyped one may mean, up to the first part that isn't there."""
    while not os.path.isdir(path.parent):
        path = path.parent
    if os.path.exists(path):  # a device, for example
        return ""
    close = difflib.get_close_matches(path.name, sorted(item.name for item in path.parent.iterdir()), n=1)
    return f" Did you mean '{shown(path.with_name(close[0]))}'?" if close else ""


def _no_source(text: str, reason: str, *, hint: str = "") -> ConfigError:
    """Returns the error for a path without weights; `hint` is a sentence that follows it."""
    return ConfigError(
        f"init.from: {reason}. Received: {text!r}. Expected: a run's folder, a SavedModel's folder, or a file "
        f"*.keras, *.weights.h5, *.weights.json, *.h5 or *.npz.{hint}"
    )
