"""What a sweep writes and prints of the address of its storage: never the user, never the password."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.types import RunMode

from tfrun.config.compose import open_configs
from tfrun.files.masking import masked
from tfrun.sweep.search import Search
from tfrun.sweep.words import hydra_words

TFRUN = Path(sys.executable).with_name("tfrun")
WORDS = (
    "-m",
    "hparams_search=optuna",
    "optimizer.learning_rate=interval(0.01,0.1)",
    "model=linear",
    "trainer.max_epochs=1",
    "trainer.compile=graph",
    "logger=null",
)
SECRETS = ("db_owner", "pass/word", "pass%2Fword")


def command(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run([TFRUN, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=300)


def leaks(folder: Path, *printed: str) -> list[str]:
    """Returns the files below a folder, and what was printed, that have one of SECRETS."""
    texts = {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    texts |= {text: text.encode() for text in printed}
    return [name for name, text in texts.items() if any(secret.encode() in text for secret in SECRETS)]


@pytest.mark.slow
def test_no_file_and_no_output_has_the_password(tmp_path: Path, postgresql: str) -> None:
    """The address is given as it is, and to `resume` in an environment variable."""
    first = command(tmp_path, *WORDS, f"hydra.sweeper.storage={postgresql}", "hydra.sweeper.n_trials=1")
    assert first.returncode == 0, first.stderr
    (sweep,) = tmp_path.glob("multirun/*/*")
    header = json.loads((sweep / "trials.jsonl").read_text().splitlines()[0])["sweep"]
    assert f"hydra.sweeper.storage={masked(postgresql)}" in header["overrides"]
    again = ("hydra.sweeper.storage=${oc.env:DATABASE}", "hydra.sweeper.n_trials=2")
    resumed = command(tmp_path, "resume", str(sweep), *again, DATABASE=postgresql)
    assert resumed.returncode == 0, resumed.stderr
    assert sorted(path.name for path in sweep.glob("[0-9]*")) == ["0", "1"]
    assert leaks(tmp_path, first.stdout, first.stderr, resumed.stdout, resumed.stderr) == []


def test_an_interpolation_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """In what is written of a sweep and of its jobs, though its settings have the value."""
    monkeypatch.setenv("DATABASE", "journal:secret")
    words = (*WORDS[1:], "hydra.sweeper.storage=${oc.env:DATABASE}", "tags=['${oc.env:DATABASE}']")
    with open_configs(words) as configs:
        sweep = configs.compose(words, RunMode.MULTIRUN).cfg
        assert "hydra.sweeper.storage=${oc.env:DATABASE}" in hydra_words(sweep)
        search = Search.from_config(configs, sweep)
    written = {name: json.dumps(content) for name, content in search.first.files.items()}
    with_value = [name for name, text in written.items() if "journal:secret" in text]
    assert with_value == ["config.yaml"]  # what a run trains with, as the documentation says
    assert not any("journal:secret" in text for text in search.first.overrides)


@pytest.mark.parametrize(
    ("address", "full_error"),
    [
        ("postgresql://db_owner:pass%2Fword@127.0.0.1:1/db", "0"),
        ("postgresql://db_owner:pass%2Fword@127.0.0.1:1/db", "1"),
        ("postgresql://127.0.0.1:1/db?user=db_owner&password=pass%2Fword", "0"),
        ("mysql://db_owner:pass%2Fword@127.0.0.1:1/db", "0"),
        ("nonsense://db_owner:pass%2Fword@127.0.0.1:port/db", "0"),
        ("postgresql://db_owner:pass/word@127.0.0.1:1/db", "1"),
    ],
)
def test_an_address_that_can_t_be_used(
    address: str,
    full_error: str,
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv("HYDRA_FULL_ERROR", full_error)
    code, out, err = run(*WORDS, f"hydra.sweeper.storage='{address}'")
    assert code == 2 and "hydra.sweeper.storage: " in err and "127.0.0.1" in err
    assert ("Traceback" in err) == (full_error == "1")
    assert leaks(tmp_path, out, err) == []


def test_a_study_that_is_gone_is_not_begun_anew(tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    header: dict[str, Any] = {
        "overrides": [*WORDS[1:], "hydra.sweeper.n_trials=2"],
        "swept": [],
        "sources": {},
        "threads": None,
    }
    trial = {"trial": 0, "state": "completed", "overrides": []}
    (tmp_path / "trials.jsonl").write_text(f"{json.dumps({'sweep': header})}\n{json.dumps(trial)}\n")
    code, _, err = run("resume", str(tmp_path))
    assert code == 6 and "study.db: the study" in err and err.count("\n") == 1
