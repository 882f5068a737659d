"""XLA's compiled programs, kept for later processes: the wait before the first step is half as long the second time.

They are in `$XDG_CACHE_HOME/tfrun/xla` (`~/.cache/tfrun/xla`), in one folder for each TensorFlow version, processor
and set of flags, and may be deleted at any time. TensorFlow reads and writes them itself, but ends the run if it
can't; so they are used only in a folder that can be written, and deleted if one turns out to be damaged.

Import this module before TensorFlow, which reads the flag once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from importlib import metadata
from pathlib import Path

FLAG = "--tf_xla_persistent_cache_directory="
MAX_PROGRAMS = 200  # about a megabyte each
ROOM_BYTES = 2**24  # the disk, or the person's quota, must have this much left


def cache_folder() -> Path:
    """Returns the folder of everything that tfrun keeps from run to run."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfrun"


def keep_compiled() -> None:
    """Makes TensorFlow keep its programs, unless TF_XLA_FLAGS does so already, or there is a GPU or no room."""
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if "persistent_cache" in flags or Path("/dev/nvidiactl").exists():
        return
    described = f"{metadata.version('tensorflow')} {processor()} {os.environ.get('XLA_FLAGS', '')}"
    folder = cache_folder() / "xla" / hashlib.sha256(described.encode()).hexdigest()[:16]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, ROOM_BYTES)
        programs = sorted(folder.glob("*.pb"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in programs[MAX_PROGRAMS:]:
            path.unlink(missing_ok=True)
    except OSError:
        return
    os.environ["TF_XLA_FLAGS"] = f"{flags} {FLAG}{folder}".strip()


def folder_in_use() -> Path | None:
    """Returns the folder where this process keeps its programs; None if there is none, or a person has set it."""
    flags = os.environ.get("TF_XLA_FLAGS", "").split()
    folders = [Path(flag.removeprefix(FLAG)) for flag in flags if flag.startswith(FLAG)]
    return next((folder for folder in folders if folder.is_relative_to(cache_folder())), None)


def throw_away() -> bool:
    """Deletes the programs that are kept for this process; returns whether there were any."""
    folder = folder_in_use()
    programs = list(folder.glob("*.pb")) if folder else []
    for path in programs:
        path.unlink(missing_ok=True)
    return bool(programs)


def processor() -> str:
    """Returns the processor's name and features: a compiled program runs on no other."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        wanted = ("model name", "flags", "Features")
        return " ".join(dict.fromkeys(line.partition(":")[2].strip() for line in lines if line.startswith(wanted)))
    return ""
