"""--shell-completion: the words, and real shells in which a person presses Tab."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tfrun.commands.completion import completions

Result = tuple[int, str, str]
TFRUN = Path(sys.executable).parent / "tfrun"
READY = "READY"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tfrun evalu", ["evaluate"]),
        ("tfrun loss=hub", ["loss=huber"]),
        ("tfrun -m loss=mse,hub", ["loss=mse,huber"]),
        ("tfrun trainer.max_ep", ["trainer.max_epochs="]),
        ("tfrun train trainer.max_ep", ["trainer.max_epochs="]),
        ("tfrun checkp", ["checkpoint=", "checkpoint."]),
        ("tfrun experiment=lower", ["experiment=lower_upper"]),
        ("tfrun early_st", ["early_stopping="]),
        ("tfrun +early_st", ["+early_stopping="]),
        ("tfrun trainer.compile=", [f"trainer.compile={name}" for name in ("auto", "xla", "graph", "eager")]),
        ("tfrun data.split.by=g", ["data.split.by=group"]),
        ("tfrun data.keep_samples=", ["data.keep_samples=true", "data.keep_samples=false"]),
        ("tfrun model=mlp model.hid", ["model.hidden_units="]),
        ("tfrun model=linear model.hid", []),
        ("tfrun optimizer=adam optimizer.sch", ["optimizer.schedule="]),
        ("tfrun checkpoint.monitor=", ["checkpoint.monitor=val/loss"]),
        ("tfrun hydra/launcher=vec", ["hydra/launcher=vectorized"]),
        ("tfrun hydra.launcher.n", ["hydra.launcher.n_jobs="]),
        ("tfrun hydra.launcher.n_jobs=", ["hydra.launcher.n_jobs=auto"]),
        ("tfrun list mod", ["model"]),
        ("tfrun show loss=hub", ["loss=huber"]),
        ("tfrun check model=wide_d", ["model=wide_deep"]),
        ("tfrun --shell", ["--shell-completion"]),
        ("tfrun new fol", []),
        ("tfrun find l", ["lr"]),
        ("tfrun find lr smoo", ["smoothing="]),
        ("tfrun find lr model=wide_d", ["model=wide_deep"]),
        ("tfrun find batch_size mem", ["memory="]),
        ("tfrun export latest format=li", ["format=litert"]),
        ("tfrun compare multirun importa", ["importance="]),
        ("tfrun model=mpl model.lo", ["model.lora="]),  # a typo before it: the config without it
        ("tfrun 'model=wide_d", ["model=wide_deep"]),  # an open quote
    ],
)
def test_words(line: str, expected: list[str]) -> None:
    assert completions(line) == expected


def test_keras_names_are_values_too() -> None:
    names = [word.removeprefix("model.activation=") for word in completions("tfrun model=mlp model.activation=soft")]
    assert {"softmax", "softplus", "softsign"} <= set(names) and all(name.startswith("soft") for name in names)


def test_the_first_word_is_a_command_or_an_override() -> None:
    words = completions("tfrun ")
    assert words[:2] == ["train", "resume"] and {"model=", "trainer.", "seed="} <= set(words)


def test_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/houses.csv").touch()
    (tmp_path / ".hidden").touch()
    assert completions("tfrun data=csv data.path=") == ["data.path=rows/"]
    assert completions("tfrun data=csv data.path=rows/h") == ["data.path=rows/houses.csv"]
    assert completions(f"tfrun init={tmp_path}/ro") == [f"init={tmp_path}/rows/"]
    assert completions("tfrun data.path=none/x") == []
    assert completions("tfrun --config-dir ro") == ["rows/"]


def test_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "outputs/small/2026-11-30_10-00-00_abcdef"
    run.mkdir(parents=True)
    (run / "config.yaml").touch()
    assert completions("tfrun evaluate ") == ["latest", "best", "outputs/small/2026-11-30_10-00-00_abcdef"]
    assert completions("tfrun evaluate la") == ["latest"]
    assert completions("tfrun predict latest ou") == ["outputs/small/2026-11-30_10-00-00_abcdef", "out="]


def test_a_folder_of_one_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/mine.yaml").write_text("# @package _global_\nseed: 3\n")
    assert completions("tfrun -cd conf experiment=mi") == ["experiment=mine"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["install=bsh"], "--shell-completion: unknown shell. Received: 'bsh'"),
        (["bash"], "--shell-completion: must be install=, uninstall= or query=<shell>. Received: 'bash'"),
        ([], "--shell-completion: must be install=, uninstall= or query=<shell>. Received: ''"),
    ],
)
def test_a_wrong_word(run: Callable[..., Result], words: list[str], expected: str) -> None:
    code, _, err = run("--shell-completion", *words)
    assert code == 2 and expected in err


def test_a_mistake_in_the_line_says_nothing(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "tfrun -cd nowhere model=")
    assert run("--shell-completion", "query=bash") == (0, "", "")


@pytest.mark.parametrize(
    ("point", "expected"),
    [("16", ["loss=huber"]), ("abc", []), ("-3", []), ("", [])],  # without a number, at the end of the line
)
def test_the_words_are_those_at_the_cursor(
    point: str, expected: list[str], run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_LINE", "tfrun loss=huber model=nothing")
    monkeypatch.setenv("COMP_POINT", point)
    code, out, err = run("--shell-completion", "query=bash")
    assert (code, out.split(), err) == (0, expected, "")


class Shell:
    """A shell in a terminal of its own."""

    def __init__(self, command: list[str], folder: Path):
        environment = {**os.environ, "PATH": f"{TFRUN.parent}:{os.environ['PATH']}", "TERM": "xterm", "PS1": "$ "}
        self._process, self._master = pty.fork()
        if self._process == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, environment)

    def type(self, keys: str, until: str, seconds: float = 180) -> str:
        """Types keys and returns what the terminal shows until a pattern."""
        os.write(self._master, keys.encode())
        text, end = "", time.monotonic() + seconds
        while not re.search(until, text):
            if not select.select([self._master], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"{until!r} isn't in {text!r}")
            text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]", "", os.read(self._master, 4096).decode(errors="replace"))
        return text

    def close(self) -> None:
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._master)


SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        'eval "$(tfrun --shell-completion install=bash)"; echo REA""DY\n',
    ),
    "zsh": (["zsh", "-f", "-i"], 'eval "$(tfrun --shell-completion install=zsh)"; echo REA""DY\n'),
    "fish": (["fish", "--no-config", "-i"], "tfrun --shell-completion install=fish | source; echo REA''DY\n"),
}


@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_completes(name: str, tmp_path: Path) -> None:
    command, install = SHELLS[name]
    if shutil.which(name) is None:
        pytest.skip(f"{name} isn't installed")
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/houses.csv").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tfrun").symlink_to(TFRUN)
    shell = Shell(command, tmp_path)
    try:
        shell.type(install, READY)
        shell.type("tfrun evalu\t", r"evaluate ")
        shell.type("\x15tfrun model=wide_d\t", r"model=wide_deep ")
        shell.type("\x15tfrun model=mlp trainer.max_ep\t", r"trainer\.max_epochs=\s*$")
        shell.type("\x15tfrun data=csv data.path=ro\thou\t", r"data\.path=rows/houses\.csv")
        shell.type("\x15./bin/tfrun loss=hub\t", r"loss=huber ")
    finally:
        shell.close()
