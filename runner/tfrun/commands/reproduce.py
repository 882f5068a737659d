"""`tfrun reproduce RUN [--check epochs=N …]`: prints what differs now, trains a run again, and compares both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tfrun.commands import reproduced_code, reproduced_environment
from tfrun.commands.command_line import CommandLine, pop_flag, pop_word
from tfrun.commands.inputs import ExistingRun, Inputs, open_run, read_inputs
from tfrun.commands.prunable import is_held
from tfrun.commands.reproduced_part import Part, part_of, refuse_copy
from tfrun.commands.reproduced_sources import (
    check_fingerprint,
    check_init,
    teacher_aspect,
    threads_aspect,
    with_changes,
)
from tfrun.commands.several_workers import WORKERS, cluster_to_reproduce, follow, leading, telling_others, words_of
from tfrun.config import schema
from tfrun.config.catalog import Catalog
from tfrun.config.later_changes import changes_since
from tfrun.config.overrides import parse
from tfrun.config.plain import plain
from tfrun.config.recorded_sources import subject_of
from tfrun.config.run_words import run_words
from tfrun.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    FolderInUseError,
    OtherResultsError,
    TfrunError,
    unknown,
)
from tfrun.files import runs, yaml_files
from tfrun.files.compared_runs import ComparedArrays, ComparedLines, compare_arrays, compare_lines
from tfrun.files.disk import write_atomically
from tfrun.files.first_folder import describe
from tfrun.files.provenance import record as records
from tfrun.files.provenance.aspects import DIFFERS, UNKNOWN, Aspect, Now, compare, promise
from tfrun.files.provenance.recording import Recording, Subject, collect_now
from tfrun.files.runs import RunFolder
from tfrun.folders import shown, take_code_from, typed
from tfrun.host_cores import num_cores
from tfrun.reports.seed_spread import SeedSpread
from tfrun.workers.cluster import Cluster

PATHS = ("data.path", "data.validation_path", "data.test_path", "data.cache")  # the contents are compared
THREADS = "trainer.threads"
HERE, VENV = "here", "venv"
OPTIONS = ("check", "code", "env", "yes", "epochs", THREADS, WORKERS, *PATHS)


@dataclass(frozen=True)
class _Options:
    """The options of `tfrun reproduce`.

    Attributes:
        only_checks: whether nothing is trained.
        code: `here`, `worktree`, or a folder with plugins.
        env: `here`, or `venv` for the packages of the run.
        may_install: whether these may be installed without a question.
        epochs: how many are trained; None for all.
        words: with which another worker on this machine is started, if several have trained the run.
    """

    only_checks: bool
    code: str
    env: str
    may_install: bool
    epochs: int | None
    words: Sequence[str]


@dataclass(frozen=True)
class _Reproduction:
    """A run and what it takes to train it again.

    Attributes:
        existing: the run.
        run: its `run.json`.
        part: what of it is trained.
        catalog: the components.
        inputs: its config, and its data as they are now.
        subject: what is recorded of the new run.
        spread: how far seeds spread, where that is known.
        cluster: the workers, if several have trained the run.
        worker_words: as `_Options.words`.
    """

    existing: ExistingRun
    run: dict[str, Any]
    part: Part
    catalog: Catalog
    inputs: Inputs
    subject: Subject
    spread: SeedSpread | None
    cluster: Cluster | None
    worker_words: Sequence[str]

    @property
    def folder(self) -> RunFolder:
        """The folder of the run that is trained again."""
        return self.existing.folder


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    options, command_line = _options(command_line)
    for word in command_line.names:
        if sweep := runs.open_sweep(word):
            raise ConfigError(f"reproduce: {word} is a sweep. Reproduce one of its jobs: {_jobs(sweep)}")
    existing = open_run(command_line, "reproduce")
    if is_held(existing.folder):
        raise FolderInUseError(f"{existing.folder.path} is in use by another process: it is still training")
    if options.code == reproduced_code.WORKTREE or options.env == VENV:
        refuse_copy(existing.folder, existing.folder.read_run())  # before anything is installed for it
        words = [*existing.overrides, *([] if options.epochs is None else [f"epochs={options.epochs}"])]
        words += ["check=true"] if options.only_checks else []
        python = None
        if options.env == VENV:
            python = reproduced_environment.python_of_run(existing.folder, may_install=options.may_install)
        return reproduced_code.run(existing.folder, words, code=options.code, python=python)
    if options.code != HERE:
        take_code_from(Path(options.code))
    return _reproduce(existing, command_line, options)


def _options(command_line: CommandLine) -> tuple[_Options, CommandLine]:
    """Returns the options, and the command line without them. Raises ConfigError."""
    worker_words = words_of("reproduce", command_line)
    codes, command_line = pop_word(command_line, "code")
    numbers, command_line = pop_word(command_line, "epochs")
    environments, command_line = pop_word(command_line, "env")
    check, command_line = pop_flag(command_line, "check")
    says_yes, command_line = pop_flag(command_line, "yes")
    for override in parse(command_line.settings):
        if override.key_or_group not in (THREADS, WORKERS, *PATHS):
            raise unknown("reproduce", "option", name=override.key_or_group, known=OPTIONS)
    code = codes[-1] if codes else HERE
    if code not in (HERE, reproduced_code.WORKTREE):
        folder = typed(code)
        if not folder.is_dir():
            raise ConfigError(f"code: must be here, worktree, or a folder with the plugins. Received: {code!r}")
        code = str(folder)
    env = environments[-1] if environments else HERE
    if env not in (HERE, VENV):
        raise ConfigError(f"env: must be here or venv. Received: {env!r}")
    if says_yes and env != VENV:
        raise ConfigError("yes: only with env=venv, which installs packages")
    epochs = numbers[-1] if numbers else None
    if epochs is not None and not (epochs.isdecimal() and epochs.isascii() and int(epochs) > 0):
        raise ConfigError(f"epochs: must be a whole number from 1. Received: {epochs!r}")
    only_checks = check or command_line.flags.check
    num_epochs = None if epochs is None else int(epochs)
    return _Options(only_checks, code, env, says_yes, epochs=num_epochs, words=worker_words), command_line


def _jobs(sweep: RunFolder) -> str:
    numbers = sorted(int(path.name) for path in sweep.path.iterdir() if path.name.isdecimal())
    names = [shown(sweep.path / str(number)) for number in numbers]
    return f"{names[0]} to {names[-1]}" if len(names) > 2 else " or ".join(names) or "it has none yet"


def _reproduce(existing: ExistingRun, command_line: CommandLine, options: _Options) -> int:
    folder, run = existing.folder, existing.folder.read_run()
    first = records.read(folder.path)
    of_resumes = records.read_resumed(folder.path)
    config, catalog = existing.change(command_line)
    with telling_others(config):
        settings = schema.build_settings(config, catalog, overrides=existing.overrides)
        cluster = None if options.only_checks else cluster_to_reproduce(settings, run)
        of_all = [record for record in (first, *of_resumes) if record is not None]
        part = part_of(folder, run, config=config, settings=settings, records=of_all, epochs=options.epochs)
        check_init(run, config)
        inputs = read_inputs(part.config, catalog, overrides=existing.overrides, begins=True)
    if cluster is not None and not cluster.leads:
        return follow(cluster, inputs, catalog)
    subject = subject_of(inputs.settings.provenance, catalog)
    record, changes = collect_now(Subject(subject.modules))
    code, patch, sources, packages, python, machine, environment = compare(
        first, Now(record, changes, has_plugins=bool(subject.modules)), run=run
    )
    code = with_changes(code, changes_since(run, settings, has_record=first is not None))
    data = check_fingerprint(run, inputs)
    asked = (settings.trainer.threads or num_cores()) if _asks_for_threads(existing) else None
    threads = threads_aspect(run, asked=asked)
    aspects = [code, patch, sources, packages, python, data, machine, threads, environment]
    spread = SeedSpread.of(folder, run)
    _print_table([*aspects, *teacher_aspect(config)], part, spread)
    if options.only_checks:
        return 0
    with telling_others(config):
        if data.state == DIFFERS:
            raise DataError(
                f"{inputs.table.source}: its contents have changed since the run was trained on it. {data.text}. "
                "A run can only be reproduced on the data that it was trained on"
            )
    words = options.words
    return _train_and_compare(_Reproduction(existing, run, part, catalog, inputs, subject, spread, cluster, words))


def _asks_for_threads(existing: ExistingRun) -> bool:
    return any(override.key_or_group == THREADS for override in parse(existing.overrides))


def _print_table(aspects: Sequence[Aspect], part: Part, spread: SeedSpread | None) -> None:
    """Prints the table of what is the same, and the sentence on what can be promised."""
    from rich.table import Table  # here, since its import takes a tenth of a second

    from tfrun.console import Results, say, say_wrapped
    from tfrun.narrow_tables import print_table

    console = Results()
    table = Table()
    for head in ("of the run", "now", "what"):
        table.add_column(head, overflow="fold")
    for aspect in aspects:
        table.add_row(aspect.name, aspect.state, aspect.text)
    print_table(console, table)
    _, sentence = promise(aspects)
    if spread is not None and any(aspect.state in (DIFFERS, UNKNOWN) for aspect in aspects):
        sentence += f". {_of_seeds(spread)}"
    say_wrapped(console, f"{sentence}.")
    if part.why:
        say(console, f"The run {part.why}: compared up to step {part.until_step:,}.")


def _of_seeds(spread: SeedSpread) -> str:
    """Returns a sentence with the mean and the standard deviation over seeds."""
    values = f"{spread.mean:.6g} ± {spread.deviation:.2g}"
    return f"Over the {len(spread.values)} seeds of its sweep, the best {spread.metric} is {values}"


def _train_and_compare(reproduction: _Reproduction) -> int:
    """Trains the run in a new folder, compares the two, and returns the exit code. Raises OtherResultsError."""
    settings, part = reproduction.inputs.settings, reproduction.part
    folder = runs.claim(settings.output_root, settings.name)
    from tfrun.load_engine import engine

    words = [word for word in reproduction.run.get("overrides", []) if isinstance(word, str)]
    entries = {"reproduces": {"run_id": _run_id(reproduction), "path": str(reproduction.folder.path)}}
    is_broken = False
    try:
        write_atomically(folder.config_yaml, _config_text(reproduction))
        others = leading(
            reproduction.cluster,
            reproduction.inputs,
            folder,
            catalog=reproduction.catalog,
            command_line=reproduction.worker_words,
        )
        with (
            others as leader,
            Recording.start(folder, reproduction.subject),
            engine(folder.log) as (experiment, seconds),
        ):
            options = experiment.RunOptions(
                leader=leader,
                overrides=words,
                words=run_words(words, model=settings.model.name, folder=folder.path),
                import_seconds=seconds,
                pause_step=part.until_step,
                reproduced=_with_asked_threads(reproduction),
                entries={**entries, "folder": describe(folder.path)},
            )
            table, catalog = reproduction.inputs.table, reproduction.catalog
            experiment.train(settings, folder, catalog=catalog, table=table, options=options)
    except DivergedError:
        is_broken = True
        if reproduction.run.get("status") != "diverged":
            raise
    except (KeyboardInterrupt, TfrunError):  # workers that don't meet, for example
        if not folder.run_json.exists():
            folder.discard()
        raise
    if not is_broken and reproduction.run.get("status") == "diverged" and part.until_step is None:
        raise OtherResultsError(f"reproduced with other results: the run diverged, and {shown(folder.path)} did not")
    return _report(reproduction, folder)


def _with_asked_threads(reproduction: _Reproduction) -> dict[str, Any]:
    """Returns `run.json` of the run; without its threads if the command line asks for others, so that these count."""
    run = reproduction.run
    if not _asks_for_threads(reproduction.existing):
        return run
    return {**run, "engine": {key: value for key, value in run.get("engine", {}).items() if key != "threads"}}


def _config_text(reproduction: _Reproduction) -> str:
    """Returns the content of the new run's `config.yaml`: that of the run, unless something had to change."""
    config, file = reproduction.inputs.config, reproduction.folder.config_yaml
    is_same = plain(yaml_files.load_config(file)) == config
    return yaml_files.read_text(file) if is_same else OmegaConf.to_yaml(OmegaConf.create(config))


