"""Real runs, trained again: a project with a plugin, a repository and a CSV file, copied for each test."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PLUGIN = '''
import helper
import keras
import tensorflow as tf
from tfrun import register


@register.loss("mine")
@keras.saving.register_keras_serializable("mine")
class Mine(keras.losses.Loss):
    """mean (y - p)² · scale."""

    task = "regression"

    def call(self, y_true, y_pred):
        return tf.reduce_mean((y_pred - y_true) ** 2 * helper.SCALE, axis=-1)
'''
WORDS = ("plugins=[mine]", "loss=mine", "data=csv", "data.path=d.csv", "data.target=y", "trainer.compile=graph")
Tfrun = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, warm_server: Callable[[str], Any]) -> Path:
    """A project with a run of two epochs; git has the plugin, but neither its helper nor a change of its last line."""
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = x @ [1.0, 2.0, 3.0] + rng.normal(size=200) / 10
    rows = "".join(",".join(f"{value:.4f}" for value in row) + "\n" for row in np.column_stack([x, y]))
    (folder / "d.csv").write_text("a,b,c,y\n" + rows)
    (folder / ".gitignore").write_text("outputs\nmultirun\n__pycache__\nd.csv\n")
    (folder / "mine.py").write_text(PLUGIN.replace("** 2", "** 4"))
    _git(folder, "init", "-q", ".")
    _git(folder, "add", ".")
    _git(folder, "commit", "-qm", "one")
    (folder / "mine.py").write_text(PLUGIN)
    (folder / "helper.py").write_text("SCALE = 1.0\n")
    words = [*WORDS, "trainer.max_epochs=2"]
    done = warm_server("tfrun").process(words, cwd=folder).completed(120)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    """A copy of the project, as if it had been moved; the current folder of `warm_tfrun`."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True, symlinks=True)
    (run,) = _runs(tmp_path)
    fields = _json(run / "run.json")
    fields["folder"]["path"] = "/nowhere"  # the first project is still there, which a moved one isn't
    (run / "run.json").write_text(json.dumps(fields))
    return tmp_path


def _git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _runs(project: Path) -> list[Path]:
    """Returns the runs that have begun, in their order; a folder that was claimed just now has no config yet."""
    configs = (project / "outputs" / "default").glob("*/config.yaml")
    return [file.parent for file in sorted(configs, key=lambda file: file.stat().st_mtime_ns)]


def _json(file: Path) -> Any:
    return json.loads(file.read_text())


def _aspects(printed: str) -> dict[str, list[str]]:
    """Returns the lines of the table: name -> state and details."""
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if "│" in line]
    return {line[0]: line[1:] for line in cells if len(line) == 3 and line[0]}


def _arrays(run: Path, step: int) -> dict[str, np.ndarray]:
    with np.load(run / "checkpoints" / f"step-{step:09d}" / "state.npz") as archive:
        return dict(archive)


def test_a_run_gives_the_same_bits(project: Path, warm_tfrun: Tfrun) -> None:
    (before,) = _runs(project)
    done = warm_tfrun("reproduce", "latest")
    assert done.returncode == 0, done.stderr
    assert "reproduced: the same bits" in done.stdout
    _, after = _runs(project)
    assert (before / "metrics.jsonl").read_bytes() == (after / "metrics.jsonl").read_bytes()
    assert (before / "config.yaml").read_bytes() == (after / "config.yaml").read_bytes()
    run, step = _json(after / "run.json"), _json(before / "run.json")["step"]
    assert run["reproduces"] == {"run_id": before.name, "path": str(before)}
    assert (run["name"], run["status"], run["step"]) == ("default", "completed", step)
    one, other = _arrays(before, step), _arrays(after, step)
    assert one.keys() == other.keys()
    assert all(one[slot].tobytes() == other[slot].tobytes() for slot in one)
    aspects = _aspects(done.stdout)
    for name in ("patch", "sources", "packages", "python", "data", "machine", "threads", "environment"):
        assert aspects[name][0] in ("same", "unknown" if name == "packages" else "same"), aspects
    assert (after / "provenance" / "provenance.json").is_file()


def test_an_edited_plugin_is_named_and_its_results_differ(project: Path, warm_tfrun: Tfrun) -> None:
    (project / "helper.py").write_text("SCALE = 1.000001\n")
    done = warm_tfrun("reproduce", "latest")
    assert done.returncode == 9, done.stderr
    assert _aspects(done.stdout)["sources"] == ["differs", "import helper"]
    assert "Nothing can be promised: sources differ." in done.stdout
    before, after = [(run / "metrics.jsonl").read_text().splitlines()[0] for run in _runs(project)]
    old, new = (json.loads(line, parse_float=str)["train/loss"] for line in (before, after))
    assert old != new
    assert f"first difference: epoch 1, step 5, train/loss: {old} → {new}" in done.stdout
    assert "first array: model/0000" in done.stdout
    assert f"train/loss of epoch 1: {old} → {new}" in done.stderr


