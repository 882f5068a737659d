from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WHOLE: dict[str, Any] = {"overrides": [], "swept": [], "sources": {}, "threads": None}
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


@pytest.mark.parametrize(
    ("header", "code", "message"),
    [
        ({"overrides": ["seed=1,2"]}, 6, "another program's or version's. Missing: ['swept', 'sources', 'threads']"),
        ({**WHOLE, "sources": {"folder": "x"}}, 6, "another program's"),
        ({**WHOLE, "overrides": ["hydra.sweeper.storage=postgresql://***:***@h/db"]}, 2, "='${oc.env:DATABASE}'"),
        ({**WHOLE, "overrides": ["hydra.launcher.n_jobs=${oc.env:TFRUN_NONE}"]}, 2, "'TFRUN_NONE' not found"),
    ],
)
def test_a_sweep_that_can_t_be_resumed(
    header: dict[str, Any], code: int, message: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "trials.jsonl").write_text(json.dumps({"sweep": header}) + "\n")
    returned, _, err = run("resume", str(tmp_path))
    assert returned == code and message in err and err.count("\n") == 1
