"""The words that say what a run trains, its name in TensorBoard: `wide_deep huber lr=0.003 at 07.15`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePath

from tfrun.config.keys import short_names

MAX_LETTERS = 64
SHORT = re.compile(r"[A-Za-z0-9_.+-]{1,24}")  # a value that can be in the name of a folder, and isn't a path
LIST = re.compile(r"\[[^\[\]{}]*\]")  # a flat one
SHORTER = {"learning_rate": "lr"}
SAYS_NOTHING = ("name", "output_root", "plugins", "resume", "tags")  # of what is trained
SECTIONS_THAT_SAY_NOTHING = ("hydra", "logger", "checkpoint", "sweep")


def run_words(overrides: Sequence[str], *, model: str, folder: Path) -> str:
    """Returns the words of a run: its model, what its command line changes, and when it began.

    Args:
        overrides: the command line's words about the config.
        model: the model's name.
        folder: the run's, whose name has the time.
    """
    clock = re.search(r"_(\d\d)-(\d\d)-\d\d_[0-9A-Za-z.-]+$", folder.name)
    return changed_words(overrides, model=model) + (f" at {clock[1]}.{clock[2]}" if clock else "")


def changed_words(overrides: Sequence[str], *, model: str, keys: Collection[str] | None = None) -> str:
    """Returns the model's name, the names that are chosen, and each other key with its value, at most 64 letters.

    Lists, texts with other characters than those of a name, and long ones are left out. A list that counts in a sweep
    is there as `64-32`.

    Args:
        overrides: as a person types them.
        model: the model's name.
        keys: those that count; None for all.
    """
    changed = {}
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        section = key.partition(".")[0]
        says_nothing = section in SECTIONS_THAT_SAY_NOTHING or key in SAYS_NOTHING
        value = PurePath(value).name if key == "data.path" else value
        if keys is not None and LIST.fullmatch(value):
            value = "-".join(item.strip() for item in value[1:-1].split(",")) or "empty"
        if (keys is None or key in keys) and not says_nothing and SHORT.fullmatch(value):
            changed[key] = value
    changed.pop("model", None)
    if "data.path" in changed:  # its name says more than that of the format
        changed["data"] = PurePath(changed.pop("data.path")).stem
    chosen = [value for key, value in changed.items() if "." not in key and key != "seed"]
    keyed = [key for key in changed if "." in key or key == "seed"]
    named = [f"{_shorter(name)}={changed[key]}" for name, key in zip(short_names(keyed), keyed, strict=True)]
    words = [model if SHORT.fullmatch(model) else "model"]
    for word in (*chosen, *named):
        if len(" ".join([*words, word])) <= MAX_LETTERS:
            words.append(word)
    return " ".join(words)


def trial_name(words: str, folder: Path) -> str:
    """Returns a name of a run that no other run has: `#3 mlp lr=0.003 (e49e32)` for job 3 of a sweep, with its id."""
    is_job = folder.name.isdecimal()
    run_or_sweep = (folder.parent if is_job else folder).name
    return " ".join(filter(None, [f"#{folder.name}" if is_job else "", words, f"({run_or_sweep.rpartition('_')[2]})"]))


def _shorter(name: str) -> str:
    parts = name.split(".")
    return ".".join([*parts[:-1], SHORTER.get(parts[-1], parts[-1])])
