"""`tfrun find lr [overrides] [from= to= steps= smoothing= group= out= overwrite=]`: a learning-rate range test."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfrun.commands.command_line import CommandLine, pop_flag
from tfrun.commands.find_config import LR_OPTIONS, Trial, pop_options, read_config
from tfrun.config.settings import Settings
from tfrun.errors import ConfigError, DivergedError, unknown
from tfrun.files.disk import refusals, try_folder, write_atomically
from tfrun.files.masking import masked
from tfrun.folders import shown, typed
from tfrun.streams import complain

WHERE = "find lr"
DEFAULTS = {"from": "1e-7", "to": "10", "steps": "100", "smoothing": "0.9"}
MIN_RATE, MAX_RATE = 1e-30, 1e30  # float32, which the rates are, ends a little further
MIN_STEPS, MAX_STEPS = 10, 100_000
MAX_SMOOTHING = 0.999


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    overwrite, command_line = pop_flag(command_line, "overwrite")
    options, command_line = pop_options(command_line, LR_OPTIONS, where=WHERE)
    numbers = _numbers(options)
    out = _out(options["out"], overwrite=overwrite) if "out" in options else None
    if overwrite and out is None:
        raise ConfigError("overwrite: only together with out=FILE.html")
    trial = read_config(command_line, where=WHERE)
    group = _checked_group(trial.inputs.settings, options.get("group"))
    result = _tested(trial, numbers, group=group)
    for warning in result.warnings:
        complain(f"warning: {warning}")
    return _report(trial, result, out=out)


def _numbers(options: Mapping[str, str]) -> dict[str, float]:
    """Returns the options that are numbers. Raises ConfigError for a wrong one."""
    values = {key: _number(key, options.get(key, default)) for key, default in DEFAULTS.items()}
    for key in ("from", "to"):
        if not MIN_RATE <= values[key] <= MAX_RATE:
            raise ConfigError(f"{key}: must be a learning rate from 1e-30 to 1e30. Received: {options[key]!r}")
    if not values["from"] < values["to"]:
        raise ConfigError(f"to: must be > from, {values['from']:g}. Received: {values['to']:g}")
    steps, smoothing = values["steps"], values["smoothing"]
    if not (steps.is_integer() and MIN_STEPS <= steps <= MAX_STEPS):
        raise ConfigError(
            f"steps: must be a whole number from {MIN_STEPS} to {MAX_STEPS:,}. Received: {options['steps']!r}"
        )
    if not 0 <= smoothing <= MAX_SMOOTHING:
        raise ConfigError(
            f"smoothing: must be from 0, which smooths nothing, to {MAX_SMOOTHING}. Received: {options['smoothing']!r}"
        )
    if round(steps * (1 - smoothing), 6) < 3:
        raise ConfigError(
            f"steps: smoothing={smoothing:g} averages about {1 / (1 - smoothing):.0f} steps, and needs three times "
            f"as many. Received: {steps:.0f}"
        )
    return values


def _number(key: str, text: str) -> float:
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{key}: must be a number. Received: {text!r}")
    return value


def _out(text: str, *, overwrite: bool) -> Path:
    """Returns the file to write. Raises ConfigError if it can't be one, or exists."""
    out = typed(text)
    if out.suffix != ".html":
        raise ConfigError(f"out: must be an .html file. Received: {text!r}")
    if out.is_dir():
        raise ConfigError(f"out: must be a file, not a folder. Received: {shown(out)!r}")
    if os.path.lexists(out) and not overwrite:
        raise ConfigError(f"out: the file exists; overwrite=true replaces it. Received: {shown(out)!r}")
    with refusals(out):
        try_folder(out.absolute().parent)
    return out


def _checked_group(settings: Settings, group: str | None) -> str | None:
    """Returns the group to test alone, if any. Raises ConfigError if it can't be tested."""
    trained = [name for name, of_group in settings.groups.items() if not of_group.frozen]
    if group is None:
        return None
    if group in settings.groups and group not in trained:
        raise ConfigError(f"group: it is frozen, and has no learning rate. Received: {group!r}")
    if group not in trained:
        raise unknown("group", "optimizer group", name=group, known=trained)
    return group


def _tested(trial: Trial, numbers: Mapping[str, float], *, group: str | None) -> Any:
    """Returns the result of the range test, whose progress a terminal shows."""
    from tfrun.load_engine import engine

    with engine(None) as (experiment, _), _progress(int(numbers["steps"])) as report:
        options = experiment.RangeOptions(
            first_rate=numbers["from"],
            last_rate=numbers["to"],
            num_steps=int(numbers["steps"]),
            smoothing=numbers["smoothing"],
            group=group,
            report=report,
        )
        inputs = trial.inputs
        return experiment.range_test(inputs.settings, trial.catalog, table=inputs.table, options=options)


@contextlib.contextmanager
def _progress(num_steps: int) -> Iterator[Any]:
    """Yields a function that shows how far the test is, on a terminal."""
    from tfrun.console import Terminal, is_live

    console = Terminal()
    if not is_live(console.file):
        yield lambda step, rate, loss: None
        return
    with console.status("building and compiling") as status:
        yield lambda step, rate, loss: status.update(f"step {step}/{num_steps}  rate {rate:.1e}  loss {loss:.4g}")


def _report(trial: Trial, result: Any, *, out: Path | None) -> int:
    """Prints the result and writes the page. Raises TfrunError if no rate is suggested."""
    from tfrun.reports import range_page
    from tfrun.reports.range_report import RangeReport

    report = RangeReport(
        result.curve,
        ratios=result.ratios,
        untested=result.untested,
        paths={name: group.where for name, group in trial.inputs.settings.groups.items()},
        scheduled=any(group.schedule is not None for group in trial.inputs.settings.groups.values()),
        epochs=result.epochs,
        seconds=result.seconds,
    )
    command = trial.command(report.settings()) if report.has_suggestion else ""
    report.print(command)
    if out is not None and len(result.curve.losses):
        title = masked(" ".join(trial.words)) or "the default config"
        with refusals(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(out, range_page.page(report, title=title, command=command))
        print(shown(out))
    if not report.has_suggestion:
        why = result.curve.why_none()
        if not len(result.curve.losses):
            raise DivergedError(f"{WHERE}: {why}, so that there is nothing to test")
        raise ConfigError(f"{WHERE}: no suggestion: {why}")
    return 0
