"""Runs tfrun's command in children of one process that has imported TensorFlow: a second each instead of six.

A line of JSON on standard input for each, {"cwd", "words", "failpoint", "out"}; its exit code on standard output.
"""

from __future__ import annotations

import json
import os
import sys

from tfrun import cli, disk
from tfrun.engine import experiment  # noqa: F401 (TensorFlow, once)

for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(job["cwd"])
        out = os.open(job["out"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        for standard in (1, 2):
            os.dup2(out, standard)
        disk._failpoint = disk.Failpoint(job["failpoint"]) if job["failpoint"] else None
        code = cli.main(job["words"])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
