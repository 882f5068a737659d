"""Starts tests' processes in a second or less, because what they import is imported already.

A server imports TensorFlow once, and forks a child for each process that a test asks for. The child has its own folder,
environment, command line, output and process id; it can be sent signals and killed, and its parent trains nothing.

    server --(fork)--> child: runs `tfrun WORDS…`, or the code of `python -c CODE WORDS…`

What happens while modules are imported can't be tested with it, nor what the environment says to Python or at an import
(PYTHONPATH, TF_CPP_MIN_LOG_LEVEL, and TF_XLA_FLAGS with its cache of XLA programs): a test of that starts a process of
its own.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn

Kind = Literal["tfrun", "keras"]


class Server:
    """Forks processes that have imported the engine of tfrun, or only Keras."""

    def __init__(self, kind: Kind, process: subprocess.Popen[bytes], address: str):
        self._kind = kind
        self._process = process
        self._address = address

    @classmethod
    def start(cls, kind: Kind) -> Server:
        """Starts a server; it ends with `stop`, or with the process that has started it."""
        address = str(Path(tempfile.mkdtemp(prefix="warm")) / "s")  # short, as an address must be
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(16)
            command = [sys.executable, __file__, kind, str(listener.fileno())]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=None,
                                       pass_fds=[listener.fileno()])  # fmt: skip
        return cls(kind, process, address)

    def stop(self) -> None:
        """Ends the server, but none of its children."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)
        shutil.rmtree(Path(self._address).parent, ignore_errors=True)

    def process(
        self, words: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None, before: str = ""
    ) -> Process:
        """Starts a process.

        Args:
            words: the command line, without `tfrun`; of a server of Keras the code and its arguments.
            cwd: the folder in which it runs.
            env: its whole environment, by default this process's.
            before: code that the process runs first.
        """
        job = {"words": [str(word) for word in words], "cwd": str(cwd), "env": dict(env or os.environ)}
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)
        outputs = [tempfile.TemporaryFile("w+b") for _ in range(2)]  # noqa: SIM115 (communicate reads them later)
        text = json.dumps(job | {"before": before}).encode()
        socket.send_fds(connection, [len(text).to_bytes(8, "big")], [file.fileno() for file in outputs])
        connection.sendall(text)
        pid = int.from_bytes(_receive(connection, 8), "big")
        return Process([self._kind, *job["words"]], pid, connection, outputs)


class Process:
    """A started process, with what tests use of `subprocess.Popen`. Its output is in files, so that none waits for us.

    Attributes:
        pid: its process id.
        returncode: None while it runs; a negative number is the signal that ended it.
    """

    def __init__(self, args: Sequence[str], pid: int, connection: socket.socket, outputs: Sequence[Any]):
        self.args = list(args)
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection
        self._outputs = outputs

    def poll(self) -> int | None:
        """Returns the exit code, or None while it runs."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """Waits until it has ended, and returns the exit code."""
        code = self._wait(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits until it has ended, and returns what it wrote to standard output and to standard error."""
        self.wait(timeout)
        texts = []
        for file in self._outputs:
            file.seek(0)
            texts.append(file.read().decode())
        return texts[0], texts[1]

    def completed(self, timeout: float) -> subprocess.CompletedProcess[str]:
        """Waits until it has ended; kills it if that takes too long."""
        try:
            out, err = self.communicate(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return subprocess.CompletedProcess(self.args, self.wait(), out, err)

    def send_signal(self, number: int) -> None:
        """Sends a signal to the process, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends the process as `kill -9` does."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.wait()

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], timeout)[0]:
            self.returncode = int.from_bytes(_receive(self._connection, 8), "big", signed=True)
            self._connection.close()
        return self.returncode


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        more = connection.recv(size - len(received))
        if not more:
            raise EOFError("the server has ended")
        received += more
    return received


def _import(kind: Kind) -> None:
    if kind == "keras":
        import keras  # noqa: F401
        import tensorflow  # noqa: F401

        return
    import sklearn.datasets  # noqa: F401 (reads the data sets that ship)

    from tfrun import cli  # noqa: F401
    from tfrun.config.compose import open_configs
    from tfrun.load_engine import engine

    remember_shipped_components()
    with engine(None), open_configs([]) as configs:
        configs.compose([])  # loads Hydra's plugins


def remember_shipped_components() -> None:
    """Parses each shipped file of components once: every command of this process would do it anew."""
    from tfrun.config import catalog, plugins

    read_module, (shipped,) = catalog.read_module, plugins.shipped_folders("components")
    parsed: dict[plugins.Module, list[catalog.Component]] = {}

    def read_once(module: plugins.Module) -> list[catalog.Component]:
        if not module.file.is_relative_to(shipped):
            return read_module(module)
        if module not in parsed:
            parsed[module] = read_module(module)
        return parsed[module]

    catalog.read_module = read_once


def _serve(kind: Kind, listener: socket.socket) -> None:
    """Forks a child for each connection, and sends its exit code there, until standard input is closed."""
    _import(kind)
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    running: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([sys.stdin, listener, woken], [], [])
        if sys.stdin in ready:
            os._exit(0)  # without the exit handlers of TensorFlow, which would wait
        if woken in ready:
            woken.recv(4096)
            _report_ends(running)
        if listener in ready:
            connection, _ = listener.accept()
            size, outputs, _, _ = socket.recv_fds(connection, 8, 2)
            job = json.loads(_receive(connection, int.from_bytes(size, "big")))
            pid = os.fork()
            if pid == 0:
                for each in (listener, woken, wakes, connection, *running.values()):
                    each.close()
                _run(kind, job, outputs)
            for number in outputs:
                os.close(number)
            running[pid] = connection
            connection.sendall(pid.to_bytes(8, "big"))


def _report_ends(running: dict[int, socket.socket]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with running.pop(pid) as connection:
                connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, "big", signed=True))


def _run(kind: Kind, job: Mapping[str, Any], outputs: Sequence[int]) -> NoReturn:
    """Runs the command in the forked child, and ends the process."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, output in zip((1, 2), outputs, strict=True):
            os.dup2(output, number)
            os.close(output)
        os.chdir(job["cwd"])
        os.environ.clear()
        os.environ.update(job["env"])
        time.tzset()
        exec(job["before"], {})
        code = _main(kind, job["words"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = 120  # as Python itself does
        os._exit(code)


def _main(kind: Kind, words: Sequence[str]) -> int:
    if kind == "keras":
        code, *arguments = words
        sys.argv = ["-c", *arguments]
        exec(code, {"__name__": "__main__"})
        return 0
    from tfrun import cli
    from tfrun.files import failpoints

    failpoints.set_failpoint(os.environ.get("TFRUN_FAILPOINT", ""))
    sys.argv = [str(Path(sys.executable).with_name("tfrun")), *words]
    return cli.main()


if __name__ == "__main__":
    _serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))  # type: ignore[arg-type]
