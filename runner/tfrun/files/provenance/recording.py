"""Records what a run is made from, in a process beside TensorFlow's import, and writes it into the run's folder.

    with Recording.start(folder, subject) as recording:
        import TensorFlow, train
    # it is written by now, or a line of the log says why it isn't

Nothing here ever fails or stops a run.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tfrun.errors import ResourceError, TfrunError
from tfrun.files import disk, strict_json
from tfrun.files.provenance import record as records
from tfrun.files.provenance.environment import read_environment
from tfrun.files.runs import RunFolder, now
from tfrun.folders import code_folder
from tfrun.version import __version__

SECONDS = 60.0  # after which the process is killed
PACKAGE = str(Path(__file__).absolute().parents[2])
# The package itself is a stand-in without its imports, which need other packages: -S leaves them out, and starts in a
# tenth of the time. -I keeps modules of the current folder from being imported.
CODE = """\
import sys, types
tfrun = sys.modules["tfrun"] = types.ModuleType("tfrun")
tfrun.__path__ = [sys.argv[1]]
from tfrun.files.provenance import collect
collect.main()
"""


@dataclass(frozen=True)
class Subject:
    """The plugins and configs to record, as the config and the catalog know them.

    Attributes:
        modules: name and file of each module of a plugin.
        config_folders: of YAML files that don't ship with tfrun; None if the config wasn't composed from files.
        patch: whether changes that git has are written down, `provenance.patch`.
        sources: whether files that git doesn't have are copied, `provenance.sources`.
    """

    modules: Sequence[tuple[str, Path]] = ()
    config_folders: Sequence[Path] | None = None
    patch: bool = True
    sources: bool = True


class Recording:
    """A record that is being collected; a context that ends once it is written.

    Args:
        folder: of the run or the sweep.
        resumed: whether it continues: then only what differs from its last record is recorded, beside the first.
    """

    def __init__(self, folder: RunFolder, *, resumed: bool):
        self._folder = folder
        self._resumed = resumed
        self._process: subprocess.Popen[bytes] | None = None
        self._may_write = threading.Event()
        self._is_cancelled = False
        self._thread: threading.Thread | None = None

    @classmethod
    def start(cls, folder: RunFolder, subject: Subject, *, resumed: bool = False, waits: bool = False) -> Recording:
        """Starts to record.

        Args:
            folder: of a run or a sweep; it exists.
            subject: what is recorded.
            resumed: whether the run or the sweep continues.
            waits: whether nothing is written before `may_write` is called.
        """
        recording = cls(folder, resumed=resumed)
        if not waits:
            recording.may_write()
        try:
            asked = strict_json.dumps(request(subject)).encode()
            recording._process = process = _start_process()
            thread = threading.Thread(target=recording._run, args=(process, asked), name="provenance", daemon=True)
            thread.start()
            recording._thread = thread
        except (OSError, ValueError, RuntimeError) as error:  # the current folder is gone, or a limit is reached
            _note(folder, f"no process could be started: {error}")
        return recording

    def may_write(self) -> None:
        """Lets the record be written: the run has begun."""
        self._may_write.set()

    def close(self, *, cancel: bool = False) -> None:
        """Waits until the record is written; `cancel` gives it up if it isn't yet."""
        if cancel or not self._may_write.is_set():
            self._is_cancelled = True
            if self._process is not None and self._process.poll() is None:
                _kill(self._process)
            self._may_write.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with contextlib.suppress(OSError):
            # the run was discarded while this, or why it can't be recorded, was being written
            if set(os.listdir(self._folder.path)) <= {records.FOLDER, self._folder.log.name}:
                self._folder.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(cancel=kind is not None and not issubclass(kind, Exception))

    def _run(self, process: subprocess.Popen[bytes], asked: bytes) -> None:
        try:
            answer, printed = process.communicate(asked, timeout=SECONDS)
            self._may_write.wait()
            if self._is_cancelled:
                return
            if process.returncode:
                last = printed.decode(errors="replace").strip().rpartition("\n")[2]
                _note(self._folder, last or f"its process ended with {process.returncode}")
                return
            self._write(*_parse(answer))
        except subprocess.TimeoutExpired:
            _kill(process)
            process.communicate()
            _note(self._folder, f"it took longer than {SECONDS:g} s")
        except (TfrunError, OSError, ValueError, KeyError) as error:
            if not self._is_cancelled:
                _note(self._folder, str(error))

    def _write(self, fields: dict[str, Any], contents: Sequence[bytes]) -> None:
        """Writes the files, the JSON last: if that is there, everything is."""
        folder = self._folder.path / records.FOLDER
        last = records.newest(self._folder.path)
        if last is not None and not records.differences(last, records.from_fields(_unnamed(fields), folder / "_")):
            return
        name = records.next_name(self._folder.path) if self._resumed else ""
        if not self._folder.path.is_dir():  # it was discarded
            return
        disk.refuse_link(folder)
        with disk.refusals(folder):
            folder.mkdir(exist_ok=True)
            disk.remove_left_behind(folder)
        try:
            _write_contents(folder, fields, contents=contents, name=name, copied=_copied(last, folder))
            text = strict_json.dumps(fields, indent=1) + "\n"
            disk.write_atomically(folder / (f"{name}.json" if name else records.FIRST), text)
        except (TfrunError, OSError):
            if not name:
                shutil.rmtree(folder, ignore_errors=True)  # a part of it would say nothing
            raise


