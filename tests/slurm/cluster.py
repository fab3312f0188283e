"""A real Slurm of two nodes on this machine: Debian's packages, loopback only, no systemd.

``python -m tests.slurm.cluster`` installs the packages where it may; the tests start a cluster in
a scratch folder and end its processes by their ids. Each node has two GPUs: links to /dev/null.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel")
NODES = ("node1", "node2")
STARTS_S = 60.0

CONFIGURATION = """\
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller_port}
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
AuthType=auth/munge
AuthInfo=socket={root}/munge/munge.socket,cred_expire=10
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=200
SlurmctldTimeout=30
SlurmdTimeout=10
InactiveLimit=0
KillWait=3
MinJobAge=3600
JobRequeue=1
GresTypes=gpu
{nodes}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=node[1-2] Default=YES MaxTime=60 State=UP OverSubscribe=NO PriorityTier=1
PartitionName=urgent Nodes=node[1-2] MaxTime=60 State=UP OverSubscribe=NO PriorityTier=2
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 CoresPerSocket=2"
    " ThreadsPerCore=1 RealMemory=1000 Gres=gpu:fake:2 State=UNKNOWN"
)


def lacking() -> str:
    """What is missing here for a Slurm, with the mend; empty where nothing is."""
    # Debian keeps the daemons in sbin, which not every user's PATH has.
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        return f"no {missing[0]} here: apt-get install {' '.join(PACKAGES)} (as root)"
    return "" if os.geteuid() == 0 else "only root can start a Slurm of its own"


def install() -> None:
    """From Debian's packages, as root; elsewhere nothing happens."""
    if not lacking() or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        subprocess.run(
            ["apt-get", "-qq", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
            check=False,
        )


class Cluster:
    """Use as a context manager: leaving it ends all of its processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """For the clients."""
        return {**os.environ, "SLURM_CONF": str(self.root / "slurm.conf")}

    def __enter__(self) -> Self:
        self._configure()
        try:
            self._start("munged", *self._munge())
            _until((self.root / "munge" / "munge.socket").exists, "munged")
            self._start("slurmctld", "-D", "-c")
            for node in NODES:
                self.start_node(node)
            _until(lambda: self.ask("sinfo", "-h", "-o", "%D %t").strip() == "2 idle", "nodes")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.SubprocessError):
            self.ask("scancel", "--full", "--user", "root")
            _until(lambda: not self.ask("squeue", "-h"), "jobs to end")
        for process in reversed(self._processes.values()):
            _end(process)
        for job_step in _steps(self.root):
            with contextlib.suppress(ProcessLookupError):
                os.kill(job_step, signal.SIGKILL)

    def ask(self, *command: str) -> str:
        """Output of a client; CalledProcessError, or TimeoutExpired after a minute."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    def start_node(self, node: str) -> None:
        self._start(node, "-D", "-N", node, program="slurmd")

    def kill_node(self, node: str) -> None:
        """As when its power fails: the daemon and everything of its jobs, at once."""
        spool = str(self.root / f"spool.{node}")
        victims = [pid for pid in _steps(self.root) if _about(pid, node, spool)]
        tree = [pid for victim in victims for pid in _tree(victim)]
        self.kill_daemon(node)
        for pid in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_daemon(self, node: str) -> None:
        """Its jobs go on; the controller holds the node for dead after a while."""
        daemon = self._processes.pop(node)
        daemon.kill()
        daemon.wait()

    def _configure(self) -> None:
        host = socket.gethostname().partition(".")[0]
        ports = _free_ports(1 + len(NODES))
        nodes = [
            NODE.format(name=node, host=host, port=port)
            for node, port in zip(NODES, ports[1:], strict=True)
        ]
        for name in ("munge", "state", "dev", *(f"spool.{node}" for node in NODES)):
            (self.root / name).mkdir(parents=True)
        made = CONFIGURATION.format(
            host=host, root=self.root, controller_port=ports[0], nodes="\n".join(nodes)
        )
        (self.root / "slurm.conf").write_text(made)
        lines = []
        for node in NODES:
            for number in range(2):
                (self.root / "dev" / f"{node}-gpu{number}").symlink_to("/dev/null")
            files = f"{self.root}/dev/{node}-gpu[0-1]"
            lines.append(f"NodeName={node} Name=gpu Type=fake File={files}")
        (self.root / "gres.conf").write_text("\n".join(lines) + "\n")
        key = self.root / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        (self.root / "munge").chmod(0o755)

    def _munge(self) -> list[str]:
        home = self.root / "munge"
        named = {"key-file": "key", "socket": "munge.socket", "pid-file": "pid"}
        named |= {"log-file": "log", "seed-file": "seed"}
        places = [f"--{option}={home / name}" for option, name in named.items()]
        return ["--foreground", "--force", *places]

    def _start(self, name: str, *arguments: str, program: str = "") -> None:
        path = _program(program or name)
        assert path is not None
        log = (self.root / f"{name}.out").open("ab")
        self._processes[name] = subprocess.Popen(
            [path, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _until(true: object, what: str) -> None:
    assert callable(true)
    end = time.monotonic() + STARTS_S
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"waited for {what} in vain")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _steps(root: Path) -> list[int]:
    """The processes that watch over jobs of this cluster: they survive their daemon."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name = (place / "cmdline").read_bytes()
            mine = str(root).encode() in (place / "environ").read_bytes()
            if name.startswith(b"slurmstepd") and mine:
                found.append(int(place.name))
    return found


def _about(pid: int, node: str, spool: str) -> bool:
    """Whether a step's watcher is of this node."""
    with contextlib.suppress(OSError):
        opened = [str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()]
        return any(spool in one or f"slurmd.{node}.log" in one for one in opened)
    return False


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        below = [int(one) for one in children.read_text().split()]
    except OSError:
        below = []
    return [pid, *(one for child in below for one in _tree(child))]


if __name__ == "__main__":
    install()
    print(f"slurm: {lacking() or 'installed'}", file=sys.stderr)
