"""`resume=auto`: a command that a scheduler starts again goes on in the folder of its first start."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from tfrun.commands.inputs import Inputs, read_config
from tfrun.config import untouched
from tfrun.config.catalog import Catalog
from tfrun.config.changes import differences
from tfrun.config.compose import Composed, Configs
from tfrun.config.explain import USER_MISTAKES
from tfrun.config.lengths import nothing_left
from tfrun.config.schema import build_settings
from tfrun.errors import CheckpointError, ConfigError
from tfrun.files import retention, runs
from tfrun.files.runs import RunFolder
from tfrun.folders import shown

MAX_LETTERS = 128  # of a job's id, so that a folder can be named by it
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.-]")
ANOTHER_COMMAND = (
    "A job's commands with resume=auto need folders of their own: give this one another `name`, or another hydra.job.id"
)


def job_of(configs: Configs, composed: Composed) -> str | None:
    """Returns the id of the scheduler's job that names the folder, or None if the config doesn't ask for it.

    It is `hydra.job.id`, or else what Slurm has set. Characters that the name of a folder shouldn't have are hyphens.

    Raises:
        ConfigError: there is no id, or it is too long.
    """
    if composed.config.get("resume") != "auto":
        return None
    job = composed.cfg.hydra.job
    try:
        given = None if OmegaConf.is_missing(job, "id") else job.id
    except USER_MISTAKES as error:  # an environment variable isn't set
        raise configs.explain(error) from error
    key, job_id = ("SLURM_JOB_ID", slurm_job(os.environ) or "") if given is None else ("hydra.job.id", given)
    name = NOT_IN_NAMES.sub("-", job_id)
    if not any(map(str.isalnum, name)):
        raise ConfigError(
            "resume: auto needs the id of the scheduler's job, which is the same when the job starts again. Slurm sets "
            "SLURM_JOB_ID; for others set hydra.job.id, for example hydra.job.id='${oc.env:PBS_JOBID}'. To resume a "
            f"run by hand: tfrun resume RUN. Received: {key}={job_id!r}"
        )
    if len(name) > MAX_LETTERS:
        raise ConfigError(f"{key}: must have at most {MAX_LETTERS} letters. Received: {job_id!r}")
    return name


def slurm_job(environment: Mapping[str, str]) -> str | None:
    """Returns the id of the Slurm job that this process belongs to, `<job>-<task>` for a task of an array, or None."""
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    return f"{array}-{task}" if array and task else environment.get("SLURM_JOB_ID")


def folder_of(configs: Configs, composed: Composed, *, job: str, words: Sequence[str]) -> RunFolder | None:
    """Returns the folder of a run that an earlier start of a job has begun, or None.

    Raises:
        ConfigError: the config is wrong.
        CheckpointError: the run's config is gone, so nobody knows whether it is this one.
    """
    settings = build_settings(composed.config, configs.catalog, overrides=words)  # the name becomes part of a path
    folder = runs.folder_of_job(settings.output_root, settings.name, job=job)
    if folder and not folder.config_yaml.is_file() and (folder.run_json.exists() or folder.has_checkpoints):
        raise CheckpointError(
            f"{folder.config_yaml}: is gone, though the folder has a run. Put the file back, or train a new run under "
            "another `name`"
        )
    return folder if folder and folder.config_yaml.is_file() else None


def train_again(
    folder: RunFolder, inputs: Inputs, *, catalog: Catalog, words: Sequence[str], worker_words: Sequence[str]
) -> int:
    """Trains on in a folder that an earlier start of the same job has left, and returns the exit code.

    Args:
        folder: held by this process.
        inputs: the config of this start, and its data.
        catalog: the components.
        words: the overrides of the command line, for `run.json`.
        worker_words: with which further workers on this machine are started, if the run has such.

    Raises:
        CheckpointError: the config isn't that of the first start, or no checkpoint can be used.
    """
    from tfrun.commands.resume import check_changes, train_on  # here, since a config mistake needs no terminal
    from tfrun.console import Terminal, say

    before = read_config(folder)
    untouched.check_files(folder, before, catalog=catalog)
    has_changes = check_changes(
        folder, before, new=inputs.config, settings=inputs.settings, catalog=catalog, advice=ANOTHER_COMMAND
    )
    run = folder.read_run()
    folder.refuse_lost_checkpoints(run)
    retention.refuse_pruned(folder)
    if reason := _why_over(run, inputs, has_changes=has_changes):
        say(Terminal(), f"{shown(folder.path)} {reason}")
        return 0
    return train_on(
        folder, inputs, catalog=catalog, overrides=words, worker_words=worker_words, has_changes=has_changes
    )


def is_over(folder: RunFolder, inputs: Inputs) -> bool:
    """Returns whether nothing of the run in a folder is left to train, for a worker that doesn't lead it."""
    has_changes = bool(differences(read_config(folder), inputs.config))
    return _why_over(folder.read_run(), inputs, has_changes=has_changes) is not None


def _why_over(run: Mapping[str, Any], inputs: Inputs, *, has_changes: bool) -> str | None:
    """Returns why nothing of a run, whose `run.json` is given, is left to train; None if something is.

    That is more than `tfrun resume` says: a person who resumes a run that `trainer.max_seconds` has ended wants it to
    train for as long again, and a scheduler that starts a job again asks for nothing.
    """
    reason = nothing_left(inputs.settings.trainer, run)
    if reason is None and run.get("status") == "completed" and not has_changes:  # by early stopping, or by a limit
        reason = f"is completed already, at step {run['step']}"
    return reason
