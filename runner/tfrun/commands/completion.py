"""--shell-completion: prints what a shell needs to complete words, and then the words."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tfrun.commands.command_line import COMMANDS, FLAGS_WITH_VALUE, OF_RUNS, SWITCHES, CommandLine
from tfrun.commands.completion_scripts import INSTALL, UNINSTALL
from tfrun.commands.find_config import BATCH_SIZE_OPTIONS, LR_OPTIONS
from tfrun.commands.run_names import BEST, LATEST
from tfrun.config.compose import Configs, open_configs
from tfrun.config.keras_names import KERAS_NAMES
from tfrun.config.keys import flatten
from tfrun.config.settings import COMPONENT_SECTIONS, OPTIMIZER_KEYS, SPLIT_KEYS, WINDOW_KEYS, config_keys
from tfrun.config.sources import Sources
from tfrun.config.types import named_values
from tfrun.errors import ConfigError, TfrunError, unknown
from tfrun.files.runs import EXPORTS, folders_below
from tfrun.folders import shown

NESTED = {"split": SPLIT_KEYS, "window": WINDOW_KEYS}  # mappings in `data`
HYDRA_GROUPS = ("hydra/launcher", "hydra/sweeper")
# Words of a command that are no config keys, and their values as far as they have names.
OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "resume": {"retry": ("true",)},
    "reproduce": {
        "check": ("true",),
        "code": ("here", "worktree"),
        "env": ("here", "venv"),
        "yes": ("true",),
        "epochs": (),
        "trainer.threads": (),
    },
    "predict": {"out": (), "keep": (), "overwrite": ("true",)},
    "export": {"format": tuple(EXPORTS), "out": (), "ensemble": ()},
    "compare": {"top": (), "importance": ("true",), "metric": (), "mode": ("min", "max"), "take": ("best", "last")},
    "report": {"out": (), "overwrite": ("true",)},
    "prune": {"keep": ("last", "best"), "yes": ("true",), "top": ()},
    "check": {"parity": ("true",)},
    "find lr": dict.fromkeys(LR_OPTIONS, ()),
    "find batch_size": dict.fromkeys(BATCH_SIZE_OPTIONS, ()),
}
PATH_KEYS = ("path", "validation_path", "test_path", "init", "out", "extend", "output_root")  # last parts of keys


def run(command_line: CommandLine) -> int:
    """Prints a shell's function, or the words that complete the line in COMP_LINE; returns the exit code."""
    action, _, shell = (command_line.words or ("",))[0].partition("=")
    if action not in ("install", "uninstall", "query") or len(command_line.words) != 1:
        words = " ".join(command_line.words)
        raise ConfigError(f"--shell-completion: must be install=, uninstall= or query=<shell>. Received: {words!r}")
    if shell not in INSTALL:
        raise unknown("--shell-completion", "shell", name=shell, known=INSTALL)
    if action == "query":
        line, point = os.environ.get("COMP_LINE", ""), os.environ.get("COMP_POINT", "")
        # what can't be composed has no words, and a shell has no place for an error
        with contextlib.suppress(TfrunError):
            print("\n".join(completions(line[: int(point) if point.isdecimal() else len(line)])))
    else:
        print((INSTALL if action == "install" else UNINSTALL)[shell])
    return 0


def completions(line: str) -> list[str]:
    """Returns the words that could stand where a command line ends.

    Args:
        line: the command line up to the cursor, with the name of the program.
    """
    before, word = _split(line)
    command = next((text for text in before[:1] if text in COMMANDS), None)
    if word.startswith("-"):
        return sorted(flag for names in (*SWITCHES, *FLAGS_WITH_VALUE) for flag in names if flag.startswith(word))
    if before[-1:] and before[-1] in ("-cd", "--config-dir", "-cp", "--config-path", "--html"):
        return _paths(word)
    if command == "new":
        return []
    if command == "find" and len(before) == 1:
        return [name for name in ("lr", "batch_size") if name.startswith(word)]
    of_command = _options(" ".join(before[:2]) if command == "find" else command or "", word=word)
    if command in OF_RUNS and "=" not in word:
        return [*_runs(word), *of_command]
    if of_command and "=" in word:
        return of_command
    settings = [text for text in before if "=" in text]
    with open_configs(settings, _sources(before)) as configs:
        if command in ("list", "show") and "=" not in word:
            return [name for name in configs.groups() if name.startswith(word)]
        words = _keys(configs, settings, word=word) if "=" not in word else _values(configs, settings, word=word)
    return [*(name for name in COMMANDS if not before and name.startswith(word)), *of_command, *words]


def _split(line: str) -> tuple[list[str], str]:
    """Returns the whole words after the program's name, and the one that has been begun."""
    try:
        words = shlex.split(line)
    except ValueError:  # a quote is open
        words = [word.lstrip("'\"") for word in line.split()]
    is_new = line[-1:].isspace()
    return (words[1:], "") if is_new or len(words) < 2 else (words[1:-1], words[-1])


