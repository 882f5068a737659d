"""How many of XLA's programs a run has read from the cache, and how many it has compiled and kept.

TensorFlow doesn't say it. A program that is compiled is a new file; one that is read has a new time of access. Most
file systems keep that time only roughly (`relatime`): it changes if it isn't later than the last write. So it is set to
0 for all programs at the start. The counts aren't known where the file system keeps no such times, or if another
process of tfrun has used the cache meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tfrun.files.xla_cache import folder_in_use

MARKER = ".used"  # locked by each process that counts; holds the token of the last one


class CacheUsage:
    """Counts from `watch` on; a context that lets others count again when it is left.

    Args:
        folder: of the programs; None if nothing can be counted.
        before: the names of the programs that were there.
        marker: the open file that is locked.
        token: what it holds unless another process has counted meanwhile.
    """

    def __init__(self, folder: Path | None, before: frozenset[str], *, marker: IO[bytes] | None, token: bytes):
        self._folder = folder
        self._before = before
        self._marker = marker
        self._token = token

    @classmethod
    def watch(cls) -> CacheUsage:
        """Starts to count, if it is possible; it never fails."""
        folder = folder_in_use()
        token = secrets.token_bytes(8)
        marker = None
        try:
            if folder is None:
                return cls(None, frozenset(), marker=None, token=token)
            marker = open(folder / MARKER, "a+b", buffering=0)  # noqa: SIM115 (the context closes it)
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while another process counts
            marker.truncate(0)
            marker.write(token)
            os.utime(marker.fileno(), (0, os.fstat(marker.fileno()).st_mtime))
            marker.seek(0)
            marker.read(1)
            keeps_times = os.fstat(marker.fileno()).st_atime > 0
            programs = list(folder.glob("*.pb")) if keeps_times else []
            for path in programs:
                os.utime(path, ns=(0, path.stat().st_mtime_ns))
            fcntl.flock(marker, fcntl.LOCK_SH)  # so that others notice that they aren't alone
            names = frozenset(path.name for path in programs)
            return cls(folder if keeps_times else None, names, marker=marker, token=token)
        except OSError:
            return cls(None, frozenset(), marker=_shared(marker), token=token)

    def counts(self) -> dict[str, int] | None:
        """Returns how many programs were `read` and `compiled` since `watch`, or None if that isn't known."""
        if self._folder is None or self._marker is None:
            return None
        try:
            fcntl.flock(self._marker, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused if another process uses the cache
            fcntl.flock(self._marker, fcntl.LOCK_SH)
            self._marker.seek(0)
            if self._marker.read(len(self._token) + 1) != self._token:
                return None
            programs = list(self._folder.glob("*.pb"))
            read = sum(path.name in self._before and path.stat().st_atime > 0 for path in programs)
            return {"read": read, "compiled": sum(path.name not in self._before for path in programs)}
        except OSError:
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._marker is not None:
            self._marker.close()


def _shared(marker: IO[bytes] | None) -> IO[bytes] | None:
    """Returns the file, locked so that the process that counts already notices that it isn't alone."""
    if marker is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(marker, fcntl.LOCK_SH | fcntl.LOCK_NB)
            marker.truncate(0)
    return marker
