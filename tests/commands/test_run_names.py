"""Names of runs and sweeps that are shorter than their paths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tfrun.commands.command_line import CommandLine
from tfrun.commands.run_names import path_of, with_paths, with_paths_of_keys
from tfrun.errors import ConfigError

FIRST = "outputs/houses/2026-11-21_09-56-14_de514b"
LAST = "outputs/default/2026-11-22_08-00-00_de99aa"
JOB = "outputs/queued/2026-11-19_10-00-00"  # folders of a scheduler's jobs begin so
SWEEP = "multirun/houses/2026-11-21_23-00-00_0a73e2"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for run in (FIRST, LAST):
        Path(run).mkdir(parents=True)
        Path(run, "config.yaml").write_text("checkpoint: {monitor: val/loss}\n")
    for job in ("12", "123", "7-0"):
        Path(f"{JOB}_{job}").mkdir(parents=True)
        Path(f"{JOB}_{job}", "config.yaml").touch()
    Path(SWEEP).mkdir(parents=True)
    Path(SWEEP, "trials.jsonl").touch()
    Path("outputs/default/notes_of_mine_x").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("word", "path"),
    [
        ("latest", LAST),
        ("de5", FIRST),
        ("de514b", FIRST),
        ("2026-11-21_09", FIRST),
        ("0a7", SWEEP),
        ("0a73e2/3", f"{SWEEP}/3"),
        ("12", f"{JOB}_12"),  # a whole id, though it begins another one
        ("7-0", f"{JOB}_7-0"),
        (FIRST, FIRST),
        ("ffff", "ffff"),
        ("de", "de"),  # too short to be the beginning of an id
        ("outputs/nowhere", "outputs/nowhere"),
    ],
)
def test_what_a_word_names(folder: Path, word: str, path: str) -> None:
    assert path_of(word) == path


def test_a_path_means_what_it_says(folder: Path) -> None:
    (folder / "latest").mkdir()
    assert path_of("latest") == "latest"


def test_overrides_are_no_names(folder: Path) -> None:
    line = CommandLine(("latest", "data.path=latest", "de5"))
    assert with_paths(line).words == (LAST, "data.path=latest", FIRST)


def test_values_of_keys_that_name_a_run(folder: Path) -> None:
    line = CommandLine(("init=latest", "data.path=latest", "init.from=de5", "sweep.extend=0a7", "latest", "init="))
    words = (f"init={LAST}", "data.path=latest", f"init.from={FIRST}", f"sweep.extend={SWEEP}", "latest", "init=")
    assert with_paths_of_keys(line).words == words
    teacher = CommandLine(("algorithm.teacher=latest", "init=weights.h5", "~init.from", "init.map=latest"))
    assert with_paths_of_keys(teacher).words == (f"algorithm.teacher={LAST}", *teacher.words[1:])


def test_several_and_none(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=rf"2026-11-2: begins the names of 3 runs: .*{FIRST}"):
        path_of("2026-11-2")
    with pytest.raises(ConfigError, match=f"best: {FIRST} is no sweep"):
        path_of(f"{FIRST}/best")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(ConfigError, match=r"latest: there is no run yet in outputs and multirun, in .*/empty"):
        path_of("latest")
    with pytest.raises(ConfigError, match=r"best: there is no sweep yet in multirun"):
        path_of("best")


def test_the_best_run_of_a_sweep(folder: Path) -> None:
    for number, loss in enumerate((0.5, 0.25, 0.75)):
        job = Path(SWEEP, str(number))
        job.mkdir()
        (job / "config.yaml").write_text("checkpoint: {monitor: val/loss, mode: min}\nmodel: {name: mlp}\n")
        metrics = {"val/loss": loss}
        (job / "run.json").write_text(json.dumps({"status": "completed", "best": metrics, "metrics": metrics}))
    assert path_of("best") == path_of(f"{SWEEP}/best") == path_of("0a73/best") == f"{SWEEP}/1"
    for number in range(3):
        (Path(SWEEP, str(number)) / "run.json").write_text(json.dumps({"status": "failed"}))
    with pytest.raises(ConfigError, match="has completed"):
        path_of("best")
