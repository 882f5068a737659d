"""Reads YAML files: in UTF-8, and only as large as their aliases may make them."""

from __future__ import annotations

import codecs
import io
import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from tfrun.errors import ConfigError

MAX_BYTES = 10 * 2**20
MAX_NODES = 100_000  # each alias counts as all that it stands for, so nine lines can't stand for a billion
MAX_DEPTH = 100
SECTION = re.compile(r"^(?=[A-Za-z_]\w*:)", re.MULTILINE)  # where a key of the top level begins

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _NamedText(io.StringIO):
    """A text with the name that PyYAML gives in its errors."""

    def __init__(self, text: str, name: str):
        super().__init__(text)
        self.name = name


def read_text(file: Path) -> str:
    """Returns the text of a YAML file, without a byte-order mark.

    Raises:
        ConfigError: it can't be read, is not in UTF-8, or stands for too much.
    """
    text = _decoded(file)
    _check_expanded(text, file)
    return text


def _decoded(file: Path) -> str:
    """Returns the text of a file, which may still stand for too much. Raises ConfigError."""
    try:
        if file.exists() and not file.is_file():  # a pipe would wait for a writer
            raise ConfigError(f"{file}: not a file")
        with open(file, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{file}: a YAML file may have at most {MAX_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(file, content, offset=error.start) from None
    if "\0" in text:
        raise _not_utf8(file, content, offset=content.index(0))
    return text


def load(file: Path) -> Any:
    """Returns the content of a YAML file in plain containers. Raises ConfigError or a YAMLError that names the file."""
    return yaml.load(_NamedText(read_text(file), str(file)), _Loader)


def load_similar(file: Path, sections: dict[str, Any]) -> Any:
    """Returns what `load` returns, but parses only those top-level sections that no file before it had.

    The configs of a sweep's jobs have most of their sections in common, and parsing is what takes the time.

    Args:
        file: the file.
        sections: the parsed sections by their text; new ones are added. Files share them, so nothing may change them.

    Raises:
        ConfigError: it can't be read, is not in UTF-8, or stands for too much.
        YAMLError: it is no YAML.
    """
    text = _decoded(file)
    if "&" in text or len(text) > MAX_NODES:  # a section may need another's anchor; only the whole can be too large
        return load(file)
    content: dict[str, Any] = {}
    for section in SECTION.split(text):
        if section not in sections:
            try:
                _check_expanded(section, file)
                parsed = yaml.load(section, _Loader)
            except (ConfigError, yaml.YAMLError):  # a quote over two lines, or a mistake: `load` gives its line
                return load(file)
            if parsed is not None and not isinstance(parsed, dict):
                return load(file)
            sections[section] = parsed or {}
        content |= sections[section]
    return content or load(file)


def load_config(file: Path) -> Any:
    """Returns the content of a YAML file as OmegaConf's config, read with OmegaConf's rules: `1e-3` is a number.

    Raises:
        ConfigError: it can't be read, is not in UTF-8, or stands for too much.
    """
    return OmegaConf.load(_NamedText(read_text(file), str(file)))


def _not_utf8(file: Path, content: bytes, *, offset: int) -> ConfigError:
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 0 in content
    hint = " It looks like UTF-16." if is_utf16 else ""
    return ConfigError(
        f"{file}: a YAML file must be in UTF-8. Received: the byte 0x{content[offset]:02x} at offset {offset}.{hint}"
    )


def _check_expanded(text: str, file: Path) -> None:
    """Raises ConfigError if a text stands for too many nodes. It counts them without making them."""
    known: dict[str, int | None] = {}  # nodes by anchor; None while the anchor's own node is being read
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    try:
        for event in yaml.parse(text, Loader=_Loader):
            anchor = getattr(event, "anchor", None)
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.CollectionStartEvent):
                known |= {anchor: None} if anchor else {}
                open_nodes.append((anchor, 1))
                if len(open_nodes) > MAX_DEPTH:
                    raise ConfigError(f"{file}:{line}: more than {MAX_DEPTH} levels of YAML")
                continue
            count = 1
            if isinstance(event, yaml.CollectionEndEvent):
                anchor, count = open_nodes.pop()
            elif isinstance(event, yaml.AliasEvent):
                if known.get(str(anchor), 1) is None:
                    raise ConfigError(f"{file}:{line}: the alias *{anchor} contains itself")
                count = known.get(str(anchor)) or 1
            elif not isinstance(event, yaml.ScalarEvent):
                continue
            if anchor and not isinstance(event, yaml.AliasEvent):
                known[anchor] = count
            parent, total = open_nodes.pop()
            open_nodes.append((parent, total + count))
            if total + count > MAX_NODES:
                where = f"{file}:{line}"
                raise ConfigError(f"{where}: too large: its aliases stand for more than {MAX_NODES:,} nodes")
    except yaml.YAMLError:
        return  # it is reported where the text is loaded
