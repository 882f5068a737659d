"""Masks the user and the password in addresses, before they are written or printed."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

MASK = "***"
BEFORE_BYTES, AFTER_BYTES = 64, 512  # of an address, around its `://`
# A password may contain anything but blanks in the address of a database, where SQLAlchemy reads it; in other addresses
# a user ends at the first of /, ? and #, so that `https://host/package@1.2` has none.
_DATABASES = r"(?:postgres(?:ql)?|mysql|mariadb|mssql|oracle|redis|rediss|mongodb)"
_USER = re.compile(rf"\b({_DATABASES}(?:\+\w+)?://)(\S*)@|\b([A-Za-z][\w+.-]*://)([^\s/?#@'\"]*)@", re.IGNORECASE)
_OPTION = re.compile(r"([?&](?:user|username|password|passwd|pwd|sslpassword)=)([^&\s'\"]*)", re.IGNORECASE)


def masked(text: str) -> str:
    """Returns a text without the users and passwords of its addresses: `postgresql://***:***@host/db`."""
    text = _USER.sub(lambda match: f"{match[1] or match[3]}{MASK}:{MASK}@", text)
    return _OPTION.sub(rf"\1{MASK}", text)


def masked_in(content: Any) -> Any:
    """Returns plain containers whose texts are masked."""
    if isinstance(content, dict):
        return {key: masked_in(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [masked_in(value) for value in content]
    return masked(content) if isinstance(content, str) else content


def is_masked(text: str) -> bool:
    """Returns whether something of a text was replaced."""
    return f"://{MASK}:{MASK}@" in text or f"={MASK}" in text


def has_secrets(content: bytes) -> bool:
    """Returns whether a file has an address with a user or a password, which `masked` would replace.

    Only what is near a `://` is looked at: in long lines without blanks the patterns would take too long.
    """
    for match in re.finditer(rb"://", content):
        near = content[max(0, match.start() - BEFORE_BYTES) : match.start() + AFTER_BYTES].decode("latin-1")
        if masked(near) != near:
            return True
    return False


def without_secrets(text: str, address: str) -> str:
    """Returns a text, an error message for example, without the user and the password of an address, if it has any."""
    secrets = [part for match in _USER.finditer(address) for part in (match[2] or match[4] or "").split(":", 1)]
    secrets += [match[2] for match in _OPTION.finditer(address)]
    text = masked(text)
    for secret in sorted({*secrets, *map(unquote, secrets)} - {""}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return text
