"""Plans a run: when it stops, saves and logs."""

from __future__ import annotations

from tfrun.config.settings import Settings
from tfrun.engine.training.plan import Plan
from tfrun.errors import ConfigError

LOG_POINTS = 500  # of a curve over steps, unless logger.every_steps is set
LOG_EVERY_STEPS = 100  # of a run without a last step


def build_plan(settings: Settings, steps_per_epoch: int) -> Plan:
    """Returns when the run stops and saves; the nearest of several limits counts."""
    checkpoint = settings.checkpoint
    logger = settings.logger
    last_step = min(_in_steps(settings.trainer.max_steps, settings.trainer.max_epochs, steps_per_epoch), default=None)
    profile = settings.trainer.profile
    if profile and last_step is not None and profile[1] > last_step:
        raise ConfigError(f"trainer.profile: the run has {last_step:,} steps. Received: {list(profile)}")
    return Plan(
        steps_per_epoch=steps_per_epoch,
        last_step=last_step,
        max_seconds=settings.trainer.max_seconds,
        save_every_steps=tuple(_in_steps(checkpoint.every_steps, checkpoint.every_epochs, steps_per_epoch)),
        save_every_seconds=checkpoint.every_seconds,
        profile=profile,
        log_every_steps=(logger.every_steps or _log_every(last_step)) if logger else None,
        look_every_steps=((logger.histograms_every_epochs or 0) * steps_per_epoch or None) if logger else None,
    )


def _in_steps(steps: int | None, epochs: int | None, steps_per_epoch: int) -> list[int]:
    """Returns those of the two numbers that are set, in steps."""
    return [number for number in (steps, (epochs or 0) * steps_per_epoch) if number]


def _log_every(last_step: int | None) -> int:
    return LOG_EVERY_STEPS if last_step is None else max(1, last_step // LOG_POINTS)
