"""A Slurm of one node, whose daemons are started for tests and end with them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

UNKNOWN = "UNKNOWN"  # the state of a job while the controller is too busy to answer
# In the second in which slurmd has ended a job, it refuses to start that job again: "Job credential revoked".
REVOKED_SECONDS = 2.0
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=8000
PartitionName=main Nodes={host} Default=YES
"""  # more CPUs than there are, so that several jobs run at once


class Slurm:
    """The daemons, and the commands of a user.

    Attributes:
        environment: the variables with which programs find this Slurm.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], daemons: list[subprocess.Popen[bytes]]):
        self.environment = environment
        self._folder = folder
        self._daemons = daemons

    @classmethod
    def start(cls) -> Slurm:
        """Starts the daemons, which listen on loopback, and returns when jobs can be submitted."""
        folder = Path(tempfile.mkdtemp(prefix="slurm"))  # short, as the address of a socket must be
        for name in ("state", "spool"):
            (folder / name).mkdir()
        ports = [_free_port() for _ in range(2)]
        config = CONFIG.format(host=socket.gethostname().partition(".")[0], ports=ports, folder=folder)
        (folder / "slurm.conf").write_text(config)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
        munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket", *files]
        environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        slurm = cls(folder, environment, [])
        try:
            slurm._daemon(*munged)
            slurm.wait_for((folder / "munge.socket").exists)
            slurm._daemon("slurmctld", "-D")
            slurm._daemon("slurmd", "-D")
            slurm.wait_for(lambda: "idle" in slurm.call("sinfo", "--noheader"))
        except BaseException:
            slurm.stop()
            raise
        return slurm

    def stop(self) -> None:
        """Ends all jobs and the daemons."""
        self.call("scancel", "--me")
        for daemon in reversed(self._daemons):
            daemon.terminate()
            daemon.wait(60)
        shutil.rmtree(self._folder, ignore_errors=True)

    def call(self, *words: str, cwd: Path | None = None) -> str:
        """Runs a command of Slurm and returns what it prints."""
        done = subprocess.run(words, env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=60)
        return done.stdout

    def submit(self, script: str, folder: Path) -> str:
        """Submits a script that lies in a folder, and returns the id of the job."""
        return self.call("sbatch", "--parsable", script, cwd=folder).strip()

    def state(self, job: str) -> str:
        """Returns the state of a job, and an empty string once it has left the queue."""
        words = ["squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}"]
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60)
        has_left = done.returncode == 0 or "Invalid job id" in done.stderr
        return done.stdout.strip() or ("" if has_left else UNKNOWN)

    def start_again(self, job: str) -> None:
        """Waits until a job is in the queue again, and lets it start at once instead of after two minutes."""
        self.wait_for(lambda: self.state(job) == "PENDING")
        time.sleep(REVOKED_SECONDS)

        def has_started() -> bool:  # Slurm may set the later time after it has put the job into the queue
            self.call("scontrol", "update", f"JobId={job}", "StartTime=now")
            return self.state(job) not in ("PENDING", UNKNOWN)

        self.wait_for(has_started)

    @staticmethod
    def wait_for(happened: Callable[[], object], seconds: float = 180) -> None:
        """Waits until a condition holds."""
        deadline = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def _daemon(self, *words: str) -> None:
        quiet = subprocess.DEVNULL
        self._daemons.append(subprocess.Popen(words, env=self.environment, stdout=quiet, stderr=quiet))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
