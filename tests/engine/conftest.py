"""Pieces and runs of small configs, made in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # the engine is imported by the tests that need it
    from tfrun.engine.building.pieces import Pieces
    from tfrun.files.runs import RunFolder

# 5 steps an epoch, and nothing to compile
WORDS = ["model=linear", "trainer.compile=eager", "trainer.deterministic=false", "data.batch_size=64"]


@dataclass(frozen=True)
class Small:
    """Makes pieces and runs of the data set that ships, diabetes, in batches of 64.

    Attributes:
        root: where the runs are.
        settings: returns the checked config of a command line.
    """

    root: Path
    settings: Callable[..., Any]

    @property
    def catalog(self) -> Any:
        """The components that ship."""
        from tfrun.config.catalog import load_catalog

        return load_catalog()

    @property
    def only_run(self) -> RunFolder:
        """The only run so far, whose training may have raised an error."""
        from tfrun.files.runs import RunFolder

        (path,) = self.root.glob("outputs/*/*")
        return RunFolder(path)

    def table(self, *overrides: str) -> Any:
        """Returns the raw rows."""
        from tfrun.data.sources import load_table

        return load_table(self.settings(*WORDS, *overrides).data, self.catalog)

    def pieces(self, *overrides: str) -> Pieces:
        """Returns a run's pieces."""
        from tfrun.engine.building.pieces import build_pieces

        return build_pieces(self.settings(*WORDS, *overrides), self.catalog, table=self.table(*overrides))

    def train(self, *overrides: str, **options: Any) -> RunFolder:
        """Trains a run, for two epochs unless the overrides say otherwise, and returns its folder."""
        from tfrun.files import runs

        settings = self.settings(*WORDS, "trainer.max_epochs=2", *overrides)
        folder = runs.claim(str(self.root), settings.name)
        self.resume(folder, *overrides, **options)
        return folder

    def resume(self, folder: RunFolder, *overrides: str, **options: Any) -> int:
        """Trains a run in a folder that exists, and returns the exit code."""
        from tfrun.engine import experiment

        options.setdefault("reuse", experiment.Reuse())  # not what other tests have left in the process
        return experiment.train(
            self.settings(*WORDS, "trainer.max_epochs=2", *overrides),
            folder,
            catalog=self.catalog,
            table=self.table(*overrides),
            options=experiment.RunOptions(**options),
        )


@pytest.fixture
def small(tmp_path: Path, settings: Callable[..., Any]) -> Small:
    return Small(tmp_path, settings)
