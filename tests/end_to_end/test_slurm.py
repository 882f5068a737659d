"""Jobs of a real Slurm that are stopped and started again, by the scripts of docs/scaling.md and by submitit."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/scaling.md"
WORKERS_PAGE = "docs/multi-worker.md"
# Long enough to be stopped in the middle. A mode that is measured could be another one in the undisturbed run.
LONGER = "trainer.max_epochs=5000 trainer.compile=graph checkpoint.every_seconds=0.2 checkpoint.every_epochs=null"
WORDS = ["data=csv", "data.path=houses.csv", "data.target=price", *LONGER.split()]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def slurm() -> Iterator[Any]:
    helper = load(Path(__file__).with_name("slurm.py"))
    if os.geteuid() != 0 or not all(map(shutil.which, helper.PROGRAMS)):
        pytest.skip("Slurm isn't installed, or its daemons can't be started: that needs root")
    running = helper.Slurm.start()
    running.environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    yield running
    running.stop()


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def check(run: Path, undisturbed: Path, *, num_starts: int = 2) -> None:
    """Checks that a run was started so often, and has the values of one that nothing has stopped."""
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], len(record.get("resumed", []))) == ("completed", num_starts - 1)
    assert record["resumed"][0]["step"] > 0
    assert (run / "metrics.jsonl").read_bytes() == (undisturbed / "metrics.jsonl").read_bytes()
    assert len(list(run.glob("tensorboard/*/val"))) == 1


@pytest.mark.slow
def test_jobs_that_are_requeued(
    slurm: Any, warm_server: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once: a run of `srun`, a sweep whose script passes the signal on, and a job that submitit submits."""
    pytest.importorskip("submitit")
    load(ROOT / "tests" / "documented_files.py").make_files(tmp_path, (ROOT / PAGE).read_text(), housing_csv=ROOT)
    for step in load(ROOT / "tests" / "documented_pages.py").read_page(ROOT, PAGE):
        if step.path.endswith(".sh"):
            (tmp_path / step.path).write_text(step.text.replace("trainer.max_epochs=500", LONGER))
    whole = warm_server("tfrun").process(["-m", *WORDS, "model=wide_deep,mlp", "name=whole"], cwd=tmp_path)
    submitit = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=30", "name=submitit"]
    with subprocess.Popen(
        ["tfrun", "-m", *WORDS, *submitit], cwd=tmp_path, env=slurm.environment, stderr=subprocess.PIPE
    ) as command:
        run, sweep = (slurm.submit(script, tmp_path) for script in ("train.sh", "sweep.sh"))
        slurm.wait_for(lambda: list(tmp_path.glob("multirun/submitit/*/.submitit/*/*_submission.sh")))
        by_submitit = only(tmp_path, "multirun/submitit/*/.submitit/*/*_submission.sh").parent.name
        signals = {
            "outputs/default/*": ["--signal=USR1", run],  # sent to the steps, as `--signal=USR1@300` does
            "multirun/default/*/0": ["--batch", "--signal=USR1", sweep],  # as `--signal=B:USR1@300` does
            "multirun/submitit/*/0": ["--signal=USR2", by_submitit],
        }
        while signals:
            saved = [pattern for pattern in signals if list(tmp_path.glob(f"{pattern}/checkpoints/step-*"))]
            for pattern in saved:
                slurm.call("scancel", *signals.pop(pattern))
        try:
            for job in (run, sweep, by_submitit):
                slurm.start_again(job)
            for job in (run, sweep, by_submitit):
                slurm.wait_for(lambda job=job: slurm.state(job) in ("COMPLETED", "FAILED", ""))
        except BaseException:
            command.kill()  # or it would be waited for
            raise
        assert command.wait(60) == 0, command.stderr.read() if command.stderr else ""
    assert whole.wait(120) == 0
    wide_deep, mlp = (only(tmp_path, f"multirun/whole/*/{number}") for number in range(2))
    check(only(tmp_path, f"outputs/default/*_{run}"), wide_deep)
    check(only(tmp_path, f"multirun/default/*_{sweep}/0"), wide_deep)
    check(only(tmp_path, f"multirun/default/*_{sweep}/1"), mlp)
    check(only(tmp_path, "multirun/submitit/*/0"), wide_deep)


@pytest.mark.slow
def test_workers_of_srun_that_are_requeued(slurm: Any, warm_server: Callable[[str], Any], tmp_path: Path) -> None:
    """The script of docs/multi-worker.md, both tasks on one node: it is stopped, and starts again in its folder."""
    load(ROOT / "tests" / "documented_files.py").make_files(tmp_path, (ROOT / PAGE).read_text(), housing_csv=ROOT)
    step = next(
        step
        for step in load(ROOT / "tests" / "documented_pages.py").read_page(ROOT, WORKERS_PAGE)
        if step.path.endswith(".sh")
    )
    text = step.text.replace("--nodes=2", "--ntasks=2").replace("#SBATCH --ntasks-per-node=1\n", "")
    assert "srun tfrun resume=auto strategy=multi_worker" in text and "--ntasks-per-node" not in text
    longer = LONGER.replace("5000", "60")  # an exchange takes longer than a step
    (tmp_path / step.path).write_text(text.replace("trainer.max_epochs=500", longer))
    job = slurm.submit(step.path, tmp_path)
    slurm.wait_for(lambda: list(tmp_path.glob("outputs/default/*/checkpoints/step-*")))
    slurm.call("scancel", "--signal=USR1", job)  # to both tasks, as `--signal=USR1@300` does
    slurm.start_again(job)
    mirrored = ["strategy=mirrored", "strategy.logical_cpus=2", *WORDS, *longer.split(), "name=mirrored"]
    undisturbed = warm_server("tfrun").process(mirrored, cwd=tmp_path)
    slurm.wait_for(lambda: slurm.state(job) in ("COMPLETED", "FAILED", ""))
    assert undisturbed.wait(120) == 0
    run = only(tmp_path, f"outputs/default/*_{job}")
    check(run, only(tmp_path, "outputs/mirrored/*"))
    assert len(json.loads((run / "run.json").read_text())["engine"]["workers"]) == 2
