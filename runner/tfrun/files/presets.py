"""Presets of KerasHub: a network with its weights, and what its inputs need: a tokenizer, or the scale of pixels.

A preset is a folder that KerasHub, Hugging Face's transformers or timm has saved, or a name or an address that KerasHub
downloads. KerasHub is an extra and is imported only when it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrun.errors import ConfigError, ResourceError, near_miss
from tfrun.folders import shown

CONFIG = "config.json"
WEIGHTS = ("model.weights.h5", "model.weights.json")  # of KerasHub itself; those of others are converted
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
IMAGE_FILES = ("image_converter.json", "preprocessor_config.json")
MAX_CONFIG_BYTES = 2**26
MAX_TOKENS = 10**8


@dataclass(frozen=True)
class Preset:
    """A preset that exists, or whose name KerasHub knows.

    Attributes:
        where: the config key that names it, for messages.
        handle: what KerasHub takes: the absolute path of a folder, a name, or an address.
        folder: the folder; None if the preset is downloaded.
    """

    where: str
    handle: str
    folder: Path | None

    @classmethod
    def of(cls, text: str, *, where: str) -> Preset:
        """Returns the preset of a path, a name or an address. Raises ConfigError if there is none."""
        folder = Path(text).expanduser().absolute()
        if os.path.isdir(folder):  # Path.is_dir raises an error for a name that is too long
            _read_config(folder, where=where)  # first: another folder may be large
            _refuse_others(folder, where=where)
            return cls(where, str(folder), folder)
        if "://" in text:
            return cls(where, text, None)
        names = sorted(_keras_hub(where).models.Backbone.presets)
        if text not in names:
            close = near_miss(text, names)
            raise ConfigError(f"{where}: no such folder, and no preset of KerasHub. Received: {text!r}.{close}")
        return cls(where, text, None)

    @property
    def weights(self) -> Path | None:
        """The file of the weights, if Keras has written it; None if they have to be converted or downloaded."""
        if self.folder is None or "registered_name" not in _read_config(self.folder, where=self.where):
            return None
        return next((self.folder / name for name in WEIGHTS if (self.folder / name).is_file()), None)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that say what the network is and how its images are scaled; none if they are downloaded."""
        if self.folder is None:
            return ()
        return tuple(file for name in (CONFIG, *IMAGE_FILES) if os.path.isfile(file := self.folder / name))

    def backbone(self, *, has_weights: bool, **options: Any) -> Any:
        """Returns the network, a `keras.Model`, with its weights or with fresh ones.

        Args:
            has_weights: whether it gets its weights.
            options: arguments of its class, in place of those of the preset.

        Raises:
            ConfigError: the preset is damaged, or of a kind that KerasHub doesn't know.
            ResourceError: it can't be downloaded.
        """
        make = _keras_hub(self.where).models.Backbone.from_preset
        return self._loaded(lambda: make(self.handle, load_weights=has_weights, **options))

    def tokenizer(self) -> Any:
        """Returns the tokenizer, a `keras_hub.tokenizers.Tokenizer` that gives ids. Raises as `backbone`."""
        kind = _keras_hub(self.where).tokenizers.Tokenizer
        if self.folder is not None and not any((self.folder / name).is_file() for name in TOKENIZER_FILES):
            raise ConfigError(f"{self.where}: {shown(self.folder)} has no tokenizer")
        tokenizer = self._loaded(lambda: _of_kind(kind, kind.from_preset(self.handle)))
        for option, expected in (("sequence_length", None), ("split", True)):
            if getattr(tokenizer, option, expected) != expected:
                raise ConfigError(f"{self.where}: {self.handle}: its tokenizer's {option} must be {expected}")
        if not tokenizer.compute_dtype.startswith("int"):
            raise ConfigError(f"{self.where}: {self.handle}: its tokenizer gives {tokenizer.compute_dtype}, not ids")
        return tokenizer

    def image_converter(self) -> Any:
        """Returns the layer that scales images, a `keras_hub.layers.ImageConverter`; None if the preset has none.

        Raises as `backbone`.
        """
        if self.folder is not None:
            has_file = any((self.folder / name).is_file() for name in IMAGE_FILES)
            if not has_file and not _read_config(self.folder, where=self.where).get("pretrained_cfg"):  # timm's
                return None
        kind = _keras_hub(self.where).layers.ImageConverter
        return self._loaded(lambda: _of_kind(kind, kind.from_preset(self.handle)))

    def _loaded(self, load: Callable[[], Any]) -> Any:
        try:
            return load()
        except Exception as error:  # whatever a damaged file, an unknown kind of network or a missing network raises
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            if self.folder is None:
                raise ResourceError(f"{self.where}: {self.handle} can't be downloaded: {reason}") from error
            raise ConfigError(f"{self.where}: {shown(self.folder)} can't be used as a preset: {reason}") from error


