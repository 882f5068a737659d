from __future__ import annotations

import dataclasses

import pytest

from tfrun.commands.command_line import CommandLine, Flags, pop_word
from tfrun.config.sources import Sources


def test_words_are_settings_or_names() -> None:
    command_line = CommandLine(("outputs/a", "seed=1", "~logger", "+loss=mse"))
    assert command_line.settings == ["seed=1", "+loss=mse"]
    assert command_line.names == ["outputs/a", "~logger"]


def test_popping_a_word_leaves_the_command_line_as_it_was() -> None:
    command_line = CommandLine(("out=a.csv", "seed=1", "outer=2", "out=b=c.csv"), Flags(csv=True), Sources("mine"))
    values, rest = pop_word(command_line, "out")
    assert values == ["a.csv", "b=c.csv"]
    assert rest == CommandLine(("seed=1", "outer=2"), Flags(csv=True), Sources("mine"))
    assert len(command_line.words) == 4
    assert pop_word(rest, "out") == ([], rest)


def test_a_command_line_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CommandLine().words = ("seed=1",)  # type: ignore[misc]
