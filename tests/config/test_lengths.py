from __future__ import annotations

from collections.abc import Callable

import pytest

from tfrun.config.lengths import nothing_left
from tfrun.config.settings import Settings


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (["trainer.max_epochs=3"], "completed", "is completed already, at step 30"),
        (["trainer.max_epochs=3"], "stopped", None),  # the test may be left
        (["trainer.max_epochs=4"], "completed", None),
        (["trainer.max_epochs=4", "trainer.max_steps=30"], "completed", "is completed already, at step 30"),
        (["trainer.max_epochs=null", "trainer.max_steps=31"], "completed", None),
        (["trainer.max_epochs=null", "trainer.max_seconds=9"], "completed", None),
        # only the state knows whether early stopping has ended the run
        (["trainer.max_epochs=9", "early_stopping.patience=2"], "completed", None),
        (["trainer.max_epochs=2"], "completed", "has nothing left to do: 3 epochs are done, trainer.max_epochs=2"),
        (["trainer.max_epochs=2"], "stopped", "has nothing left to do: 3 epochs are done, trainer.max_epochs=2"),
        (["trainer.max_steps=29"], "running", "has nothing left to do: 30 steps are done, trainer.max_steps=29"),
    ],
)
def test_what_the_limits_leave_to_do(
    settings: Callable[..., Settings], words: list[str], status: str, reason: str | None
) -> None:
    assert nothing_left(settings(*words).trainer, {"status": status, "epoch": 3, "step": 30}) == reason


def test_a_run_that_has_not_begun_has_all_to_do(settings: Callable[..., Settings]) -> None:
    assert nothing_left(settings().trainer, {}) is None
