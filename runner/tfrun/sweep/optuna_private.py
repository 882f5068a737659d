"""Every private name of Optuna that tfrun relies on. Optuna is optional, so only functions import it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfrun.errors import library_changed, private_name

if TYPE_CHECKING:
    import optuna


def open_trial(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> optuna.Trial:
    """Returns a trial of a study that another process began, ready to be reported to.

    `study.get_trials` gives copies of trials, and a study's own trials are made by `study.ask` alone, anew.
    """
    import optuna

    return optuna.Trial(study, private_name(trial, "_trial_id", library="Optuna", use="resume a search"))


def send_heartbeat(study: optuna.Study, trial: optuna.Trial | optuna.trial.FrozenTrial) -> None:
    """Writes into the database of a study that a trial is running; Optuna does so in its own loop only."""
    use = "notice that a machine of a search is lost"
    storage = private_name(study, "_storage", library="Optuna", use=use)
    record = private_name(storage, "record_heartbeat", library="Optuna", use=use)
    record(private_name(trial, "_trial_id", library="Optuna", use=use))


def endless_grid() -> type[optuna.samplers.GridSampler]:
    """Returns Optuna's grid sampler without its end: after the last point, `after_trial` would stop Optuna's own loop.

    That loop doesn't run here, where stopping it is an error, and tfrun counts the points itself.
    """
    import optuna

    if "after_trial" not in vars(optuna.samplers.GridSampler):  # then it stops the loop somewhere else
        raise library_changed("Optuna", "GridSampler.after_trial", use="end a grid with its last point")

    class Grid(optuna.samplers.GridSampler):
        def after_trial(self, *_: Any, **__: Any) -> None:
            """Does nothing."""

    return Grid
