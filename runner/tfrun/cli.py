"""The command line: `tfrun [command] [overrides] [Hydra's flags]`, parsed and handed to the command's file."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from tfrun import __version__
from tfrun.commands.command_line import (
    CFG_CHOICES,
    COMMANDS,
    FLAGS_WITH_VALUE,
    INFO_CHOICES,
    OF_RUNS,
    SWITCHES,
    WITH_HELP,
    CommandLine,
    Flags,
)
from tfrun.commands.run_names import with_paths, with_paths_of_keys
from tfrun.config import registry
from tfrun.config.keys import is_text
from tfrun.config.sources import Sources
from tfrun.errors import ConfigError, Interrupted, ResourceError, Stopped, TfrunError, WorkerLostError, near_miss
from tfrun.files.masking import masked
from tfrun.folders import returning_to_folder
from tfrun.line_breaks import fitted, reading_width
from tfrun.stop_signals import STOP_SIGNALS, is_repeated
from tfrun.streams import complain, is_refused_output, open_closed_streams

BY_AUTOGRAPH = "in user code:"  # so begin the errors whose text has the lines already
ACTIONS = ("hydra_help", "run", "multirun", "shell_completion", "cfg", "info")  # flags that say what `train` does


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code."""
    open_closed_streams()
    prefix_warnings()
    try:
        with returning_to_folder(), _signals_raised():
            exit_code = _main(list(sys.argv[1:] if argv is None else argv))
            sys.stdout.flush()
            return exit_code
    except TfrunError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            complain(masked(traceback.format_exc()))
        complain(f"tfrun: {'' if isinstance(error, Interrupted) else 'error: '}{masked(str(error))}")
        if isinstance(error, WorkerLostError):  # TensorFlow would wait for the worker when the process ends
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            os._exit(error.exit_code)
        return error.exit_code
    except KeyboardInterrupt as error:
        number = error.number if isinstance(error, Stopped) else signal.SIGINT
        complain("tfrun: interrupted" if number == signal.SIGINT else f"tfrun: ended by {signal.Signals(number).name}")
        return 128 + number
    except Exception as error:
        if isinstance(error, OSError) and is_refused_output(error):  # `tfrun list | head`, `tfrun list >/dev/full`
            if isinstance(error, BrokenPipeError):
                return 0
            complain(f"tfrun: error: standard output can't be written: {error.strerror}")
            return ResourceError.exit_code
        with contextlib.suppress(OSError):
            _print_bug(error)
        return 1


@contextlib.contextmanager
def _signals_raised() -> Iterator[None]:
    """Raises Stopped for a signal that would end the process at once, until something else handles it.

    One that only repeats another, as SIGTERM after SIGUSR1 does, is ignored: the exit code says what was announced.
    """
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        if not is_repeated(number, received):
            received.append(number)
            raise Stopped(number)

    is_main = threading.current_thread() is threading.main_thread()
    numbers = [number for number in STOP_SIGNALS if is_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN if is_repeated(number, received) else signal.SIG_DFL)


def prefix_warnings() -> None:
    """Makes warnings that are logged before there is a log, while the data are read, begin with `warning:`."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(logging.Formatter("warning: %(message)s"))


def _print_bug(error: Exception) -> None:
    """Prints an error that nobody expected: of one in a plugin only the plugin's own lines, else the whole traceback.

    HYDRA_FULL_ERROR=1 prints all of it, and the log of a run has it too.
    """
    frames = registry.plugin_frames(error)
    if os.environ.get("HYDRA_FULL_ERROR") == "1" or not (frames or str(error).startswith(BY_AUTOGRAPH)):
        print(masked("".join(traceback.format_exception(error))), end="", file=sys.stderr)
        return
    lines = [*traceback.format_list(frames), *traceback.format_exception_only(error)]
    print("tfrun: error in a plugin (HYDRA_FULL_ERROR=1 prints the whole traceback):", file=sys.stderr)
    print(masked("".join(lines)), end="", file=sys.stderr)


def _main(argv: list[str]) -> int:
    for word in argv:
        if not is_text(word):
            raise ConfigError(f"the command line must be in UTF-8. Received: {os.fsencode(word)!r}")
    command, rest = _split_command(argv)
    args = _parser().parse_intermixed_args(rest)
    if args.version:
        print(f"tfrun {__version__}")
        return 0
    sources = Sources(args.config_name or "config", args.config_dir, args.config_path)
    command_line = CommandLine(tuple(args.words), _flags(args), sources)
    if args.help and command in WITH_HELP:
        print(fitted(importlib.import_module(f"tfrun.commands.{command}").HELP, reading_width()))
        return 0
    if args.help:
        return _load_command("help")(command_line)
    if (args.csv or args.markdown or args.html) and command != "compare":
        raise ConfigError("--csv, --markdown, --html: only for compare")
    if args.check and command != "reproduce":
        raise ConfigError("--check: only for reproduce")
    if args.resolve and not args.cfg:
        raise ConfigError("--resolve: only together with --cfg")
    actions = [name for name in ACTIONS if getattr(args, name)]
    if len(actions) > 1 or (actions and command != "train"):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in actions)
        raise ConfigError(f"{names}: one at a time, and only to train")
    if args.shell_completion:
        return _load_command("completion")(command_line)
    if command in OF_RUNS:
        command_line = with_paths(command_line)
    command_line = with_paths_of_keys(command_line)
    return _load_command(command)(command_line)


def _split_command(argv: list[str]) -> tuple[str, list[str]]:
    """Returns the command and the rest of the line. A first word without `=` is a command; without one, it's `train`.

    Raises:
        ConfigError: there is no such command.
    """
    if not argv or "=" in argv[0] or argv[0][:1] in ("-", "~", ""):
        return "train", argv
    command, rest = argv[0], argv[1:]
    if command == "help":
        return "train", ["--help"]
    if command not in COMMANDS:
        hint = near_miss(command, COMMANDS)
        if (Path(command) / "config.yaml").is_file():
            hint = f" Did you mean 'resume {command}' or 'evaluate {command}'?"
        raise ConfigError(f"unknown command. Received: {command!r}. Known: {', '.join(COMMANDS)}.{hint}")
    return command, rest


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}. See tfrun --help")


def _parser() -> argparse.ArgumentParser:
    """Returns the parser of Hydra's flags and ours.

    Hydra's own parser calls itself Hydra, and accepts no override between two flags.
    """
    parser = _Parser(prog="tfrun", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    for names in SWITCHES:
        parser.add_argument(*names, action="store_true")
    for names in FLAGS_WITH_VALUE:
        parser.add_argument(*names)
    parser.add_argument("--cfg", "-c", choices=CFG_CHOICES)
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=INFO_CHOICES)
    return parser


def _flags(args: argparse.Namespace) -> Flags:
    return Flags(
        cfg=args.cfg,
        info=args.info,
        package=args.package,
        resolve=args.resolve,
        multirun=args.multirun,
        hydra_help=args.hydra_help,
        csv=args.csv,
        markdown=args.markdown,
        html=args.html,
        check=args.check,
    )


def _load_command(command: str) -> Callable[[CommandLine], int]:
    """Returns a command's `run`. Its file is imported only now, so that no command waits for another's imports."""
    run: Callable[[CommandLine], int] = importlib.import_module(f"tfrun.commands.{command}").run
    return run
