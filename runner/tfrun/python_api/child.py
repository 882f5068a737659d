"""The process in which `tfrun.run` trains: the command, which is asked to stop if the process that started it ends.

    python -m tfrun.python_api.child PARENT WORDS…

Without that, a run would train on unseen once its notebook's kernel is restarted.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from tfrun import cli

PR_SET_PDEATHSIG = 1  # of Linux: the signal that this process gets when its parent's thread ends


def main() -> int:
    """Runs the command line and returns its exit code."""
    parent, *words = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it has ended already
        return 128 + signal.SIGTERM
    return cli.main(words)


if __name__ == "__main__":
    sys.exit(main())