def collect_now(subject: Subject) -> tuple[records.Provenance, bytes]:
    """Returns the record of a run that would start now, and its patch, b"" if there is none. Nothing is written.

    Raises:
        ResourceError: it can't be collected.
    """
    process = None
    try:
        asked = strict_json.dumps(request(subject)).encode()
        process = _start_process()
        answer, printed = process.communicate(asked, timeout=SECONDS)
        if process.returncode:
            raise ValueError(printed.decode(errors="replace").strip().rpartition("\n")[2])
        fields, contents = _parse(answer)
        patch = fields["git"] and fields["git"]["patch"]
        content = contents[patch["copy"]] if patch and patch["copy"] is not None else b""
        return records.from_fields(_unnamed(fields), Path(os.devnull)), content
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        reason = f"it took longer than {SECONDS:g} s" if isinstance(error, subprocess.TimeoutExpired) else str(error)
        raise ResourceError(f"provenance: what a run is made from now can't be collected: {reason}") from error
    finally:
        if process is not None and process.poll() is None:
            _kill(process)
            process.communicate()


def request(subject: Subject) -> dict[str, Any]:
    """Returns the request to the collecting process: everything that only this process knows."""
    folders = subject.config_folders
    return {
        "at": now(),
        "folder": str(code_folder()),
        "tfrun": {"version": __version__, "folder": PACKAGE},
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
            "optimize": sys.flags.optimize,
        },
        "path": [os.path.abspath(entry) for entry in sys.path],
        "installed": sorted({sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")}),
        "environment": read_environment(os.environ),
        "modules": [(name, os.path.abspath(file)) for name, file in subject.modules],
        "config_folders": None if folders is None else [os.path.abspath(folder) for folder in folders],
        "patch": subject.patch,
        "sources": subject.sources,
    }


def _start_process() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", CODE, PACKAGE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the run; and so it can be killed with what it has started
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def _parse(answer: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Returns the record and the contents of files that the process has written."""
    line, _, rest = answer.partition(b"\n")
    fields = json.loads(line)
    contents, start = [], 0
    for length in fields["lengths"]:
        contents.append(rest[start : start + length])
        start += length
    if start != len(rest):
        raise ValueError(f"its process has written {len(rest)} bytes of files instead of {start}")
    return fields["record"], contents


def _unnamed(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields without the numbers of contents, which aren't files yet."""
    patched = fields["git"] and fields["git"]["patch"]
    git = {**fields["git"], "patch": {**patched, "copy": None}} if patched else fields["git"]
    return {**fields, "git": git, "files": [{**entry, "copy": None} for entry in fields["files"]]}


def _copied(last: records.Provenance | None, folder: Path) -> dict[str | None, str]:
    """Returns SHA-256 -> path, as seen from a folder, of the files in it that an earlier record has written."""
    if last is None or last.file.parent != folder:
        return {}
    patch = last.git and last.git.patch
    files = [(patch.sha256, patch.file)] if patch else []
    files += [(file.sha256, file.copy) for file in last.files]
    return {sha256: str(path.relative_to(folder)) for sha256, path in files if path is not None and path.is_file()}


def _write_contents(
    folder: Path,
    fields: dict[str, Any],
    *,
    contents: Sequence[bytes],
    name: str,
    copied: Mapping[str | None, str],
) -> None:
    """Writes the patch and the copies, and replaces their numbers by their paths.

    Args:
        folder: `provenance/` of the run.
        fields: of the record.
        contents: of the files, by number.
        name: of the record of a resume, or "".
        copied: SHA-256 -> path of the files that are there.

    Raises:
        ResourceError: the disk refuses.
    """
    patch = fields["git"] and fields["git"]["patch"]
    entries = [(patch, f"{name or 'changes'}.patch")] if patch else []
    for entry in fields["files"]:
        seen = os.path.relpath(entry["path"], fields["roots"][entry["root"]])
        entries.append((entry, os.path.join(f"{name}-sources" if name else "sources", str(entry["root"]), seen)))
    for entry, path in entries:
        if entry["copy"] is not None:
            content = contents[entry["copy"]]
            entry["copy"] = copied.get(entry["sha256"], path)
            if entry["copy"] == path:
                _write_file(folder, path, content)


def _write_file(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    disk.refuse_links_inside(folder, path)
    with disk.refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with disk.refusals(path), disk.open_file(path, "wb") as file:
        disk.write(file, content, name=path.name)
        disk.sync(file, path.name)


def _note(folder: RunFolder, why: str) -> None:
    """Appends to the log of a run why its provenance isn't recorded."""
    if folder.path.is_dir():
        from tfrun.console import open_log  # here, since it imports Rich

        with contextlib.suppress(OSError), os.fdopen(open_log(folder.log), "w") as log:
            log.write(f"provenance: not recorded: {' '.join(why.split())}\n")
