from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Result = tuple[int, str, str]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("retry=yes", "retry: must be true or false. Received: 'yes'"),
        ("seed=1", "seed: a sweep is resumed with its own config; only hydra.launcher.*, retry=true"),
    ],
)
def test_what_a_sweep_cannot_be_resumed_with(
    word: str, message: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "trials.jsonl").write_text("")
    code, _, err = run("resume", ".", word)
    assert code == 2 and message in err
