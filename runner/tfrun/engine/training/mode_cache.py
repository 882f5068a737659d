"""The modes that `trainer.compile=auto` has measured, remembered for the next run of the same program.

One small JSON file for each program in `$XDG_CACHE_HOME/tfrun/choices` (`~/.cache/tfrun/choices`). It may be deleted
at any time, and a run that can neither read nor write it only measures again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfrun.errors import ResourceError
from tfrun.files import strict_json
from tfrun.files.disk import write_atomically
from tfrun.files.xla_cache import cache_folder


class ModeCache:
    """The remembered mode of one program.

    Args:
        description: everything that the mode depends on: model, data shape, batch size, device, versions.
        folder: where the files are.
    """

    def __init__(self, description: Mapping[str, Any], folder: Path | None = None):
        text = strict_json.dumps(description, sort_keys=True, default=str)
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        self._path = (folder or cache_folder() / "choices") / f"{name}.json"

    def read(self) -> dict[str, str] | None:
        """Returns `mode` and `why`, or None if nothing is remembered."""
        try:
            answer = json.loads(self._path.read_text())
            return {"mode": answer["mode"], "why": answer["why"]}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, answer: Mapping[str, str]) -> None:
        """Remembers `mode` and `why`, if the disk allows it."""
        with contextlib.suppress(OSError, ResourceError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, strict_json.dumps(dict(answer)) + "\n")
