"""`hydra/launcher=fork` as Hydra's sweepers see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobStatus
from omegaconf import OmegaConf

from tfrun.errors import SweepError
from tfrun.sweep.jobs import Job, JobFolder
from tfrun.sweep.launcher import ForkLauncher, PoolTask
from tfrun.sweep.ledger import Ledger


class FakePool:
    """Ends job 1 as failed and any other with its number as its value."""

    mode = "min"

    def __init__(self, folder: Path):
        self.ledger = Ledger(folder)

    def run(self, source: Any) -> None:
        while (job := source.next(())) is not None:
            job.folder.path.mkdir()
            status = "failed" if job.number == 1 else "completed"
            best = {"monitor": "val/loss", "val/loss": float(job.number)}
            job.folder.write_run({"status": status, "best": best})


def compose(overrides: list[str], number: int) -> Job:
    config = {"seed": int(overrides[0].partition("=")[2])}
    files = {".hydra/config.yaml": config, ".hydra/hydra.yaml": {"hydra": {"job": {"num": number}}}}
    settings: Any = None
    return Job(number, JobFolder(Path(str(number))), overrides, {}, settings, files, "a")


def test_jobs_go_to_the_pool_and_their_results_to_the_sweeper(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write_header({"swept": ["seed"]})
    task: Any = PoolTask(FakePool(tmp_path), compose)  # type: ignore[arg-type]
    context: Any = None
    launcher = ForkLauncher(n_jobs=2)
    launcher.setup(
        hydra_context=context, task_function=task, config=OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    )
    first = launcher.launch([["seed=5"], ["seed=6"]], 0)
    (third,) = launcher.launch([["seed=7"]], 2)  # a sweeper may launch several times

    assert [returned.status for returned in first] == [JobStatus.COMPLETED, JobStatus.FAILED]
    assert first[0].return_value == 0.0 and third.return_value == 2.0
    with pytest.raises(SweepError, match="job 1 failed"):
        _ = first[1].return_value
    assert third.overrides == ["seed=7"] and third.cfg == {"seed": 7}
    assert third.hydra_cfg is not None and third.hydra_cfg.hydra.job.num == 2
    assert [trial.number for trial in ledger.read()[1]] == [0, 1, 2]
