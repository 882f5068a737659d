"""Pieces and runs of small configs, made in this process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tfrun.config.catalog import Catalog, load_catalog

if TYPE_CHECKING:  # the engine is imported by the tests that need it
    from tfrun.config.settings import Settings
    from tfrun.data.table import Table
    from tfrun.engine.building.pieces import Pieces
    from tfrun.files.runs import RunFolder

# 6 steps an epoch, and nothing to compile
WORDS = ["model=linear", "trainer.compile=eager", "trainer.deterministic=false", "data.batch_size=64"]


@functools.cache
def shipped_catalog() -> Catalog:
    """Returns the components that ship."""
    return load_catalog()


@dataclass(frozen=True)
class Small:
    """Makes pieces and runs of the data set that ships, diabetes, in batches of 64.

    Attributes:
        root: where the runs are.
        settings: returns the checked config of a command line.
    """

    root: Path
    settings: Callable[..., Settings]

    @property
    def catalog(self) -> Catalog:
        """The components that ship."""
        return shipped_catalog()

    @property
    def only_run(self) -> RunFolder:
        """The only run so far, whose training may have raised an error."""
        from tfrun.files.runs import RunFolder

        (path,) = self.root.glob("outputs/*/*")
        return RunFolder(path)

    def table(self, *overrides: str) -> Table:
        """Returns the raw rows."""
        return self._table(self.settings(*WORDS, *overrides))

    def pieces(self, *overrides: str) -> Pieces:
        """Returns a run's pieces."""
        from tfrun.engine.building.assembly import build_pieces

        settings = self.settings(*WORDS, *overrides)
        return build_pieces(settings, self.catalog, table=self._table(settings))

    def train(self, *overrides: str, **options: Any) -> RunFolder:
        """Trains a run, for two epochs unless the overrides say otherwise, and returns its folder.

        Args:
            overrides: added to a small config.
            options: the arguments of `RunOptions`.
        """
        from tfrun.files import runs

        settings = self.settings(*WORDS, "trainer.max_epochs=2", *overrides)
        folder = runs.claim(str(self.root), settings.name)
        self._train(settings, folder, options)
        return folder

    def resume(self, folder: RunFolder, *overrides: str, **options: Any) -> int:
        """Trains a run in a folder that exists, and returns the exit code."""
        return self._train(self.settings(*WORDS, "trainer.max_epochs=2", *overrides), folder, options)

    def _table(self, settings: Settings) -> Table:
        from tfrun.data.sources import load_table

        return load_table(settings.data, self.catalog)

    def _train(self, settings: Settings, folder: RunFolder, options: dict[str, Any]) -> int:
        from tfrun.engine import experiment

        options.setdefault("reuse", experiment.Reuse())  # not what other tests have left in the process
        run_options = experiment.RunOptions(**options)
        return experiment.train(
            settings, folder, catalog=self.catalog, table=self._table(settings), options=run_options
        )


@pytest.fixture
def small(tmp_path: Path, settings: Callable[..., Settings]) -> Small:
    return Small(tmp_path, settings)
