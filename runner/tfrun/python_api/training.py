"""Trains a run from Python."""

from __future__ import annotations

from collections.abc import Sequence

from tfrun.errors import ConfigError
from tfrun.python_api import opened, process
from tfrun.python_api.display import display_for
from tfrun.python_api.opened import Run

# keys of a command line that is a sweep begin so
SWEEPS = (
    "hparams_search",
    "hydra.sweeper",
    "hydra/sweeper",
    "hydra.launcher",
    "hydra/launcher",
    "hydra.mode",
    "sweep.",
)


def run(*overrides: str, show: bool = True) -> Run:
    """Trains a run as `tfrun OVERRIDES…` does, in a process of its own, and returns it.

    The current folder is the command's: relative paths and the modules of `plugins` are looked for there. In a notebook
    a bar shows the progress. An interrupt stops the run with its state saved; `Run.resume` continues it.

    Args:
        overrides: as on the command line, but without a shell's quotes: "model.hidden_units=[64, 32]".
        show: whether to show what the command prints.

    Raises:
        TfrunError: as the command reports it; `tfrun.errors` has a class for each kind.
        KeyboardInterrupt: the run was interrupted before there was a state to save.
        RuntimeError: a bug of a component or of tfrun, whose traceback is shown.
    """
    _check(overrides)
    return opened.open(process.train(["train", *overrides], display_for(show=show)))


def _check(overrides: Sequence[str]) -> None:
    """Raises ConfigError for words that do something else than train one run."""
    for word in overrides:
        if not isinstance(word, str):
            raise ConfigError(f"run: overrides are texts, 'model=mlp' for example. Received: {word!r}")
        if word.startswith("-") or word.lstrip("+").startswith(SWEEPS):
            raise ConfigError(
                f"run: trains one run, and takes no flags. Received: {word!r}. "
                "A sweep is a command of its own, tfrun -m …; tfrun.runs(FOLDER) is the table of its runs"
            )
        if "=" not in word and not word.startswith("~"):
            raise ConfigError(f"run: takes overrides, KEY=VALUE. Received: {word!r}")
