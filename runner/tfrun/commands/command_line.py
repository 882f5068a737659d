"""A parsed command line: its words, its flags, and where it says the configs are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tfrun.config.sources import Sources
from tfrun.errors import ConfigError

# Each is a file beside this one.
COMMANDS = (
    *("train", "resume", "reproduce", "evaluate", "predict", "export", "compare", "report", "prune"),
    *("list", "show", "check", "find", "new"),
)
WITH_HELP = ("find",)  # a text of its own
# whose words name runs
OF_RUNS = ("resume", "reproduce", "evaluate", "predict", "export", "compare", "report", "prune")
SWITCHES = (
    ("--help", "-h"),
    ("--hydra-help",),
    ("--version",),
    ("--csv",),
    ("--markdown",),
    ("--check",),
    ("--resolve",),
    ("--run", "-r"),
    ("--multirun", "-m"),
    ("--shell-completion", "-sc"),
)
FLAGS_WITH_VALUE = (
    ("--package", "-p"),
    ("--config-path", "-cp"),
    ("--config-name", "-cn"),
    ("--config-dir", "-cd"),
    ("--html",),
)
CFG_CHOICES = ("job", "hydra", "all")
INFO_CHOICES = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


@dataclass(frozen=True)
class Flags:
    """The flags. Those of Hydra have Hydra's names."""

    cfg: str | None = None
    info: str | None = None
    package: str | None = None
    resolve: bool = False
    multirun: bool = False
    hydra_help: bool = False
    csv: bool = False
    markdown: bool = False
    html: str | None = None
    check: bool = False


@dataclass(frozen=True)
class CommandLine:
    """What follows the command.

    Attributes:
        words: everything but the flags, in the order given: overrides, folders, names of groups.
        flags: the flags.
        sources: where the configs are.
    """

    words: tuple[str, ...] = ()
    flags: Flags = field(default_factory=Flags)
    sources: Sources = field(default_factory=Sources)

    @property
    def settings(self) -> list[str]:
        """The words that set something: those with an equals sign."""
        return [word for word in self.words if "=" in word]

    @property
    def names(self) -> list[str]:
        """The words without an equals sign: folders, or groups."""
        return [word for word in self.words if "=" not in word]

    def with_words(self, words: Sequence[str]) -> CommandLine:
        """Returns the same command line with other words."""
        return replace(self, words=tuple(words))


def pop_word(command_line: CommandLine, key: str) -> tuple[list[str], CommandLine]:
    """Returns the values that words give to a key that is no config key, and the command line without those words."""
    prefix = f"{key}="
    values = [word.removeprefix(prefix) for word in command_line.words if word.startswith(prefix)]
    return values, command_line.with_words([word for word in command_line.words if not word.startswith(prefix)])


def pop_flag(command_line: CommandLine, key: str) -> tuple[bool, CommandLine]:
    """Returns whether a word says `<key>=true`, and the command line without it. Raises ConfigError for other words."""
    values, rest = pop_word(command_line, key)
    for value in values:
        if value not in ("true", "false"):
            raise ConfigError(f"{key}: must be true or false. Received: {value!r}")
    return values[-1:] == ["true"], rest
