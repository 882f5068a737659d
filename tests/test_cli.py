from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tfrun import __version__, cli
from tfrun.config import registry
from tfrun.stop_signals import STOP_SIGNALS

Result = tuple[int, str, str]


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["loss=hubber"], 2, "Did you mean 'huber'?"),
        (["loss=huber", "loss.dleta=2"], 2, "Did you mean 'loss.delta'?"),
        (["loss=huber", "+loss.dleta=2"], 2, "Did you mean 'loss.delta'?"),
        (["loss=huber", "++loss.dleta=2"], 2, "Did you mean 'loss.delta'?"),
        (["loss.delta=2"], 2, "loss: auto has no parameters. Received: delta. Name the loss"),
        (["metric=mae", "++metric.mae.nothing=2"], 2, "metric.mae.nothing: unknown key"),
        (["loss=huber", "loss.delta=abc"], 2, "loss.delta: must be a finite number > 0. Received: 'abc'."),
        (["loss=huber", "loss.delta=-1"], 2, "Received: -1."),
        (["data=csv"], 2, "data.path, data.target: must be given"),
        (["data=csv", "data.path=nowhere.csv"], 3, "data.path: no such file. Received: 'nowhere.csv'"),
        (["optimzer=adam"], 2, "Did you mean 'optimizer'?"),
        (["optimizer.groups.wide.match=["], 2, "not an override at character 30"),
        (['optimizer.groups.wide.match="["'], 2, "not a regular expression"),
        (["trainer.max_epochs=0"], 2, "trainer.max_epochs: must be a whole number >= 1, or 'auto'"),
        (["x={"], 2, "not an override at character 4"),
        (["trian"], 2, "Did you mean 'train'?"),
        (["--confg-dir=x"], 2, "unrecognized arguments: --confg-dir=x"),
        (["--cfg", "jb"], 2, "invalid choice: 'jb'"),
        (["--cfg", "job", "loss=huber", "loss.dleta=2"], 2, "Did you mean 'loss.delta'?"),
        (["--cfg", "job", "-p", "los"], 2, "Did you mean 'loss'?"),
        (["--cfg", "job", "-m"], 2, "--multirun, --cfg: one at a time"),
        (["list", "--cfg", "job"], 2, "--cfg: one at a time, and only to train"),
        (["--resolve"], 2, "only together with --cfg"),
        (["list", "los"], 2, "Did you mean 'loss'?"),
        (["show"], 2, "needs GROUP=NAME"),
        (["show", "loss"], 2, "needs GROUP=NAME"),
        (["show", "loss=hubr"], 2, "Did you mean 'huber'?"),
        (["show", "trainer=defalt"], 2, "Did you mean 'default'?"),
        (["resume"], 2, "needs one run folder"),
        (["resume", "nowhere"], 2, "nowhere: not a run folder"),
        (["plugins=nope"], 2, "no module named 'nope'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    run: Callable[..., Result], tmp_path: Path, argv: list[str], code: int, message: str
) -> None:
    status, out, err = run(*argv)
    assert status == code
    assert out == ""
    assert err.startswith("tfrun: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_version(run: Callable[..., Result]) -> None:
    assert run("--version")[:2] == (0, f"tfrun {__version__}\n")


@pytest.mark.wheel
@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["list"],
        ["show", "loss=huber"],
        ["--cfg", "job"],
        ["loss=hubber"],
        ["loss=huber", "loss.dleta=2"],
        ["--info"],
    ],
    ids=" ".join,
)
def test_answers_import_neither_tensorflow_nor_keras(tmp_path: Path, argv: list[str]) -> None:
    heavy = ("tensorflow", "keras", "pyarrow", "sklearn", "rich")
    code = f"import sys; from tfrun.cli import main; code = main({argv}); "
    code += f"print('LOADED', [name for name in {heavy} if name in sys.modules]); sys.exit(code)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines()[-1] == "LOADED []"
    assert result.returncode == (2 if "=hub" in argv[-1] and argv[0] != "show" or "dleta" in argv[-1] else 0)


@pytest.mark.wheel
def test_console_script_exits_with_the_code(tfrun: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    result = tfrun("loss=hubber")
    assert result.returncode == 2
    assert result.stderr.startswith("tfrun: error: loss: unknown option. Received: 'hubber'.")


@pytest.mark.parametrize("message", ["mine", "in user code:\n\n    File mine.py, line 3"])
def test_of_an_error_in_a_plugin_its_own_lines_are_shown(
    message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bug(command_line: object) -> int:
        raise ZeroDivisionError(message)

    monkeypatch.setattr(registry, "plugin_files", lambda: set() if "user" in message else {__file__})
    monkeypatch.setattr(cli, "_load_command", lambda command: bug)
    assert cli.main(["list"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("tfrun: error in a plugin (HYDRA_FULL_ERROR=1 prints the whole traceback):\n")
    assert f"ZeroDivisionError: {message}" in printed and "/cli.py" not in printed
    assert ("in bug\n    raise ZeroDivisionError(message)" in printed) == (message == "mine")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert cli.main(["list"]) == 1
    assert "/cli.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ((signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR1), "ended by SIGUSR1"),  # a scheduler announces the end
        ((signal.SIGTERM, signal.SIGTERM), "ended by SIGTERM"),
        ((signal.SIGTERM, signal.SIGINT), "interrupted"),
    ],
)
def test_a_signal_that_was_announced_changes_no_exit_code(
    sent: tuple[signal.Signals, ...],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The further signals arrive while the command, which hasn't begun to train, cleans up."""
    cleaned = []

    def command(_: object) -> int:
        try:
            os.kill(os.getpid(), sent[0])
            time.sleep(10)
        finally:
            for number in sent[1:]:
                os.kill(os.getpid(), number)
            time.sleep(0.01)
            cleaned.append(True)
        return 0

    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in STOP_SIGNALS if number != signal.SIGINT}
    monkeypatch.setattr(cli, "_load_command", lambda _: command)
    try:
        code = cli.main(["seed=1"])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert expected in capsys.readouterr().err
    assert code == 128 + (sent[0] if sent[0] == signal.SIGUSR1 else sent[-1])
    assert cleaned == ([True] if sent[0] == signal.SIGUSR1 else [])
