"""A Slurm of one's own on this machine: munge, a controller and two nodes, all below one folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from support.parts import need

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")


def _find(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin:/sbin")


def need_slurm() -> None:
    missing = [name for name in DAEMONS if _find(name) is None]
    need(not missing, f"Slurm is not installed ({', '.join(missing)} missing; Debian: slurm-wlm munge)")
    need(os.geteuid() == 0, "slurmd of one's own needs root")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for entry in sockets:
        entry.bind(("127.0.0.1", 0))
    ports = [entry.getsockname()[1] for entry in sockets]
    for entry in sockets:
        entry.close()
    return ports


class SlurmCluster:
    """Starts the daemons on entry and ends them on exit. `environment` makes Slurm's tools speak to this cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> SlurmCluster:
        try:
            self._write()
            self._start("munged", "--foreground", "--force", f"--key-file={self.folder}/munge.key",
                        f"--socket={self.folder}/munge.socket", f"--log-file={self.folder}/munged.log",
                        f"--pid-file={self.folder}/munged.pid", f"--seed-file={self.folder}/munge.seed")  # fmt: skip
            self._until(lambda: (self.folder / "munge.socket").exists(), "munged")
            self._start("slurmctld", "-D", "-i", "-f", f"{self.folder}/slurm.conf")
            for node in ("n1", "n2"):
                self._start("slurmd", "-D", "-N", node, "-f", f"{self.folder}/slurm.conf")
            self._until(self._idle, "nodes")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def run(self, *words: str) -> str:
        """Output of one of Slurm's tools."""
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60).stdout

    def _start(self, name: str, *words: str) -> None:
        log = (self.folder / f"{name}-{len(self._daemons)}.out").open("wb")
        daemon = subprocess.Popen([str(_find(name)), *words], env=self.environment, stdout=log, stderr=log)
        log.close()
        self._daemons.append(daemon)

    def _until(self, ready, what: str) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if ready():
                return
            time.sleep(0.1)
        logs = "\n".join(f"{path.name}: {path.read_text()[-800:]}" for path in self.folder.glob("*.out"))
        raise RuntimeError(f"{what} did not come up in 30 s\n{logs}")

    def _idle(self) -> bool:
        states = self.run("sinfo", "--noheader", "-N", "-o", "%T").split()
        return states == ["idle", "idle"]

    def _write(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        for name in ("state", "spool-n1", "spool-n2"):
            (self.folder / name).mkdir()
        control, first, second = _free_ports(3)
        host = socket.gethostname()
        (self.folder / "slurm.conf").write_text(
            f"""ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={self.folder}/munge.socket
CredType=cred/munge
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool-%n
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd-%n.pid
SlurmctldLogFile={self.folder}/slurmctld.log
SlurmdLogFile={self.folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
JobRequeue=1
MinJobAge=300
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=2 RealMemory=500
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=2 RealMemory=500
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""
        )
