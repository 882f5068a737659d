"""`tfrun resume SWEEP [retry=true]`: runs the jobs of a sweep that have not ended. `resume=auto` does it by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from hydra.types import RunMode

from tfrun.commands.command_line import CommandLine, pop_flag
from tfrun.commands.inputs import compose, first_folder_of_sweep
from tfrun.config.changes import describe, differences
from tfrun.config.compose import Composed
from tfrun.config.earlier_runs import groups_of_earlier, words_of_earlier
from tfrun.config.plain import read_yaml
from tfrun.config.sources import Sources
from tfrun.errors import CheckpointError, ConfigError
from tfrun.files.masking import is_masked
from tfrun.files.runs import RunFolder
from tfrun.folders import work_in

MAY_CHANGE = ("hydra.launcher.", "hydra.sweeper.n_trials=", "hydra.sweeper.storage=")  # how words begin


def run_again(command_line: CommandLine, composed: Composed, folder: RunFolder, *, advice: str) -> int:
    """Resumes the sweep that an earlier start of the same job has begun, and returns the exit code.

    Args:
        command_line: of this start.
        composed: its config.
        folder: the sweep's.
        advice: the last sentence of the error.

    Raises:
        CheckpointError: the sweep began with other words.
    """
    from tfrun.sweep import ledger, words

    header, _ = ledger.Ledger(folder.path).read()
    changes = differences(_by_key(header.get("overrides", [])), _by_key(words.recorded_words(composed.cfg)))
    refused = {key: values for key, values in changes.items() if not f"{key}=".startswith(MAY_CHANGE)}
    if refused:
        raise CheckpointError(
            f"{folder.path}: the sweep began with other words. {describe(refused)}. Only hydra.launcher.* and a "
            f"search's hydra.sweeper.n_trials and hydra.sweeper.storage may change. {advice}"
        )
    changed = [word for word in command_line.settings if word.startswith(MAY_CHANGE)]
    return run(command_line.with_words(changed), folder)


def _by_key(words: Sequence[str]) -> dict[str, str]:
    parts = (word.lstrip("+").partition("=") for word in words)
    return {key: value for key, _, value in parts}


def run(command_line: CommandLine, folder: RunFolder) -> int:
    """Resumes the sweep in a folder and returns the exit code.

    Its config is the one that it began with; what may change is how its jobs run, and whether failed ones are retried.
    """
    retry, command_line = pop_flag(command_line, "retry")
    for word in command_line.settings:
        if not word.startswith(MAY_CHANGE):
            raise ConfigError(
                f"{word.partition('=')[0]}: a sweep is resumed with its own config; only hydra.launcher.*, retry=true "
                "and a search's hydra.sweeper.n_trials and hydra.sweeper.storage may be given. "
                f"More jobs: tfrun -m ... sweep.extend={folder.path}. Received: {word!r}"
            )
    from tfrun.sweep import ledger, multirun

    header, _ = ledger.Ledger(folder.path).read()
    missing = [key for key in ("overrides", "swept", "sources", "threads") if key not in header]
    if missing or not header["sources"].keys() <= {field.name for field in fields(Sources)}:
        raise CheckpointError(f"{folder.path}: its ledger is another program's or version's. Missing: {missing}")
    work_in(first_folder_of_sweep(folder, header))
    earlier = words_of_earlier(read_yaml(folder.path / "multirun.yaml"), header)
    words = (*earlier, *header["overrides"], *command_line.settings)
    _check_masked(words, folder)
    original = CommandLine(words, command_line.flags, Sources(**header["sources"]))
    configs, composed = compose(original, RunMode.MULTIRUN, groups=groups_of_earlier(header))
    return multirun.resume(replace(configs, earlier=tuple(earlier)), composed, folder=folder, retry=retry)


def _check_masked(words: Sequence[str], folder: RunFolder) -> None:
    """Raises ConfigError if the sweep began with an address whose user and password were not written down."""
    values = {key.lstrip("+"): value for key, _, value in (word.partition("=") for word in words)}
    for key, value in values.items():
        if key.startswith("hydra.") and is_masked(value):
            raise ConfigError(
                f"{key}: {folder.path} has the address without user and password. Give it again, for example "
                f"{key}='${{oc.env:DATABASE}}'. Received: {value!r}"
            )
