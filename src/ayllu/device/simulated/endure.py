"""A long session of the simulated device with faults on purpose: broken network, dead recogniser, killed server."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ayllu.device.bench.turns import SENTENCES
from ayllu.device.parts import Voice
from ayllu.device.simulated.mortal import HANG
from ayllu.device.simulated.play import Player
from ayllu.device.simulated.script import Script, Step
from ayllu.lab.error import UserError

DROP, DEAD = 4, 7
"""After so many turns the network breaks, and the recogniser is dead, or every other time hangs, for one turn."""
KILLS = (15, 30)
"""After these turns the server is killed; the last life is long enough to say how its memory grows."""
SETTLED = 120.0
"""Seconds of a server's life before its memory counts: until then its models meet sound of new lengths."""
STARTING = 180
"""Seconds."""
PAUSES = ("wind", "walking", "room")


@dataclass
class Server:
    """A server in a process of its own, which can be killed and comes again on the same port."""

    port: int
    folder: Path
    killed: int = 0
    died: int = 0
    """Lives that ended without being killed."""
    lives: list[list[tuple[float, float]]] = field(default_factory=list)
    """For each life seconds since its start and resident MiB."""
    _process: subprocess.Popen[bytes] | None = None
    _since: float = 0.0

    @property
    def dead(self) -> Path:
        """While this file exists the recognisers fail, or hang where it says so."""
        return self.folder / "dead"

    def start(self) -> None:
        """Start a life."""
        words = [str(self.port), str(self.dead), str(self.folder)]
        command = [sys.executable, "-m", "ayllu.device.simulated.mortal", *words]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._since = time.monotonic()
        self.lives.append([])

    def wait(self) -> None:
        """Until it can be reached. Raises UserError where it cannot."""
        assert self._process is not None
        for _ in range(STARTING * 5):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.2)
        raise UserError(f"the server does not come up: see {self.folder / 'server.log'}")

    def kill(self) -> None:
        """SIGKILL, and a new life."""
        self.stop()
        self.killed += 1
        self.start()

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def look(self) -> None:
        """Note its memory."""
        assert self._process is not None
        if self._process.poll() is not None:
            self.died += 1
            self.start()
            return
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        kilobytes = next((line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")), "0")
        self.lives[-1].append((round(time.monotonic() - self._since, 1), round(int(kilobytes) / 1024, 1)))


@contextmanager
def serving(port: int, folder: Path) -> Iterator[Server]:
    """A server until the end of the block."""
    server = Server(port, folder)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def script(turns: int, *, drop: int = DROP) -> Script:
    """What the wearer does: the sentences again and again, in changing noise, and a network that breaks."""
    steps: list[Step] = []
    for turn in range(turns):
        steps.append(
            Step(
                say=SENTENCES[turn % len(SENTENCES)].replace("… ", ""),
                noise=PAUSES[turn % len(PAUSES)],  # type: ignore[arg-type]
                interrupt=0.3 if turn % 6 == 5 else None,
            )
        )
        if turn % drop == drop - 1:
            steps.append(Step(network="drop"))
    return Script(snr=20.0, steps=steps)


async def endure(
    server: Server, voice: Voice, *, seconds: float, turns: int = 5000, dead: int = DEAD, kills: Sequence[int] = KILLS
) -> dict[str, Any]:
    """Play until the time is over or all turns were played; the report of the session, and memory."""
    player = Player(script(turns), f"ws://127.0.0.1:{server.port}/v1/realtime", voice)
    until = time.monotonic() + seconds

    def after(step: int) -> None:
        server.look()
        spoken = len(player.turns)
        if player.script.steps[step - 1].say is None:
            return
        server.dead.unlink(missing_ok=True)
        if spoken % dead == 0:
            server.dead.write_text(HANG if spoken // dead % 2 == 0 else "")
        if spoken in kills:
            server.kill()

    def mend(turn: int) -> None:
        server.dead.unlink(missing_ok=True)

    player.failed = mend
    found = await player.play(after, enough=lambda: time.monotonic() > until)
    found["memory"] = memory(server.lives)
    found |= {"killed": server.killed, "died": server.died}
    return found


def memory(lives: list[list[tuple[float, float]]]) -> dict[str, Any]:
    """MiB an hour by least squares over the longest life, with its standard error; None where it was too short."""
    longest = max(lives, key=len, default=[])
    points = [(at, size) for at, size in longest if at >= SETTLED]
    told: dict[str, Any] = {"points": len(points), "mib_per_hour": None, "standard_error": None}
    if len(points) >= 10:
        at, size = (np.array(column) for column in zip(*points, strict=True))
        centred = at - at.mean()
        slope = float((centred * size).sum() / (centred**2).sum())
        rest = size - size.mean() - slope * centred
        error = float(np.sqrt((rest**2).sum() / (len(points) - 2) / (centred**2).sum()))
        told |= {"mib_per_hour": round(3600 * slope, 1), "standard_error": round(3600 * error, 1)}
        told |= {"first": float(size[0]), "last": float(size[-1]), "seconds": float(at[-1] - at[0])}
    return told