def test_a_changed_cell_is_refused(project: Path, warm_tfrun: Tfrun) -> None:
    text = (project / "d.csv").read_text().split("\n")
    text[3] = "9" + text[3]
    (project / "d.csv").write_text("\n".join(text))
    done = warm_tfrun("reproduce", "latest")
    assert done.returncode == 3
    assert "d.csv: its contents have changed since the run was trained on it" in done.stderr
    assert len(_runs(project)) == 1
    done = warm_tfrun("reproduce", "latest", "--check")
    assert done.returncode == 0
    assert _aspects(done.stdout)["data"][0] == "differs"


def test_check_trains_nothing(project: Path, warm_tfrun: Tfrun) -> None:
    for word in ("--check", "check=true"):
        done = warm_tfrun("reproduce", "latest", word)
        assert (done.returncode, done.stderr) == (0, "")
        assert {"code", "patch", "sources", "packages", "data", "machine"} <= _aspects(done.stdout).keys()
    assert len(_runs(project)) == 1


def test_the_mode_and_the_threads_are_those_of_the_run(project: Path, warm_tfrun: Tfrun) -> None:
    (before,) = _runs(project)
    run = _json(before / "run.json")
    run["engine"] |= {"threads": 3, "why": "as told"}
    (before / "run.json").write_text(json.dumps(run))
    done = warm_tfrun("reproduce", "latest", "epochs=1")
    assert done.returncode == 0, done.stderr
    assert _aspects(done.stdout)["threads"][1].startswith("3, as then")
    engine = _json(_runs(project)[1] / "run.json")["engine"]
    assert (engine["threads"], engine["mode"], engine["why"]) == (3, "graph_loop", "as told")


def test_a_part_has_the_schedule_of_the_whole(project: Path, warm_tfrun: Tfrun) -> None:
    words = [*WORDS, "trainer.max_epochs=3", "optimizer=adam", "optimizer.schedule=cosine"]
    assert warm_tfrun(*words).returncode == 0
    done = warm_tfrun("reproduce", "latest", "epochs=1")
    assert done.returncode == 0, done.stderr
    assert "The run is compared up to epoch 1, as asked: compared up to step 5." in done.stdout
    assert "reproduced: the same numbers, in all digits, up to step 5" in done.stdout
    _, before, after = _runs(project)
    assert (after / "metrics.jsonl").read_bytes() == (before / "metrics.jsonl").read_bytes().splitlines(True)[0]
    assert _json(after / "run.json")["status"] == "stopped"
    assert warm_tfrun("reproduce", before.name[:19], "epochs=4").returncode == 2


def test_a_run_that_was_resumed_to_train_longer_is_reproduced_in_one_go(project: Path, warm_tfrun: Tfrun) -> None:
    assert warm_tfrun("resume", "latest", "trainer.max_epochs=4").returncode == 0
    done = warm_tfrun("reproduce", "latest")
    assert done.returncode == 0, done.stderr
    before, after = _runs(project)
    assert "reproduced: the same bits\n" in done.stdout
    assert (before / "metrics.jsonl").read_bytes() == (after / "metrics.jsonl").read_bytes()
    assert _json(after / "run.json")["epoch"] == 4


def test_a_run_that_was_resumed_otherwise_is_compared_up_to_there(project: Path, warm_tfrun: Tfrun) -> None:
    words = [*WORDS, "trainer.max_epochs=1", "optimizer=adam", "optimizer.schedule=cosine"]
    assert warm_tfrun(*words).returncode == 0
    assert warm_tfrun("resume", "latest", "trainer.max_epochs=3").returncode == 0
    done = warm_tfrun("reproduce", "latest")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "was resumed with other values: trainer.max_epochs: compared up to step 5" in done.stdout
    assert "up to step 5" in done.stdout.splitlines()[-1]
    after = _runs(project)[-1]
    assert "max_epochs: 1\n" in (after / "config.yaml").read_text()


