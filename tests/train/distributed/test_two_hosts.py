"""Two hosts with addresses of their own, made of network namespaces, train one model through torchrun's rendezvous."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.parts import need
from support.programs import PROGRAMS

PROGRAM = PROGRAMS / "chaos.py"
HOSTS = {"ayllu-a": "10.213.77.1", "ayllu-b": "10.213.77.2"}


def ip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30)


def need_namespaces() -> None:
    need(shutil.which("ip"), "ip is not installed (Debian: iproute2)")
    need(os.geteuid() == 0, "network namespaces need root")
    probe = ip("netns", "add", "ayllu-probe")
    ip("netns", "del", "ayllu-probe")
    need(probe.returncode == 0, f"network namespaces are not allowed here: {probe.stderr.strip()}")


@pytest.fixture
def hosts() -> Iterator[dict[str, str]]:
    need_namespaces()
    first, second = HOSTS
    try:
        for host in HOSTS:
            assert ip("netns", "add", host).returncode == 0
        link = ip("link", "add", "eth-a", "netns", first, "type", "veth", "peer", "name", "eth-b", "netns", second)
        need(link.returncode == 0, f"hosts cannot be linked here: {link.stderr.strip()}")
        for (host, address), device in zip(HOSTS.items(), ("eth-a", "eth-b"), strict=True):
            for words in (("addr", "add", f"{address}/24", "dev", device), ("link", "set", device, "up")):
                assert ip("-n", host, *words).returncode == 0
            assert ip("-n", host, "link", "set", "lo", "up").returncode == 0
        yield HOSTS
    finally:
        for host in HOSTS:
            ip("netns", "del", host)


def test_two_hosts_train_one_model(hosts: dict[str, str], tmp_path: Path) -> None:
    first = next(iter(hosts.values()))
    launcher = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d"]
    launcher += [f"--rdzv-endpoint={first}:29711", "--rdzv-id=two-hosts"]
    processes = []
    for (host, address), device in zip(hosts.items(), ("eth-a", "eth-b"), strict=True):
        # The names of this machine do not lead to the addresses of its namespaces: the first host is told.
        command = [sys.executable, *launcher, f"--local-addr={address}", f"--rdzv-conf=is_host={int(address == first)}"]
        command += [str(PROGRAM), str(tmp_path / f"tokens-{host}"), str(tmp_path), "dp_shard=2", "steps=30"]
        with (tmp_path / f"{host}.log").open("wb") as log:
            processes.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", host, *command],
                    stdout=log,
                    stderr=log,
                    env=os.environ | {"GLOO_SOCKET_IFNAME": device},
                )
            )
    for process in processes:
        assert process.wait(timeout=240) == 0, "\n".join(p.read_text()[-1500:] for p in tmp_path.glob("*.log"))
    losses = json.loads((tmp_path / "losses.json").read_text())
    assert len(losses) == 30
    assert losses[-1] < losses[0]
