"""A run whose model an export holds, alone or together with others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tfrun.config.settings import Settings
from tfrun.data.preprocessing import Preprocessing
from tfrun.files.runs import RunFolder


@dataclass(frozen=True)
class ExportedRun:
    """A run whose model an export holds.

    Attributes:
        folder: its folder.
        config: its `config.yaml`, with what the command line has changed.
        settings: the same, checked.
        fitted: its preprocessing.
    """

    folder: RunFolder
    config: dict[str, Any]
    settings: Settings
    fitted: Preprocessing
