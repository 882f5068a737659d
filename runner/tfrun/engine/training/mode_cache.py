"""What `trainer.compile=auto` found out, kept for the next run of the same program on the same machine.

One small JSON file for each in `$XDG_CACHE_HOME/tfrun/choices` (`~/.cache/tfrun/choices`). It may be deleted at any
time, and a run that can neither read nor write it only measures again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfrun.errors import ResourceError
from tfrun.files.disk import write_atomically
from tfrun.files.xla_cache import cache_folder


class Choices:
    """The answer for one program.

    Args:
        description: all that the answer depends on: model, data shape, batch size, device, versions.
        folder: where answers are kept.
    """

    def __init__(self, description: Mapping[str, Any], folder: Path | None = None):
        text = json.dumps(description, sort_keys=True, default=str)
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        self._path = (folder or cache_folder() / "choices") / f"{name}.json"

    def read(self) -> dict[str, str] | None:
        """Returns `mode` and `why`, or None."""
        try:
            answer = json.loads(self._path.read_text())
            return {"mode": answer["mode"], "why": answer["why"]}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, answer: Mapping[str, str]) -> None:
        """Keeps an answer, if that can be done."""
        with contextlib.suppress(OSError, ResourceError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, json.dumps(dict(answer)) + "\n")
