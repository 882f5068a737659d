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

from tfrun.files.masking import masked

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
    """The address as an interpolation and as it is; a sweep of both kinds is resumed with the address given again."""
    named, given = "hydra.sweeper.storage=${oc.env:DATABASE}", f"hydra.sweeper.storage={postgresql}"
    first = command(tmp_path, *WORDS, named, "hydra.sweeper.n_trials=1", "name=named", DATABASE=postgresql)
    second = command(tmp_path, *WORDS, given, "hydra.sweeper.n_trials=1", "name=given")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    sweeps = {path.parent.name: path for path in tmp_path.glob("multirun/*/*")}
    headers = {name: json.loads((path / "trials.jsonl").read_text().splitlines()[0]) for name, path in sweeps.items()}
    assert named in headers["named"]["sweep"]["overrides"]
    assert masked(given) in headers["given"]["sweep"]["overrides"]

    refused = command(tmp_path, "resume", str(sweeps["given"]), "hydra.sweeper.n_trials=2")
    assert refused.returncode == 2 and "hydra.sweeper.storage: " in refused.stderr and "oc.env" in refused.stderr
    unset = command(tmp_path, "resume", str(sweeps["named"]), "hydra.sweeper.n_trials=2")
    assert unset.returncode == 2 and "'DATABASE' not found" in unset.stderr
    resumed = command(tmp_path, "resume", str(sweeps["given"]), named, "hydra.sweeper.n_trials=2", DATABASE=postgresql)
    assert resumed.returncode == 0, resumed.stderr
    assert [path.name for path in sorted(sweeps["given"].glob("[0-9]*"))] == ["0", "1"]

    done = [first, second, refused, unset, resumed]
    assert leaks(tmp_path, *(text for one in done for text in (one.stdout, one.stderr))) == []


@pytest.mark.parametrize("full_error", ["0", "1"])
@pytest.mark.parametrize(
    "address",
    [
        "postgresql://db_owner:pass%2Fword@127.0.0.1:1/db",
        "postgresql://127.0.0.1:1/db?user=db_owner&password=pass%2Fword",
        "mysql://db_owner:pass%2Fword@127.0.0.1:1/db",
        "nonsense://db_owner:pass%2Fword@127.0.0.1:port/db",
        "postgresql://db_owner:pass/word@127.0.0.1:1/db",
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
