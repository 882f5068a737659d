"""When a run stops, saves and logs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """When to stop and when to save; None means never.

    Attributes:
        steps_per_epoch: whole batches in an epoch.
        last_step: the run's last step; None if only time or a signal ends it.
        max_seconds: of training in this process.
        save_every_steps: cadences of the checkpoints, in steps; each of them counts.
        save_every_seconds: a further cadence, in seconds.
        log_every_steps: the distance between two points of the curves over steps.
        look_every_steps: the distance between two looks at the weights, before which a block ends.
        profile: the number of steps done where the profiler starts, and where it stops: a block ends there.
        pause_step: a step before the last one at which to stop for now, to be resumed later.
    """

    steps_per_epoch: int
    last_step: int | None
    max_seconds: float | None = None
    save_every_steps: tuple[int, ...] = ()
    save_every_seconds: float | None = None
    log_every_steps: int | None = None
    look_every_steps: int | None = None
    profile: tuple[int, int] | None = None
    pause_step: int | None = None

    def is_left(self, step: int) -> bool:
        """Returns whether there is anything to train after a step, for now."""
        return all(step < end for end in self._ends)

    def is_paused(self, step: int) -> bool:
        """Returns whether a run that stops at a step is to be resumed later."""
        return self.last_step is None or step < self.last_step

    def block_steps(self, step: int, wanted: int) -> int:
        """Returns how many steps to train from `step` on: about `wanted`, up to an epoch's end if one is passed."""
        end = min([step + max(1, wanted), *self._ends])
        if end // self.steps_per_epoch > step // self.steps_per_epoch:
            end -= end % self.steps_per_epoch
        cadences = [*self.save_every_steps, *([self.look_every_steps] if self.look_every_steps else [])]
        cuts = [cut for cut in self.profile or () if cut > step]
        return min([end, *cuts, *((step // every + 1) * every for every in cadences)]) - step

    def is_save_due(self, step: int, seconds_since_save: float) -> bool:
        """Returns whether the state after a step is to be saved."""
        if any(step % every == 0 for every in self.save_every_steps):
            return True
        return self.save_every_seconds is not None and seconds_since_save >= self.save_every_seconds

    @property
    def _ends(self) -> list[int]:
        return [end for end in (self.pause_step, self.last_step) if end is not None]