@dataclass(frozen=True)
class TokenizerFacts:
    """A preset's tokenizer, as a run records it.

    Attributes:
        preset: the absolute path of the preset's folder, or its name or address.
        num_tokens: the number of its ids, from 0 on.
        sha256: of its configuration and its vocabulary.
    """

    preset: str
    num_tokens: int
    sha256: str

    def __post_init__(self) -> None:
        """Raises ValueError for what no run records: `preprocessing.json` may have been edited."""
        is_right = isinstance(self.preset, str) and isinstance(self.sha256, str) and type(self.num_tokens) is int
        if not is_right or not 0 < self.num_tokens <= MAX_TOKENS:
            raise ValueError(f"no tokenizer can have: {self}")

    @classmethod
    def of(cls, preset: Preset) -> TokenizerFacts:
        """Returns those of a preset. Raises ConfigError, ResourceError."""
        tokenizer = preset.tokenizer()
        return cls(preset.handle, int(tokenizer.vocabulary_size()), _digest(tokenizer))

    def load(self, *, where: str) -> Any:
        """Returns the tokenizer.

        Raises:
            ConfigError: it is gone, or isn't the same any more.
            ResourceError: it can't be downloaded.
        """
        tokenizer = Preset.of(self.preset, where=where).tokenizer()
        if _digest(tokenizer) != self.sha256:
            raise ConfigError(f"{where}: the tokenizer of {self.preset} has changed since the run began")
        return tokenizer


def _digest(tokenizer: Any) -> str:
    """Returns the SHA-256 of what a tokenizer is made of, wherever it was loaded from."""
    config = {key: value for key, value in tokenizer.get_config().items() if key != "name"}
    digest = hashlib.sha256(repr(sorted(config.items())).encode())
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_assets(folder)
        for file in sorted(Path(folder).iterdir()):
            digest.update(file.name.encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _of_kind(kind: type, made: Any) -> Any:
    """Returns what a preset's file describes. Raises TypeError if it is no such thing."""
    if not isinstance(made, kind):
        raise TypeError(f"{type(made).__name__} is no {kind.__name__}")
    return made


def _refuse_others(folder: Path, *, where: str) -> None:
    """Raises ConfigError for what is neither a file nor a folder, a pipe for example, and for files elsewhere."""
    for path in folder.rglob("*"):
        if not (os.path.isfile(path) or os.path.isdir(path)):
            raise ConfigError(f"{where}: {path} isn't a file")
    if os.path.isfile(index := folder / "model.safetensors.index.json"):
        names = set(re.findall(r'"([^"]*\.safetensors)"', index.read_text(errors="replace")))
        if outside := sorted(name for name in names if Path(name).name != name):
            raise ConfigError(f"{where}: {index} names a file in another folder, {outside[0]!r}")


def _read_config(folder: Path, *, where: str) -> dict[str, Any]:
    """Returns the content of a preset's config.json. Raises ConfigError if it has none."""
    if not os.path.isfile(folder / CONFIG):  # a pipe isn't one either, and reading it would wait for a writer
        raise ConfigError(f"{where}: the folder has no {CONFIG}, so it isn't a preset. Received: {folder}")
    try:
        if (folder / CONFIG).stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError("it is too large")
        config = json.loads((folder / CONFIG).read_text())
        if not isinstance(config, dict):
            raise TypeError("it isn't a mapping")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{where}: {folder / CONFIG} can't be read: {error}") from error
    return config


def _keras_hub(where: str) -> Any:
    """Returns the package. Raises ConfigError if it isn't installed, or if its own imports fail."""
    try:
        import keras_hub
    except ImportError as error:
        known = "" if error.name == "keras_hub" else f" ({error})"
        raise ConfigError(f"{where}: needs KerasHub{known}. Install it with: pip install 'tfrun[hub]'") from error
    return keras_hub
