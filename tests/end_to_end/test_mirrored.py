"""Two replicas on two halves of the CPU: the same training as on one device, and the same state on both."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun import cli

Tfrun = Callable[..., subprocess.CompletedProcess[str]]
NORMALIZED = [
    "model=mlp",
    "model.hidden_units=[8,4]",
    "model.batch_normalization=true",
    "model.dropout=0.2",
    "optimizer=adamw",
    "checkpoint.every_seconds=null",
]
# one replica has a validation row more, and the model's own loss and metric are means over its rows
UNEVEN = ["model=reconstructing_regressor", "data.validation_split=0.102"]
COMPARED = [
    *UNEVEN,
    "data.augment=[noise]",
    "trainer.max_epochs=2",
    "optimizer.clip_norm=0.1",
    "checkpoint.every_seconds=null",
]
TABLES = [
    "model=wide_deep",
    "model.hidden_units=[4]",
    "data.text={sex: {name: hash, bins: 3000}}",
    "trainer.max_epochs=2",
    "optimizer.groups.wide.clip_norm=0.1",
    "checkpoint.every_seconds=null",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """Everything that is trained on two replicas, in one other process."""
    folder = tmp_path_factory.mktemp("mirrored")
    (folder / "words.json").write_text(json.dumps({"compared": COMPARED, "tables": TABLES, "resumed": NORMALIZED}))
    script = root / "tests" / "end_to_end" / "mirrored.py"
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    """Returns the lines of a run's metrics.jsonl."""
    (run,) = (folder / "outputs" / name).iterdir()
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_replicas_equal_one_device(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although a run whose model has other shapes was trained in the process before."""
    assert lines(trained, "before")[-1]["step"] == 1
    monkeypatch.chdir(tmp_path)
    assert cli.main([*COMPARED, "name=one"]) == 0
    one, two = lines(tmp_path, "one"), lines(trained, "two")
    assert len(one) == 3 and one[0]["val/reconstruction_error"] > 0
    for of_one, of_two in zip(one, two, strict=True):
        assert of_two == pytest.approx(of_one, rel=1e-5)


@pytest.mark.slow
def test_tables_on_two_replicas_are_updated_by_the_rows_of_both(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([*TABLES, "name=one_of_tables"]) == 0
    one, two = lines(tmp_path, "one_of_tables"), lines(trained, "two_of_tables")
    for of_one, of_two in zip(one, two, strict=True):
        assert of_two == pytest.approx(of_one, rel=1e-5)
    (run,) = (trained / "outputs" / "two_of_tables").iterdir()
    groups = json.loads((run / "run.json").read_text())["groups"]
    assert {path for group in groups for path in group["tables"]} == {"wide/table", "deep/embeddings"}


@pytest.mark.slow
def test_a_run_on_two_replicas_is_resumed_bit_for_bit(trained: Path) -> None:
    assert lines(trained, "parts")[-2:] == lines(trained, "straight")[-2:]  # of the last epoch, and the test
    states = [
        np.load(next((trained / "outputs" / name).glob("*/checkpoints/step-000000022/*.npz")))
        for name in ("straight", "parts")
    ]
    assert sorted(states[0]) == sorted(states[1])
    assert [key for key in states[0] if states[0][key].tobytes() != states[1][key].tobytes()] == []


@pytest.mark.slow
def test_the_state_is_the_same_on_all_replicas(trained: Path) -> None:
    results = json.loads((trained / "kinds.json").read_text())
    assert len(results["equal"]) > 40 and all(results["equal"])
    values = {path.rpartition("/")[2]: of_replicas for path, of_replicas in results["kinds"].items()}
    # the inputs are 0 … 15, so the replicas' means are 3.5 and 11.5
    assert values["moving"] == values["mean_on_read"] == values["mean"] == [7.5, 7.5]
    assert values["first"] == [3.5, 3.5]
    assert values["calls"] == [2, 2]
    assert values["parts"] == [7.0, 23.0]  # parts of a sum, of two steps
    assert values["drawn"][0] != values["drawn"][1]  # other dropout masks on each replica
    seeds = [state for path, state in results["kinds"].items() if "seed" in path]
    assert [first[1] for first, _ in seeds] == [2, 2] and all(first == second for first, second in seeds)


def test_a_batch_must_be_shared_out_evenly(warm_tfrun: Tfrun, tmp_path: Path) -> None:
    done = warm_tfrun("strategy=mirrored", "strategy.logical_cpus=2", "data.batch_size=31")
    assert done.returncode == 2
    assert done.stderr == "tfrun: error: data.batch_size: must be a multiple of 2 replicas. Received: 31\n"
    assert list(tmp_path.iterdir()) == []
