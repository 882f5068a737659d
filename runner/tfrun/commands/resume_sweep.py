"""`tfrun resume SWEEP [retry=true]`: runs the jobs of a sweep that have not ended."""

from __future__ import annotations

from hydra.types import RunMode

from tfrun.commands.command_line import CommandLine, pop_word
from tfrun.commands.inputs import compose
from tfrun.config.sources import Sources
from tfrun.errors import ConfigError
from tfrun.files.runs import RunFolder


def run(command_line: CommandLine, folder: RunFolder) -> int:
    """Resumes the sweep in a folder and returns the exit code.

    Its config is the one that it began with; what may change is how its jobs run, and whether failed ones are retried.
    """
    retry, command_line = pop_word(command_line, "retry")
    if any(value not in ("true", "false") for value in retry):
        raise ConfigError(f"retry: must be true or false. Received: {retry[-1]!r}")
    for word in command_line.settings:
        if not word.startswith(("hydra.launcher.", "hydra.sweeper.n_trials=")):
            raise ConfigError(
                f"{word.partition('=')[0]}: a sweep is resumed with its own config; only hydra.launcher.*, retry=true "
                "and a search's hydra.sweeper.n_trials may be given. "
                f"More jobs: tfrun -m ... sweep.extend={folder.path}. Received: {word!r}"
            )
    from tfrun.sweep import ledger, multirun

    header, _ = ledger.Ledger(folder.path).read()
    words = (*header["overrides"], *command_line.settings)
    original = CommandLine(words, command_line.flags, Sources(**header["sources"]))
    configs, composed = compose(original, RunMode.MULTIRUN)
    return multirun.resume(configs, composed, folder=folder, retry=retry[-1:] == ["true"])