def _run_id(reproduction: _Reproduction) -> str:
    return str(reproduction.run.get("run_id", reproduction.folder.run_id))


def _report(reproduction: _Reproduction, folder: RunFolder) -> int:
    """Prints how the results compare, and returns 0. Raises OtherResultsError if they differ."""
    from tfrun.console import Results, say

    console, part = Results(), reproduction.part
    before = reproduction.folder
    lines = compare_lines(before.metrics_jsonl, folder.metrics_jsonl, until_step=part.until_step)
    arrays = compare_arrays(before.checkpoints, folder.checkpoints)
    of_best = "" if part.until_step is not None else _best_differs(reproduction.run, folder.read_run())
    say(console, f"\ncompared: {_counts(lines, arrays)}")
    if not lines.num_lines and arrays is None:
        raise CheckpointError(f"{shown(before.path)}: has no line and no checkpoint that could be compared")
    if not (lines.num_differing or (arrays and arrays.num_differing) or of_best):
        what = "the same bits" if arrays else "the same numbers, in all digits"
        say(console, f"reproduced: {what}{'' if part.until_step is None else f', up to step {part.until_step:,}'}")
        return 0
    for text in _first_differences(lines, arrays, of_best):
        say(console, text)
    if within := _within_seeds(reproduction, folder):
        say(console, f"reproduced: {within}")
        return 0
    first = lines.first
    where = f"{first.name} of epoch {first.epoch}: {first.before} → {first.after}" if first else of_best
    raise OtherResultsError(f"reproduced with other results: {where or 'the state differs'}. See {shown(folder.path)}")


