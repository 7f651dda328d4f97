"""An hour in the small: broken network, dead recogniser, killed server, in one session of the simulated device."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ayllu.device.simulated.endure import endure, memory, serving

if TYPE_CHECKING:
    from ayllu.device.parts import Parts


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.slow
def test_nothing_sticks_and_nothing_acknowledged_is_lost_whatever_breaks(parts: Parts, tmp_path: Path) -> None:
    with serving(free_port(), tmp_path) as server:
        found = asyncio.run(endure(server, parts.voice, seconds=500, turns=12, dead=5, kills=(6, 12)))
    told = (found, (tmp_path / "server.log").read_text()[-3000:])
    assert found["unanswered"] == 0 and found["lost"] == [], told
    assert found["died"] == 0 and len(found["turns"]) == 12 and found["killed"] == 2, told
    assert found["dropped"] == 3 and found["connections"] >= 4, told
    assert found["asked_again"] >= 1, told  # the dead recogniser at least
    assert found["acknowledged"] >= 20, told
    assert {turn["status"] for turn in found["turns"]} <= {"completed", "cancelled", "cut"}, told


def test_the_slope_of_memory_is_that_of_the_longest_life() -> None:
    short = [(float(at), 100.0 + at) for at in range(120, 130)]
    long = [(float(at), 500.0 + 0.01 * at + 0.2 * (-1) ** at) for at in range(0, 720, 5)]
    found = memory([short, long])
    assert found["mib_per_hour"] == pytest.approx(36.0, abs=2.0) and 0 < found["standard_error"] < 2
    assert found["points"] == 120 and memory([short[:3]])["mib_per_hour"] is None
