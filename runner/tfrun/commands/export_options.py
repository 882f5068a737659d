"""The options of `tfrun export`, which aren't keys of the run's config: the format, the folder, quantization."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrun.commands.command_line import CommandLine, pop_word
from tfrun.config.keys import check_name
from tfrun.errors import ConfigError, unknown
from tfrun.files.exports import MAX_DROP, QUANTIZATIONS, Export, Quantization
from tfrun.files.runs import EXPORTS
from tfrun.files.serving_versions import new_version

OPTIONS = ("format", "out", "ensemble", "quantize", "max_drop", "name", "version")
MAX_VERSION = 2**63 - 1  # TensorFlow Serving counts in int64


@dataclass(frozen=True)
class ExportOptions:
    """The options of `tfrun export`.

    Attributes:
        format: one of `EXPORTS`.
        out: the folder to write to, as it was typed; None is the one of the run.
        ensemble: which runs an ensemble is of, as it was typed; None for one run.
        quantization: how the weights are quantized; None if they aren't.
        name: of the model that a server serves; None is the run's.
        version: of this model; None is the next one.
    """

    format: str
    out: str | None
    ensemble: str | None
    quantization: Quantization | None
    name: str | None
    version: int | None

    def export_to(self, folder: Path, *, run_id: str, is_own_folder: bool, config: Mapping[str, Any]) -> Export:
        """Returns where the export goes.

        Args:
            folder: the folder to write to.
            run_id: of the run, or those of an ensemble.
            is_own_folder: whether the folder is the run's own.
            config: the run's, for its name.

        Raises:
            ConfigError: the version is there already.
        """
        place = ""
        if self.format == "serving":
            name = self.name if self.name is not None else config.get("name", "model")
            check_name("name", name)
            place = f"{EXPORTS['serving']}/{name}/{new_version(folder, name, version=self.version)}"
        elif self.quantization is not None:
            path = Path(EXPORTS[self.format])
            place = f"{path.stem}.{self.quantization.kind}{path.suffix}"
        return Export(self.format, folder, run_id=run_id, is_own_folder=is_own_folder, place=place)


def pop_options(command_line: CommandLine) -> tuple[ExportOptions, CommandLine]:
    """Returns the options of a command line, and the command line without them.

    Raises:
        ConfigError: there is no single format, or a value or a combination that isn't one.
    """
    formats, rest = pop_formats(command_line)
    if len(formats) != 1:
        raise ConfigError(
            f"export: needs one format of {', '.join(EXPORTS)}: tfrun export RUN format=saved_model. "
            f"Received: {', '.join(formats) or 'none'}"
        )
    (format,) = formats
    words: dict[str, str | None] = {}
    for key in OPTIONS[1:]:
        values, rest = pop_word(rest, key)
        words[key] = values[-1] if values else None
    for key in ("name", "version"):
        if words[key] is not None and format != "serving":
            raise ConfigError(f"{key}: only format=serving has one. Received: {key}={words[key]} format={format}")
    if words["name"] is not None:
        check_name("name", words["name"])
    quantization = _quantization(words["quantize"], words["max_drop"], format=format, ensemble=words["ensemble"])
    version = None if words["version"] is None else _version(words["version"])
    out, ensemble = words["out"] or None, words["ensemble"] or None
    return ExportOptions(format, out, ensemble, quantization, words["name"], version), rest


def pop_formats(command_line: CommandLine) -> tuple[list[str], CommandLine]:
    """Returns the export formats that `format=…` names, and the command line without those words."""
    formats, rest = pop_word(command_line, "format")
    for name in formats:
        if name not in EXPORTS:
            raise unknown("format", "format", name=name, known=EXPORTS)
    return formats, rest


def _quantization(kind: str | None, max_drop: str | None, *, format: str, ensemble: str | None) -> Quantization | None:
    """Returns how the weights are to be quantized, or None. Raises ConfigError for words that don't fit."""
    if kind is None:
        if max_drop is not None:
            raise ConfigError(
                f"max_drop: needs quantize={', '.join(QUANTIZATIONS)}, whose effect it limits. "
                f"Received: max_drop={max_drop} alone"
            )
        return None
    if kind not in QUANTIZATIONS:
        raise unknown("quantize", "way to quantize", name=kind, known=QUANTIZATIONS)
    if format != "litert":
        raise ConfigError(f"quantize: only format=litert is quantized. Received: quantize={kind} format={format}")
    if ensemble is not None:
        raise ConfigError(
            f"quantize: takes one run, since an ensemble isn't evaluated. Received: quantize={kind} ensemble={ensemble}"
        )
    return Quantization(kind, MAX_DROP if max_drop is None else _max_drop(max_drop))


def _max_drop(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ConfigError(f"max_drop: must be a number from 0 on. Received: {text!r}. Example: max_drop={MAX_DROP}")
    return number


def _version(text: str) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) < 20
    if not is_number or not 1 <= int(text) <= MAX_VERSION:
        raise ConfigError(f"version: must be a whole number from 1 on. Received: {text!r}. Example: version=3")
    return int(text)
