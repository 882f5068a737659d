"""Modes remembered in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfrun.engine.training.mode_cache import ModeCache

ANSWER = {"mode": "xla_loop", "why": "measured"}


def test_an_answer_is_remembered(tmp_path: Path) -> None:
    cache = ModeCache({"batch_size": 32}, tmp_path)
    assert cache.read() is None
    cache.write(ANSWER)
    assert ModeCache({"batch_size": 32}, tmp_path).read() == ANSWER


def test_each_program_has_its_answer(tmp_path: Path) -> None:
    ModeCache({"batch_size": 32, "layers": ["Dense"]}, tmp_path).write(ANSWER)
    assert ModeCache({"layers": ["Dense"], "batch_size": 32}, tmp_path).read() == ANSWER
    assert ModeCache({"layers": ["Dense"], "batch_size": 33}, tmp_path).read() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"mode": 1}', b"\xff"])
def test_a_damaged_file_counts_as_no_answer(tmp_path: Path, content: bytes) -> None:
    cache = ModeCache({"batch_size": 32}, tmp_path)
    cache.write(ANSWER)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert cache.read() is None


def test_a_folder_that_can_not_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = ModeCache({}, tmp_path / "file" / "choices")
    cache.write(ANSWER)
    assert cache.read() is None
