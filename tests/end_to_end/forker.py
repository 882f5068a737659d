"""Runs tfrun's command in children of one process that has imported TensorFlow: a second each instead of six.

A line of JSON on standard input for each, {"cwd", "words", "failpoint", "out"}; its exit code on standard output. With
"file_bytes" no file may grow larger; with "clock" the time of day jumps back by an hour whenever it is read.
"""

from __future__ import annotations

import datetime
import itertools
import json
import os
import resource
import sys

import sklearn.datasets  # noqa: F401 (what reads the data sets that ship)

from tfrun import cli
from tfrun.config.compose import open_configs
from tfrun.engine import experiment  # noqa: F401 (imports TensorFlow, once)
from tfrun.engine.recording import tensorboard
from tfrun.files import failpoints, runs


def set_clock_back() -> None:
    hours = itertools.count()

    class Backwards(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Backwards:
            return super().now(tz) - datetime.timedelta(hours=next(hours))

    vars(runs)["datetime"] = Backwards
    tensorboard.TensorBoard.__init__.__defaults__ = (lambda: Backwards.now().timestamp(),)


with open_configs([]) as configs:  # loads Hydra's plugins, once
    configs.compose([])
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(job["cwd"])
        out = os.open(job["out"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        for standard in (1, 2):
            os.dup2(out, standard)
        failpoints.set_failpoint(job["failpoint"])
        if job.get("file_bytes"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_bytes"], resource.RLIM_INFINITY))
        if job.get("clock"):
            set_clock_back()
        code = cli.main(job["words"])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