def _counts(lines: ComparedLines, arrays: ComparedArrays | None) -> str:
    text = (
        f"{lines.num_values:,} values in {lines.num_lines:,} line{'s' if lines.num_lines != 1 else ''} of metrics.jsonl"
    )
    if arrays is None:
        return f"{text}; the two have no checkpoint of the same step"
    return f"{text}, {arrays.num_arrays:,} arrays of the {arrays.what} at step {arrays.step:,}"


def _first_differences(lines: ComparedLines, arrays: ComparedArrays | None, of_best: str) -> list[str]:
    texts = []
    if first := lines.first:
        where = f"epoch {first.epoch}, step {first.step}, {first.name}: {first.before} → {first.after}"
        texts.append(f"first difference: {where} ({lines.num_differing:,} of {lines.num_values:,} values differ)")
    elif of_best:
        texts.append(of_best)
    if arrays and arrays.first is not None:
        count = f"{arrays.num_differing:,} of {arrays.num_arrays:,} arrays differ"
        texts.append(f"first array: {arrays.first}, by at most {arrays.largest:.3g} ({count})")
    return texts


def _best_differs(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Returns a sentence if another epoch was the best one."""
    one, other = (run.get("best", {}).get("epoch") for run in (before, after))
    return "" if one == other else f"best epoch: {one} → {other}"


def _within_seeds(reproduction: _Reproduction, folder: RunFolder) -> str:
    """Returns a sentence if the best value differs by less than those of seeds do, else an empty text."""
    spread, part = reproduction.spread, reproduction.part
    if spread is None or part.until_step is not None:
        return ""
    values = [run.get("best", {}).get(spread.metric) for run in (reproduction.run, folder.read_run())]
    if None in values or not abs(values[0] - values[1]) <= spread.deviation:
        return ""
    return (
        f"within the spread of {len(spread.values)} seeds: the best {spread.metric} was {values[0]:.6g} and is "
        f"{values[1]:.6g}. {_of_seeds(spread)}"
    )
