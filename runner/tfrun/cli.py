"""The command line: `tfrun [command] [overrides] [Hydra's flags]`."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from tfrun import __version__
from tfrun.commands import show
from tfrun.commands.words import (
    ONLY_CHECKED,
    components_alone,
    components_chosen,
    take,
    take_formats,
    take_parity_steps,
)
from tfrun.config import hydra_private, schema
from tfrun.config.catalog import Catalog
from tfrun.config.compose import Composed, Session, Sources, parse, plain, plugin_names, session, texts
from tfrun.config.cross_checks import check_task
from tfrun.config.keys import MissingValueError, flatten
from tfrun.config.settings import DataSettings, Settings
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.sources import load_table
from tfrun.data.table import Table
from tfrun.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    Interrupted,
    ResourceError,
    TfrunError,
    near_miss,
    unknown,
)
from tfrun.files import runs
from tfrun.files.disk import write_atomically
from tfrun.files.runs import RunFolder

RESUMABLE = (  # what may change when a run goes on: how long, and what it writes
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_seconds",
    "logger",
    "checkpoint.every_epochs",
    "checkpoint.every_steps",
    "checkpoint.every_seconds",
    "checkpoint.keep",
    "early_stopping",
    "tags",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code."""
    try:
        return _main(list(sys.argv[1:] if argv is None else argv))
    except TfrunError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            traceback.print_exc()
        print(f"tfrun: {'' if isinstance(error, Interrupted) else 'error: '}{error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("tfrun: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `tfrun list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        return 1


def _main(argv: list[str]) -> int:
    command = "train"
    if argv and "=" not in argv[0] and argv[0][:1] not in ("-", "~", ""):
        command = argv.pop(0)
        if command == "help":
            command, argv = "train", ["--help"]
        if command not in COMMANDS:
            known = ", ".join(COMMANDS)
            hint = near_miss(command, COMMANDS)
            if (Path(command) / "config.yaml").is_file():
                hint = f" Did you mean 'resume {command}' or 'evaluate {command}'?"
            raise ConfigError(f"unknown command. Received: {command!r}. Known: {known}.{hint}")
    args = _parser().parse_intermixed_args(argv)
    args.overrides = args.words  # the name that Hydra knows
    args.sources = Sources(args.config_name or "config", args.config_dir, args.config_path)
    if args.version:
        print(f"tfrun {__version__}")
        return 0
    if args.help:
        with _session(args) as hydra:
            print(show.help_text(hydra))
        return 0
    if (args.csv or args.markdown or args.html) and command != "compare":
        raise ConfigError("--csv, --markdown, --html: only for compare")
    if args.resolve and not args.cfg:
        raise ConfigError("--resolve: only together with --cfg")
    actions = [
        name for name in ("hydra_help", "run", "multirun", "shell_completion", "cfg", "info") if getattr(args, name)
    ]
    if len(actions) > (command == "train"):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in actions)
        raise ConfigError(f"{flags}: one at a time, and only to train")
    return COMMANDS[command](args)


def _parser() -> argparse.ArgumentParser:
    """Hydra's flags. Hydra's own parser calls itself Hydra and takes no override between two flags."""

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ConfigError(f"{message}. See tfrun --help")

    parser = Parser(prog="tfrun", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    switches = (
        "--help -h",
        "--hydra-help",
        "--version",
        "--csv",
        "--markdown",
        "--resolve",
        "--run -r",
        "--multirun -m",
        "--shell-completion -sc",
    )
    for flags in switches:
        parser.add_argument(*flags.split(), action="store_true")
    for flags in ("--package -p", "--config-path -cp", "--config-name -cn", "--config-dir -cd"):
        parser.add_argument(*flags.split())
    parser.add_argument("--html")
    parser.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
    infos = ["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"]
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=infos)
    return parser


def _session(args: argparse.Namespace) -> AbstractContextManager[Session]:
    return session([word for word in args.words if "=" in word], args.sources)


def _train(args: argparse.Namespace) -> int:
    if args.multirun:
        return _multirun(args)
    if take(args, "sweep.extend"):
        raise ConfigError("sweep.extend: adds jobs, and needs -m")
    if args.cfg or args.info or args.hydra_help or args.shell_completion:
        return _show_hydra(args)
    hydra, composed = _compose(args)
    if composed.cfg.hydra.mode == RunMode.MULTIRUN:  # a hparams_search file may say so
        return _multirun(args)
    settings = schema.build_settings(composed.config, hydra.catalog, args.words)
    table = _read_data(settings, hydra.catalog)
    folder = runs.claim(settings.output_root, settings.name)
    from tfrun.load_engine import engine

    try:
        _write_config(folder, composed)
        with engine(folder.log) as (experiment, seconds):
            options = experiment.RunOptions(overrides=args.words, import_seconds=seconds)
            return experiment.train(settings, folder, catalog=hydra.catalog, table=table, options=options)
    except KeyboardInterrupt:  # while TensorFlow was imported
        folder.discard()
        raise


def _check(args: argparse.Namespace) -> int:
    """Checks a config, and the contracts of the components that the words choose."""
    formats = take_formats(args)
    steps = take_parity_steps(args)
    alone = [word for word in args.words if re.split(r"[.=]", word.lstrip("+"))[0] in ONLY_CHECKED]
    args.words = args.overrides = [word for word in args.words if word not in alone]
    hydra, composed = _compose(args)
    settings = schema.build_settings(composed.config, hydra.catalog, args.words)
    components = components_alone(alone, hydra.catalog) + components_chosen(args.words, settings)
    is_asked = steps > 0 or bool(formats)
    is_config = not alone or is_asked or any(not word.startswith("plugins=") for word in args.words)
    table = _read_data(settings, hydra.catalog) if is_config else None
    from tfrun.load_engine import engine

    with engine(None) as (experiment, _):
        experiment.check_contracts(components, hydra.catalog)
        if table is not None:
            chosen = {word.lstrip("+").partition("=")[0] for word in args.words}
            groups = [group for group in ("data", "model", "algorithm") if group in chosen]
            options = experiment.CheckOptions(parity_steps=steps, groups=groups, formats=formats)
            experiment.check(settings, hydra.catalog, table=table, options=options)
    return 0


def _resume(args: argparse.Namespace) -> int:
    sweeps = [folder for word in args.words if "=" not in word and (folder := runs.open_sweep(word))]
    if sweeps:
        return _resume_sweep(args, sweeps[0])
    folder, old, overrides = _open_run(args, "resume")
    with session(overrides, args.sources, texts(old.get("plugins"))) as hydra:
        new = hydra.change(old, overrides)
    settings = schema.build_settings(new, hydra.catalog, overrides)
    before, after = dict(flatten(old)), dict(flatten(new))
    different = [path for path in {**before, **after} if before.get(path, "unset") != after.get(path, "unset")]
    refused = [
        path
        for path in different
        if not path.startswith(tuple(f"{key}." for key in RESUMABLE)) and path not in RESUMABLE
    ]
    if refused:
        lines = "; ".join(f"{path}: {before.get(path, 'unset')!r} -> {after.get(path, 'unset')!r}" for path in refused)
        raise CheckpointError(
            f"{folder.path}: its state would not fit the changed config. {lines}. "
            f"Only these may change: {', '.join(RESUMABLE)}. Anything else is a new run"
        )
    if different:
        with folder.held():
            write_atomically(folder.config_yaml, OmegaConf.to_yaml(OmegaConf.create(new)))
    from tfrun.load_engine import engine

    try:
        table = _read_data(settings, hydra.catalog)
        with engine(folder.log) as (experiment, seconds):
            options = experiment.RunOptions(resume=True, overrides=overrides, import_seconds=seconds)
            return experiment.train(settings, folder, catalog=hydra.catalog, table=table, options=options)
    except (ConfigError, DataError, CheckpointError):  # nothing was trained with the new config
        write_atomically(folder.config_yaml, OmegaConf.to_yaml(OmegaConf.create(old)))
        raise


def _resume_sweep(args: argparse.Namespace, folder: RunFolder) -> int:
    """Goes on with a sweep; what may change is how its jobs run, and whether those that failed are run again."""
    retry = take(args, "retry")
    own = [word for word in args.words if "=" in word]
    if any(value not in ("true", "false") for value in retry):
        raise ConfigError(f"retry: must be true or false. Received: {retry[-1]!r}")
    for word in own:
        if not word.startswith(("hydra.launcher.", "hydra.sweeper.n_trials=")):
            raise ConfigError(
                f"{word.partition('=')[0]}: a sweep goes on with its own config; only hydra.launcher.*, retry=true "
                "and a search's hydra.sweeper.n_trials may be given. "
                f"More jobs: tfrun -m ... sweep.extend={folder.path}. Received: {word!r}"
            )
    from tfrun.sweep import ledger, multirun

    told, _ = ledger.Ledger(folder.path).read()
    args.words = args.overrides = [*told["overrides"], *own]
    args.sources = Sources(**told["sources"])
    return multirun.resume(*_compose(args, RunMode.MULTIRUN), folder, retry[-1:] == ["true"])


def _evaluate(args: argparse.Namespace) -> int:
    folder, config, overrides = _open_run(args, "evaluate")
    _only_data("evaluate", overrides)
    with session(overrides, args.sources, texts(config.get("plugins"))) as hydra:
        settings = schema.build_settings(hydra.change(config, overrides), hydra.catalog, overrides)
    table = _read_data(settings, hydra.catalog)
    from tfrun.load_engine import engine

    with engine(folder.log) as (experiment, _):
        experiment.evaluate(settings, folder, hydra.catalog, table, other_data=bool(overrides))
    return 0


def _predict(args: argparse.Namespace) -> int:
    outs = take(args, "out")
    folder, config, overrides = _open_run(args, "predict")
    _only_data("predict", overrides)
    with session(overrides, args.sources, texts(config.get("plugins"))) as hydra:
        settings = schema.build_settings(hydra.change(config, overrides), hydra.catalog, overrides)
    out = Path(outs[-1]).expanduser() if outs else folder.predictions / f"{_stem(settings.data)}.csv"
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"out: must be a .csv or a .parquet file. Received: {str(out)!r}")
    fitted = Preprocessing.from_fields(folder.read_preprocessing())
    # the columns that the run was trained on, whatever else the rows have
    wanted = {"columns": fitted.cell_names, "exclude": None, "text_columns": fitted.text_names}
    data = settings.data
    params = data.params | {key: value for key, value in wanted.items() if key in data.params}
    settings = replace(settings, data=replace(data, params=params))
    table = load_table(settings.data, hydra.catalog, rows_only=True)
    from tfrun.load_engine import engine

    with engine(folder.log) as (experiment, _):
        experiment.predict(settings, folder, hydra.catalog, table, out)
    return 0


def _stem(data: DataSettings) -> str:
    return Path(str(data.params["path"])).stem if data.params.get("path") else data.name


def _only_data(command: str, overrides: Sequence[str]) -> None:
    for override in parse(overrides):
        if override.key_or_group.partition(".")[0] != "data":
            raise ConfigError(
                f"{override.key_or_group}: {command} takes other data only. Received: {override.input_line!r}"
            )


def _export(args: argparse.Namespace) -> int:
    formats = take_formats(args)
    if len(formats) != 1:
        raise ConfigError(
            f"export: needs one format of {', '.join(runs.EXPORTS)}: tfrun export RUN format=saved_model. "
            f"Received: {', '.join(formats) or 'none'}"
        )
    folder, config, overrides = _open_run(args, "export")
    if overrides:
        raise ConfigError(
            f"{overrides[0].partition('=')[0]}: export takes a run and a format. Received: {overrides[0]!r}"
        )
    with session([], args.sources, texts(config.get("plugins"))) as hydra:
        settings = schema.build_settings(config, hydra.catalog)
    table = _read_data(settings, hydra.catalog)
    from tfrun.load_engine import engine

    with engine(folder.log) as (experiment, _):
        experiment.export_run(settings, folder, hydra.catalog, table, formats[0])
    return 0


def _compare(args: argparse.Namespace) -> int:
    paths = [word for word in args.words if "=" not in word]
    options = dict(word.split("=", 1) for word in args.words if "=" in word)
    for key in options:
        if key not in ("metric", "mode", "take"):
            raise unknown("compare", "option", key, ["metric", "mode", "take"])
    if not paths:
        raise ConfigError("compare: needs folders with runs, for example: tfrun compare multirun/default")
    from tfrun.reports import comparison  # it prints tables, with Rich

    found = comparison.compare(paths, **options)
    if args.html:
        from tfrun.reports import html  # it draws, with Plotly

        html.write(found, Path(args.html).expanduser())
    elif args.csv or args.markdown:
        as_text = comparison.as_csv if args.csv else comparison.as_markdown
        print("\n\n".join(as_text(table) for table in (found.cells(), found.over_seeds()) if table))
    elif len(paths) == 2 and len(found.rows) == 2:
        comparison.show_differences(found)
    else:
        comparison.show(found)
    return 0


def _list(args: argparse.Namespace) -> int:
    with _session(args) as hydra:
        print(show.list_text(hydra, [word for word in args.words if "=" not in word]))
    return 0


def _show(args: argparse.Namespace) -> int:
    wanted = [word for word in args.words if not word.lstrip("+").startswith("plugins=")]
    if not wanted:
        raise ConfigError("show: needs GROUP=NAME, for example loss=huber")
    with _session(args) as hydra:
        print("\n\n".join(show.show_text(hydra, word) for word in wanted))
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "train": _train,
    "resume": _resume,
    "evaluate": _evaluate,
    "predict": _predict,
    "export": _export,
    "compare": _compare,
    "list": _list,
    "show": _show,
    "check": _check,
}


def _compose(args: argparse.Namespace, run_mode: RunMode = RunMode.RUN) -> tuple[Session, Composed]:
    plugins = plugin_names(args.words, args.sources)
    with session(args.words, args.sources, plugins) as hydra:
        composed = hydra.compose(args.words, run_mode)
    named = texts(composed.config.get("plugins"))
    if set(named) <= set(plugins):
        return hydra, composed
    with session(args.words, args.sources, named) as hydra:  # a file that the chosen files include names more
        return hydra, hydra.compose(args.words, run_mode)


def _read_data(settings: Settings, catalog: Catalog) -> Table:
    """Reads the data before TensorFlow loads, so that a mistake in it is told at once."""
    table = load_table(settings.data, catalog)
    check_task(settings, catalog, table.task)
    return table


def _open_run(args: argparse.Namespace, command: str) -> tuple[RunFolder, dict[str, Any], list[str]]:
    """Returns the run folder, its config, and the overrides."""
    paths = [word for word in args.words if "=" not in word and not word.startswith("~")]
    if len(paths) != 1:
        raise ConfigError(f"{command}: needs one run folder, outputs/<name>/<date>_<time>_<id>. Received: {paths}")
    folder = runs.open_run(paths[0])
    try:
        return folder, plain(OmegaConf.load(folder.config_yaml)), [word for word in args.words if word != paths[0]]
    except (YAMLError, OmegaConfBaseException, ValueError, OSError) as error:
        raise ConfigError(f"{folder.config_yaml}: can't be read as a config: {' '.join(str(error).split())}") from error


def _write_config(folder: RunFolder, composed: Composed) -> None:
    """Writes `config.yaml`, and `.hydra/` as Hydra would."""
    with read_write(composed.cfg.hydra), open_dict(composed.cfg.hydra):
        composed.cfg.hydra.runtime.output_dir = str(folder.path)
    files = {
        "config.yaml": OmegaConf.create(composed.config),
        ".hydra/config.yaml": composed.job,
        ".hydra/hydra.yaml": OmegaConf.masked_copy(composed.cfg, "hydra"),
        ".hydra/overrides.yaml": composed.cfg.hydra.overrides.task,
    }
    try:
        (folder.path / ".hydra").mkdir(exist_ok=True)
        for name, content in files.items():
            write_atomically(folder.path / name, OmegaConf.to_yaml(content))
    except OSError as error:
        folder.discard()
        raise ResourceError(f"{folder.path}: can't be written: {error.strerror}") from error
    except ResourceError:
        folder.discard()
        raise


def _multirun(args: argparse.Namespace) -> int:
    """Runs a sweep."""
    extended = take(args, "sweep.extend")
    folder = runs.open_sweep(extended[-1]) if extended else None
    if extended and folder is None:
        raise ConfigError(f"sweep.extend: no sweep is there. Received: {extended[-1]!r}")
    from tfrun.sweep import multirun

    return multirun.run(*_compose(args, RunMode.MULTIRUN), folder)


def _show_hydra(args: argparse.Namespace) -> int:
    """Answers --cfg, --info, --hydra-help and --shell-completion."""
    if args.cfg:
        hydra, composed = _compose(args)
        with contextlib.suppress(MissingValueError):  # --cfg is how to see what is missing
            schema.build_settings(composed.config, hydra.catalog, args.words)
        print(_cfg_text(hydra, composed, args), end="")
        return 0
    name = args.sources.config_name
    with _session(args) as hydra:
        if args.shell_completion:
            hydra.hydra.shell_completion(name, args.words)
        elif args.hydra_help:
            hydra.hydra.hydra_help(name, hydra_private.args_parser(), args)
        else:
            hydra.compose(args.words)  # tells mistakes in one line
            hydra.hydra.show_info(args.info, name, hydra.rewrite(args.words))
    return 0


def _cfg_text(hydra: Session, composed: Composed, args: argparse.Namespace) -> str:
    cfg: Any = composed.job if args.cfg == "job" else hydra.hydra.get_sanitized_cfg(composed.cfg, args.cfg)
    if args.resolve:
        OmegaConf.resolve(cfg)
    if not args.package or args.package == "_global_":
        return OmegaConf.to_yaml(cfg)
    part = OmegaConf.select(cfg, args.package, default=unknown("--package", "key", args.package, map(str, cfg)))
    if isinstance(part, ConfigError):
        raise part
    return f"# @package {args.package}\n{OmegaConf.to_yaml(part)}" if OmegaConf.is_config(part) else f"{part}\n"
