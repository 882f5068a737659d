"""Trials whose machine is lost, in a study that several machines share.

Each machine sends Optuna's heartbeats for its trials, by the clock of the database. Whoever notices a trial without
them marks it as failed, which only one machine can do, and puts a copy with the same values into the study's queue. The
next machine that asks for a trial gets the copy.
"""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tfrun.sweep import optuna_private
from tfrun.sweep.databases import engine_options

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

JOB = "job"  # the attribute of a trial that says which job of which sweep it is
MAX_RETRIES = 3  # of the same values: a trial that kills its machine shouldn't kill all of them
BEATS = 4  # heartbeats in the time after which a trial counts as lost

OnLost = Callable[[str], None]  # called with a line for the terminal


def database(address: str, *, lost_after_seconds: int, on_lost: OnLost) -> Any:
    """Returns Optuna's storage in a database, in which trials have heartbeats.

    Args:
        address: of the database.
        lost_after_seconds: the time without a heartbeat after which a trial is lost.
        on_lost: called when this process has put a lost trial into the queue.
    """
    import optuna

    def put_back_lost(study: optuna.Study, trial: FrozenTrial) -> None:
        is_back = put_back(study, trial)
        job = trial.user_attrs.get(JOB, "no job yet")
        end = "so its values are tried again" if is_back else f"for the {MAX_RETRIES + 1}th time, so it is given up"
        on_lost(f"trial {trial.number} ({job}): its machine sends no heartbeats, {end}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.RDBStorage(
            address,
            engine_kwargs=engine_options(address, patience_seconds=lost_after_seconds),  # then others have its trials
            heartbeat_interval=_beat_seconds(lost_after_seconds),
            grace_period=lost_after_seconds,
            heartbeat_stale_trial_callback=put_back_lost,
        )


def ask(study: optuna.Study) -> optuna.Trial:
    """Returns a new trial, without Optuna's warning that heartbeats are meant for its own loop."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Heartbeat of storage", category=UserWarning)
        return study.ask()


def put_back(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Puts a copy of a trial that has failed into the queue of its study, and returns whether it has done so.

    It hasn't if the same values have been tried too often.
    """
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        retry = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=MAX_RETRIES)
        nameless = copy.deepcopy(trial)
        nameless.user_attrs = {key: value for key, value in trial.user_attrs.items() if key != JOB}
        retry(study, nameless)
    return len(trial.system_attrs.get("retry_history", [])) < MAX_RETRIES


def job_number(trial: FrozenTrial, sweep: str) -> int | None:
    """Returns the number of a trial's first job; None if the trial is another sweep's, or has no job yet."""
    name, _, number = str(trial.user_attrs.get(JOB)).rpartition("/")
    return int(number) if name == sweep else None


def taken_jobs(study: optuna.Study, sweep: str) -> set[int]:
    """Returns the numbers of the first jobs of a sweep's trials that other machines have taken over."""
    trials = study.get_trials(deepcopy=False)
    taken = {number for trial in trials for number in trial.system_attrs.get("retry_history", [])}
    numbers = {job_number(trial, sweep) for trial in trials if trial.number in taken}
    # a trial that was taken over before it had a job has left its number to the next one
    kept = {job_number(trial, sweep) for trial in trials if trial.number not in taken}
    return {number for number in numbers - kept if number is not None}


def trials_of(study: optuna.Study, sweep: str) -> list[FrozenTrial]:
    """Returns the trials of a sweep that run: the study has no result of them, and no other machine has taken them."""
    import optuna

    running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    return [trial for trial in running if job_number(trial, sweep) is not None]


def is_trial_left(study: optuna.Study, num_trials: int) -> bool:
    """Returns whether one of so many trials in all is left, which may be one that a lost machine has left."""
    import optuna

    trials = study.get_trials(deepcopy=False)
    num_tried = sum(not trial.system_attrs.get("retry_history") for trial in trials)
    return num_tried < num_trials or any(trial.state == optuna.trial.TrialState.WAITING for trial in trials)


class Watch:
    """Sends heartbeats for this machine's trials, and puts back those of lost ones.

    Args:
        study: in a database.
        lost_after_seconds: the time without a heartbeat after which a trial is lost.
        clock: the seconds since any moment.
    """

    def __init__(self, study: optuna.Study, *, lost_after_seconds: int, clock: Callable[[], float] = time.monotonic):
        self._study = study
        self._lost_after_seconds = lost_after_seconds
        self._clock = clock
        self._next = -math.inf
        self._unnamed: dict[int, float] = {}  # when this machine saw a trial without a name first, by its number

    def tick(self, trials: Iterable[optuna.Trial | FrozenTrial]) -> None:
        """Does what is due; to be called often.

        Args:
            trials: those of this machine that run.
        """
        if self._clock() < self._next:
            return
        for trial in trials:
            optuna_private.send_heartbeat(self._study, trial)
        self._put_back_lost()
        self._next = self._clock() + _beat_seconds(self._lost_after_seconds)

    def _put_back_lost(self) -> None:
        """Puts back the trials of lost machines."""
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(self._study)
        # A machine that was lost between asking for a trial and naming it has left no heartbeat at all. When that
        # was is known by its clock alone, which may be hours off, so this one waits as long as it would for a sign.
        now, seen = self._clock(), self._unnamed
        running = self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        self._unnamed = {trial.number: seen.get(trial.number, now) for trial in running if JOB not in trial.user_attrs}
        for trial in running:
            if now - self._unnamed.get(trial.number, now) > self._lost_after_seconds:
                fail_and_put_back(self._study, trial)


def fail_and_put_back(study: optuna.Study, trial: FrozenTrial) -> None:
    """Marks a trial that nobody runs as failed, and puts a copy into the queue; nothing if another process did so."""
    import optuna

    try:
        study.tell(optuna_private.open_trial(study, trial), state=optuna.trial.TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return
    put_back(study, trial)


def _beat_seconds(lost_after_seconds: int) -> int:
    return max(1, lost_after_seconds // BEATS)
