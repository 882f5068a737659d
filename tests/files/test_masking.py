"""Users and passwords in addresses."""

from __future__ import annotations

import pytest

from tfrun.files.masking import has_secrets, is_masked, masked, masked_in, without_secrets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://ann:pw@host/db", "postgresql://***:***@host/db"),
        ("postgresql+psycopg://ann@host/db", "postgresql+psycopg://***:***@host/db"),
        ("mysql://ann:p@ss/w?rd'\"@host/db", "mysql://***:***@host/db"),  # not encoded, as people type it
        ("postgresql://host/db?user=ann&password=pw&sslmode=require", None),
        ("https://ann:pw@host/a@b", "https://***:***@host/a@b"),
        ("a=redis://:pw@h x=https://u@h", "a=redis://***:***@h x=https://***:***@h"),
        ("https://host/package@1.2/x", "https://host/package@1.2/x"),
        ("sqlite:////home/ann@work/study.db", "sqlite:////home/ann@work/study.db"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("ann@host.org", "ann@host.org"),
    ],
)
def test_addresses(text: str, expected: str | None) -> None:
    expected = expected or "postgresql://host/db?user=***&password=***&sslmode=require"
    assert masked(text) == expected and masked(expected) == expected
    assert is_masked(expected) == (text != expected)


def test_containers() -> None:
    content = {"a": ["b", "redis://u:p@h"], "n": 1, "none": None}
    assert masked_in(content) == {"a": ["b", "redis://***:***@h"], "n": 1, "none": None}


def test_a_message_of_a_library() -> None:
    """It decodes the password and names the user without the address."""
    text = 'failed for user "ann", password "p@ss" (p%40ss) of postgresql://ann:p%40ss@host/banns'
    shown = without_secrets(text, "postgresql://ann:p%40ss@host/banns")
    assert shown == 'failed for user "***", password "***" (***) of postgresql://***:***@host/banns'
    assert without_secrets("user=ann", "postgresql://host/db?user=ann") == "user=***"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"storage: postgresql://me:pass word@host/db", False),  # a blank ends an address
        (b"storage: postgresql://me:pass/word@host/db", True),
        (b"\xff https://me:secret@host\n", True),
        (b"https://host/db?password=x", True),
        (b"https://***:***@host/db", False),
        (b"see https://host/package@1.2, mail a@b", False),
        (b"a.b-" * 200_000 + b"://x", False),
        (b"", False),
    ],
)
def test_a_file_has_secrets(content: bytes, expected: bool) -> None:
    assert has_secrets(content) is expected
