"""Runs that are killed at every place that matters, and resumed: they end as if nothing had happened.

test_resume.py kills real commands at moments that nobody chose.
"""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import pytest

# One after another: the run is killed at the first place, and the resumed runs at the others. The cheapest recipe goes
# to the places of the disk, the others lose steps since their last checkpoint, in the middle of an epoch or at its end.
PLACES: dict[str, list[str]] = {
    "linear": [
        "run.json.write:2", "state.npz.write:2", "checkpoint.rename:2", "checkpoints.sync_folder:1",
        "metrics.jsonl.write:1", "events.sync:2", "old_checkpoint.rename:1", "old_checkpoint.removal:1",
        "run.json.done:2",
    ],
    "scaled": ["epoch:2"],
    "streamed": ["block:3"],
    "gan": ["checkpoint.rename:3"],
    "tables": ["block:3"],
    "stages": ["checkpoint.rename:2", "epoch:2", "checkpoint.rename:3", "epoch:1"],  # in each stage, and at their ends
    "augmented": ["block:3"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("recipe", PLACES)
def test_killed_at_places(recipe: str, runs: Any, tmp_path: Path) -> None:
    for place in PLACES[recipe]:
        code, output = runs.restart(tmp_path, recipe, failpoint=place)
        assert code == -signal.SIGKILL, (place, output)
    runs.assert_same(runs.finish(tmp_path, recipe), runs.undisturbed(recipe))


@pytest.mark.slow
def test_killed_again_and_again(runs: Any, tmp_path: Path) -> None:
    """At operations of the disk that a seed picks, until a resumed run comes to its end."""
    dice = random.Random("streamed")
    for _ in range(3):
        code, output = runs.restart(tmp_path, "linear", failpoint=f"io:{dice.randrange(16, 60)}")
        if code == 0:
            break
        assert code == -signal.SIGKILL, output
    runs.assert_same(runs.finish(tmp_path, "linear"), runs.undisturbed("linear"))