def _sources(words: Sequence[str]) -> Sources:
    """Returns where the flags of a command line say the configs are."""
    following = dict(zip(words, words[1:], strict=False))
    name = following.get("-cn") or following.get("--config-name") or "config"
    return Sources(
        name,
        following.get("-cd") or following.get("--config-dir"),
        following.get("-cp") or following.get("--config-path"),
    )


def _options(command: str, *, word: str) -> list[str]:
    """Returns the options of a command that a word begins, or the values of the one that it names."""
    key, equals, _ = word.partition("=")
    options = OPTIONS.get(command, {})
    if not equals:
        return [f"{name}=" for name in options if name.startswith(word)]
    if key in options and key in PATH_KEYS:
        return [f"{key}={path}" for path in _paths(word.partition("=")[2])]
    return [text for value in options.get(key, ()) if (text := f"{key}={value}").startswith(word)]


def _runs(word: str) -> list[str]:
    names = [LATEST, BEST, *(shown(folder) for folder in folders_below())]
    return [name for name in names if name.startswith(word)] or _paths(word)


def _paths(beginning: str) -> list[str]:
    """Returns the files and folders whose paths begin so, folders with a slash at the end."""
    folder, _, name = beginning.rpartition("/")
    where = f"{folder}/" if "/" in beginning else ""
    try:
        entries = sorted(os.scandir(Path(where or ".").expanduser()), key=lambda entry: entry.name)
        names = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
    except OSError:
        return []
    return [where + text for text in names if text.startswith(name) and (name or not text.startswith("."))]


def _keys(configs: Configs, settings: Sequence[str], *, word: str) -> list[str]:
    """Returns the groups and the keys that a word begins: `model=`, `trainer.`, `trainer.max_epochs=`."""
    sign = word[: len(word) - len(word.lstrip("+~"))]
    typed = word[len(sign) :]
    parent, dot, name = typed.rpartition(".")
    node: Any = _config(configs, settings, with_hydra=typed.startswith("hydra"))
    for part in parent.split(".") if dot else ():
        node = node.get(part) if isinstance(node, dict) else None
    children = {key: node[key] for key in node if key != "_target_"} if isinstance(node, dict) else {}
    if parent in COMPONENT_SECTIONS:  # the group chooses it
        children.pop("name", None)
    if parent == "optimizer":  # for all of its groups
        children = dict.fromkeys(OPTIMIZER_KEYS) | children
    groups = [group for group in (*configs.groups(), *HYDRA_GROUPS) if group.startswith(typed)]
    return [f"{sign}{group}=" for group in groups] + [
        f"{sign}{parent}{dot}{key}{'.' if isinstance(value, dict) and value else '='}"
        for key, value in children.items()
        if str(key).startswith(name) and (dot or key not in groups or value)
    ]


def _values(configs: Configs, settings: Sequence[str], *, word: str) -> list[str]:
    """Returns the words that begin so: a group's options, what a key's type names, files, or the value that a key has.

    After a comma, of `model=mlp,wi`, they are the values that a sweep has next.
    """
    typed, _, value = word.partition("=")
    key = typed.lstrip("+~")
    before = value[: value.rfind(",") + 1]
    last = value[len(before) :]
    if key.rpartition(".")[2] in PATH_KEYS:
        return [f"{typed}={before}{path}" for path in _paths(last)]
    if configs.is_group(key):
        names = configs.options(key)
    else:
        config = _config(configs, settings, with_hydra=key.startswith("hydra"))
        names = _named_values(configs, config, key=key) or [
            str(leaf) for path, leaf in flatten(config) if path == key and isinstance(leaf, str | int | float)
        ]
    return [f"{typed}={before}{name}" for name in names if name.startswith(last)]


def _named_values(configs: Configs, config: dict[str, Any], *, key: str) -> list[str]:
    """Returns the values that the type of a key names."""
    section, _, parameter = key.partition(".")
    split, window = ({f"data.{name}.{field}": text for field, text in keys.items()} for name, keys in NESTED.items())
    annotation = (config_keys() | split | window).get(key)
    if annotation is None and section in COMPONENT_SECTIONS:
        component = configs.catalog.find(COMPONENT_SECTIONS[section], config.get(section, {}).get("name"))
        params = {param.name: param.type for param in component.params} if component else {}
        annotation = params.get(parameter)
    return named_values(annotation, lambda kind: [*configs.catalog.names(kind), *KERAS_NAMES.get(kind, ())])


def _config(configs: Configs, settings: Sequence[str], *, with_hydra: bool) -> dict[str, Any]:
    """Returns the config of the words before, or of none of them if they don't fit together."""
    for words in (settings, []):
        with contextlib.suppress(TfrunError):
            composed = configs.compose(words)
            hydra = {"hydra": OmegaConf.to_container(composed.cfg.hydra)} if with_hydra else {}
            return composed.config | hydra
    return {}
