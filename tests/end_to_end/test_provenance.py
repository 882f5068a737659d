"""What a run was made from, as commands record it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tfrun.files.provenance import record

Tfrun = Callable[..., subprocess.CompletedProcess[str]]
WORDS = ("-cd", "my_conf", "experiment=small", "trainer.compile=graph")
LOSS = '''import keras, tfrun
from helper import half

@tfrun.register.loss("mine")
def mine(y_true, y_pred):
    """Half of the squared error."""
    return half(keras.ops.mean((y_true - y_pred) ** 2, axis=-1))
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a plugin that has changed, a module and a folder of configs that git doesn't have."""
    (tmp_path / "my_losses.py").write_text(LOSS)
    (tmp_path / ".gitignore").write_text("outputs\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True)
    (tmp_path / "my_losses.py").write_text(LOSS.replace("Half", "A half"))
    (tmp_path / "helper.py").write_text("def half(x):\n    return x / 2\n")
    (tmp_path / "my_conf" / "experiment").mkdir(parents=True)
    config = "# @package _global_\nplugins: [my_losses]\nloss: {name: mine}\ntrainer: {max_epochs: 1}\n"
    (tmp_path / "my_conf" / "experiment" / "small.yaml").write_text(config)
    return tmp_path


def test_a_run_and_its_resumes_are_recorded(warm_tfrun: Tfrun, project: Path) -> None:
    done = warm_tfrun(*WORDS)
    assert done.returncode == 0, done.stderr
    (run,) = project.glob("outputs/default/*")
    first = record.read(run)
    assert first is not None and first.git is not None and first.git.patch is not None
    assert first.git.patch.file is not None and '+    """A half of' in first.git.patch.file.read_text()
    states = {file.name: (file.kind, file.git) for file in first.files}
    assert states == {
        "my_losses": ("plugin", "changed"),
        "helper": ("import", "untracked"),
        "experiment/small.yaml": ("config", "untracked"),
    }
    written = json.loads((run / "run.json").read_text())
    assert written["git"] == {"commit": first.git.commit, "dirty": True}
    assert written["versions"]["numpy"] == first.packages["numpy"].version

    done = warm_tfrun("resume", str(run), "trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    assert record.read_resumed(run) == [] and record.read(run) == first
    (project / "helper.py").write_text("def half(x):\n    return x / 2.0\n")
    done = warm_tfrun("resume", str(run), "trainer.max_epochs=3")
    assert done.returncode == 0, done.stderr
    (resumed,) = record.read_resumed(run)
    assert [item.name for item in record.differences(first, resumed)] == ["import helper"]
    done = warm_tfrun("resume", str(run), "trainer.max_epochs=3", "seed=1")  # refused
    assert done.returncode == 6 and len(record.read_resumed(run)) == 1


def test_changes_and_copies_are_left_out_on_request(warm_tfrun: Tfrun, project: Path) -> None:
    done = warm_tfrun(*WORDS, "provenance.patch=false", "provenance.sources=false")
    assert done.returncode == 0, done.stderr
    (folder,) = project.glob("outputs/default/*/provenance")
    assert [path.name for path in folder.iterdir()] == ["provenance.json"]
    text = (folder / "provenance.json").read_text()
    assert "provenance.patch=false" in text and "provenance.sources=false" in text
    done = warm_tfrun("provenance.patch=maybe")
    assert done.returncode == 2 and "provenance.patch" in done.stderr
    done = warm_tfrun("+provenance.pach=false")
    assert done.returncode == 2 and "Did you mean 'provenance.patch'?" in done.stderr


def test_a_run_that_cannot_begin_leaves_no_folder(warm_tfrun: Tfrun, project: Path) -> None:
    (project / "helper.py").write_text("def half(x):\n    return 'a text'\n")
    done = warm_tfrun(*WORDS)
    assert done.returncode == 2 and "loss" in done.stderr
    assert not (project / "outputs").exists()