def test_a_job_of_a_sweep_is_compared_with_its_seeds(project: Path, warm_tfrun: Tfrun) -> None:
    assert warm_tfrun("-m", *WORDS, "trainer.max_epochs=2", "seed=1,2,3").returncode == 0
    done = warm_tfrun("reproduce", "latest")
    assert done.returncode == 2
    assert "latest/0" not in done.stderr and "/0 to " in done.stderr and "is a sweep" in done.stderr
    (sweep,) = (project / "multirun" / "default").iterdir()
    done = warm_tfrun("reproduce", f"{sweep}/1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reproduced: the same bits" in done.stdout
    after = _runs(project)[-1]
    assert _json(after / "run.json")["seed"] == 2
    assert _json(after / "run.json")["reproduces"]["run_id"] == f"{sweep.name}/1"
    (project / "helper.py").write_text("SCALE = 1.000001\n")
    values = [_json(sweep / str(job) / "run.json")["best"]["val/loss"] for job in range(3)]
    done = warm_tfrun("reproduce", f"{sweep}/1")
    assert done.returncode == 0, done.stderr
    assert "reproduced: within the spread of 3 seeds" in done.stdout
    assert f"{np.mean(values):.6g} ± {np.std(values, ddof=1):.2g}" in done.stdout
    assert "first difference: epoch 1" in done.stdout


def test_a_pruned_run_is_compared_by_its_best_weights(project: Path, warm_tfrun: Tfrun) -> None:
    assert warm_tfrun("prune", "latest", "keep=best", "yes=true").returncode == 0
    done = warm_tfrun("reproduce", "latest")
    assert done.returncode == 0, done.stderr
    assert "arrays of the best weights at step 10" in done.stdout


def test_a_fine_tuned_run_needs_the_weights_that_it_began_with(project: Path, warm_tfrun: Tfrun) -> None:
    (source,) = _runs(project)
    assert warm_tfrun(*WORDS, f"init=outputs/default/{source.name}", "trainer.max_epochs=1").returncode == 0
    done = warm_tfrun("reproduce", "latest")
    assert done.returncode == 0, done.stderr
    assert "reproduced: the same bits" in done.stdout
    tuned = _runs(project)[1]
    assert warm_tfrun("resume", str(source), "trainer.max_epochs=3").returncode == 0
    done = warm_tfrun("reproduce", str(tuned))
    assert done.returncode == 6, done.stdout
    assert "has changed since the run began with its weights: step 10 → 15" in done.stderr


UV = """#!/bin/sh
for python; do :; done
echo {packages} > "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/here.pth"
"""


def test_the_code_of_the_run_in_a_work_tree_with_its_packages(project: Path, warm_tfrun: Tfrun) -> None:
    """A stand-in for uv lets the new environment have the packages that are installed here."""
    path = {"PATH": f"{project}/outputs/bin:{os.environ['PATH']}", "XDG_CACHE_HOME": f"{project}/outputs/cache"}
    uv = project / "outputs" / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(UV.format(packages=sysconfig.get_path("purelib")))
    uv.chmod(0o755)
    (project / "helper.py").unlink()
    (project / "mine.py").write_text("no python\n")
    _git(project, "commit", "-qam", "two")
    state = _git(project, "status", "--porcelain")
    words = ("reproduce", "latest", "code=worktree", "env=venv", "epochs=1")
    done = warm_tfrun(*words, env=path)
    assert (done.returncode, done.stdout) == (2, "")
    assert " packages, all of them installed here. Installing a package can run its code" in done.stderr
    done = warm_tfrun(*words, "yes=true", env=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reproduced: the same numbers" in done.stdout
    assert (project / "mine.py").read_text() == "no python\n"
    assert _git(project, "status", "--porcelain") == state
    assert len(_git(project, "worktree", "list").splitlines()) == 1
    after = _runs(project)[1]
    assert Path(_json(after / "run.json")["folder"]["path"]) == project
    aspects = _aspects(done.stdout)
    assert [aspects[name][0] for name in ("patch", "sources", "packages")] == ["same"] * 3
    (environment,) = (project / "outputs" / "cache" / "tfrun" / "environments").glob("*/")
    assert f"installing {len((environment / 'requirements.txt').read_text().splitlines())} packages" in done.stdout
    record = _json(after / "provenance" / "provenance.json")
    assert record["python"]["executable"] == f"{environment}/bin/python"


def test_other_threads_may_be_asked_for(project: Path, warm_tfrun: Tfrun) -> None:
    done = warm_tfrun("reproduce", "latest", "trainer.threads=3", "epochs=1")
    assert done.returncode in (0, 9), done.stderr  # whether the bits differ is the machine's business
    assert _aspects(done.stdout)["threads"] == ["differs", "1 → 3, as asked"]
    assert "up to rounding" in done.stdout
    after = _runs(project)[1]
    assert _json(after / "run.json")["engine"]["threads"] == 3
    assert "threads: 3\n" in (after / "config.yaml").read_text()


def test_plugins_from_another_folder(project: Path, warm_tfrun: Tfrun) -> None:
    (project / "kept").mkdir()
    for name in ("mine.py", "helper.py"):
        shutil.move(project / name, project / "kept" / name)
    done = warm_tfrun("reproduce", "latest", "code=kept")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reproduced: the same bits" in done.stdout
    assert _aspects(done.stdout)["sources"][0] == "same"


def test_data_that_were_moved(project: Path, warm_tfrun: Tfrun) -> None:
    (project / "rows").mkdir()
    shutil.move(project / "d.csv", project / "rows" / "d.csv")
    done = warm_tfrun("reproduce", "latest", "data.path=rows/d.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reproduced: the same bits" in done.stdout


def test_a_run_that_diverged_diverges_again(project: Path, warm_tfrun: Tfrun) -> None:
    words = [*WORDS, "optimizer=sgd", "optimizer.learning_rate=1e30", "trainer.max_epochs=2"]
    assert warm_tfrun(*words).returncode == 4
    done = warm_tfrun("reproduce", "latest")
    assert done.returncode == 0, done.stderr
    assert "reproduced: the same bits" in done.stdout


def test_a_fold_of_a_cross_validation(project: Path, warm_tfrun: Tfrun) -> None:
    assert warm_tfrun("-m", *WORDS, "trainer.max_epochs=1", "data.folds=3").returncode == 0
    done = warm_tfrun("reproduce", "latest/2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reproduced: the same bits" in done.stdout


def test_a_patch_that_does_not_apply(project: Path, warm_tfrun: Tfrun) -> None:
    (run,) = _runs(project)
    record = _json(run / "provenance" / "provenance.json")
    record["git"]["commit"] = "0" * 40
    patch = run / "provenance" / "changes.patch"
    (run / "provenance" / "provenance.json").write_text(json.dumps(record))
    done = warm_tfrun("reproduce", "latest", "code=worktree")
    assert (done.returncode, done.stdout) == (6, "")
    assert f"commit {'0' * 40} is gone" in done.stderr
    record["git"]["commit"] = _git(project, "rev-parse", "HEAD")
    content = patch.read_bytes().replace(b"** 4", b"** 7")
    record["git"]["patch"]["sha256"] = hashlib.sha256(content).hexdigest()
    patch.write_bytes(content)
    (run / "provenance" / "provenance.json").write_text(json.dumps(record))
    done = warm_tfrun("reproduce", "latest", "code=worktree")
    assert (done.returncode, done.stdout) == (6, "")
    assert "the run's changes.patch doesn't apply" in done.stderr and done.stderr.count("\n") == 1
    assert len(_git(project, "worktree", "list").splitlines()) == 1
    assert len(_runs(project)) == 1


def test_a_run_of_an_earlier_version(tmp_path: Path, warm_tfrun: Tfrun, root: Path) -> None:
    shutil.copytree(root / "tests" / "data_files" / "old_run", tmp_path / "old_run")
    done = warm_tfrun("reproduce", "old_run", "--check")
    assert done.returncode == 0, done.stderr
    aspects = _aspects(done.stdout)
    assert aspects["machine"] == ["unknown", "the run has no record of it"]
    assert aspects["data"][0] == "same"
    assert aspects["code"] == ["differs", "an earlier version of tfrun"]
    assert "Nothing can be promised: code differs" in done.stdout
    done = warm_tfrun("reproduce", "old_run", "code=worktree")
    assert done.returncode == 6 and "has no provenance/" in done.stderr
    done = warm_tfrun("reproduce", "old_run")
    assert done.returncode in (0, 9), done.stderr  # 9 on another machine, whose last bits differ
    (after,) = tmp_path.glob("outputs/old_run/*/metrics.jsonl")
    lines = [
        [json.loads(line) for line in file.read_text().splitlines()]
        for file in (tmp_path / "old_run" / "metrics.jsonl", after)
    ]
    assert lines[1] == [pytest.approx(line, rel=1e-5) for line in lines[0]]


def test_ctrl_c_reaches_the_work_tree_once_and_it_is_removed(project: Path, warm_server: Callable[[str], Any]) -> None:
    (run,) = _runs(project)
    config = (run / "config.yaml").read_text().replace("max_epochs: 2", "max_epochs: 100000")
    assert "100000" in config
    (run / "config.yaml").write_text(config)
    process = warm_server("tfrun").process(["reproduce", str(run), "code=worktree"], cwd=project)
    end = time.monotonic() + 90
    while time.monotonic() < end and process.poll() is None and not any(map(_has_epoch, _runs(project)[1:])):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    done = process.completed(60)
    assert done.returncode == 130, done.stderr
    assert "its state saved" in done.stderr
    assert len(_git(project, "worktree", "list").splitlines()) == 1


def _has_epoch(run: Path) -> bool:
    file = run / "metrics.jsonl"
    return file.exists() and "epoch" in file.read_text()
