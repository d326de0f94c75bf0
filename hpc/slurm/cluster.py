"""A Slurm cluster of two nodes on this machine, for a test: real controller, real daemons, real queue.

As root, with Debian's ``slurm-wlm`` and ``munge``; without systemd and without an accounting database. Everything it
writes is in one folder, and it is stopped when the `with` block ends. ``python hpc/slurm/cluster.py`` says whether this
machine can have one: it starts one, runs a job of one step on each node, and stops it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "munged")
NODES = ("n1", "n2")
CONF = Path("/etc/slurm/slurm.conf")
"""Where Slurm's programs look, in jobs too: for the time of the test it leads to the test's own."""
_PORT = 16817
_CONF = """\
ClusterName=ffr3d
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmctldPort={port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SlurmdTimeout=60
SchedulerParameters=sched_interval=1
MinJobAge=3600
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs={cpus} RealMemory=8000
PartitionName=cpu Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """What this machine lacks for it; empty if nothing."""
    if os.geteuid() != 0:
        return "it needs root"
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    return f"this machine has a Slurm of its own ({CONF})" if CONF.exists() else ""


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster.

    Attributes:
        folder: Its files.
    """

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Of programs that use it."""
        return {**os.environ, "PATH": _path()}

    def call(self, *command: str) -> str:
        """Output of one of Slurm's programs."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def running(self) -> list[str]:
        """Identifiers of the jobs (and tasks of arrays) that run."""
        return self.call("squeue", "-h", "-r", "-t", "R", "-o", "%i").split()

    def stop_controller(self) -> None:
        """Kill the controller, as a crash does."""
        self._kill("slurmctld.pid")

    def start_controller(self) -> None:
        """Start it again; its state is on the disk."""
        subprocess.run(
            ["slurmctld", "-f", str(self.folder / "slurm.conf")], env=self.environment, check=True
        )
        _wait(lambda: bool(self.node(NODES[0])), "the controller does not answer")

    def node(self, name: str) -> str:
        """State of a node; empty where the controller does not answer."""
        command = ["sinfo", "-h", "-N", "-n", name, "-o", "%T"]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def _kill(self, name: str) -> None:
        path = self.folder / name
        if not path.is_file():
            return
        pid = int(path.read_text())
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        _wait(lambda: not Path(f"/proc/{pid}").exists() or _zombie(pid), f"{name}: it lives on")

    def stop(self) -> None:
        """Stop it all."""
        subprocess.run(["scancel", "-u", "root"], env=self.environment, check=False)
        for name in ("slurmctld.pid", *(f"slurmd.{node}.pid" for node in NODES)):
            self._kill(name)
        CONF.unlink(missing_ok=True)


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@contextmanager
def cluster(folder: Path, cpus: int = 2) -> Iterator[Cluster]:
    """Start a cluster; stop it in the end.

    Args:
        folder: For its files; short, for its sockets' sake.
        cpus: That each of the two nodes says it has.
    """
    for name in ("state", *(f"spool.{node}" for node in NODES)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    port = _free_ports()
    conf = _CONF.format(
        folder=folder,
        host=socket.gethostname().split(".")[0],
        cpus=cpus,
        port=port,
        first=port + 1,
        last=port + 2,
    )
    (folder / "slurm.conf").write_text(conf)
    CONF.parent.mkdir(exist_ok=True)
    CONF.unlink(missing_ok=True)  # a link that leads nowhere, of a test that was killed
    CONF.symlink_to(folder / "slurm.conf")
    one = Cluster(folder)
    _munge(one.environment)
    try:
        one.start_controller()
        for node in NODES:
            start = ["slurmd", "-f", str(folder / "slurm.conf"), "-N", node, "-c"]
            subprocess.run(start, env=one.environment, check=True)
        _wait(lambda: one.call("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "2", "no nodes")
        yield one
    finally:
        one.stop()


def _munge(environment: dict[str, str]) -> None:
    """Authentication: the machine's own daemon, started if it is not there."""
    if subprocess.run(["pgrep", "-x", "munged"], capture_output=True, check=False).returncode == 0:
        return
    for folder in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        shutil.chown(folder, "munge", "munge")
    start = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "/usr/sbin/munged"]
    subprocess.run(start, env=environment, check=True)


def _free_ports() -> int:
    """The first of three ports in a row that nobody listens on."""
    for first in range(_PORT, _PORT + 300, 3):
        if all(_free(first + k) for k in range(3)):
            return first
    raise RuntimeError("no free ports")


def _free(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


def _wait(ready: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.2)


def main() -> int:
    """Exit status 0 if a cluster can be had here."""
    lacking = missing()
    if not lacking:
        folder = tempfile.mkdtemp(prefix="ffr3d-slurm-")
        try:
            with cluster(Path(folder)) as one:
                one.call("srun", "-N", "2", "-t", "1", "true")
        except (OSError, RuntimeError, TimeoutError, subprocess.CalledProcessError) as error:
            lacking = str(error)
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(f"no Slurm: {lacking}\n" if lacking else "a Slurm of two nodes runs here\n")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
