from __future__ import annotations

from collections.abc import Callable

from tfrun.commands.command_line import COMMANDS

Result = tuple[int, str, str]


def test_help_lists_commands_groups_and_flags(run: Callable[..., Result]) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for command in COMMANDS:
        assert f"tfrun {command} " in out or f"tfrun [{command}] " in out
    assert "huber" in out and "for_wide_deep" in out and "tfrun list" in out
