"""A long session of the simulated device with faults on purpose, and what became of it.

    python bench/glasses/session.py [--minutes 60] [--keep]

Plays turns in wind, steps and a room in real time against a server in a process of its own. After every fourth turn
the network breaks without a word, in every seventh the recognisers are dead or hang by turns, after the 15th and 30th
the server is killed and comes again. Prints one JSON object: turns, how many were asked again, what was lost of what
was acknowledged, and the memory of the longest-lived server in MiB an hour with its standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep

from ayllu.data.archive import default_cache
from ayllu.device.simulated.endure import endure, serving
from ayllu.device.speak.piper import Piper


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    memory = figures["memory"]
    rows = {
        "minutes, turns": f"{figures['minutes']:.0f}, {figures['turns']}",
        "turns without an answer": figures["unanswered"],
        "turns asked again after a break": figures["asked_again"],
        "connections dropped, servers killed": f"{figures['dropped']}, {figures['killed']}",
        "acknowledged items, of these lost": f"{figures['acknowledged']}, {len(figures['lost'])}",
        "end of speech to answer, median": f"{figures['answer_after_ms']['p50']:,.0f} ms",
        "word error rate": f"{100 * figures['word_error_rate']:.1f} %",
        "memory of a server's life": (
            f"{memory['first']:,.0f} to {memory['last']:,.0f} MiB within {memory['seconds']:.0f} s"
        ),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    voice = Piper(default_cache(), threads=1)
    with tempfile.TemporaryDirectory() as folder, serving(free_port(), Path(folder)) as server:
        found = asyncio.run(endure(server, voice, seconds=60 * given.minutes))
    turns = found.pop("turns")
    figures = {"minutes": given.minutes, "turns": len(turns), **found, "problems": sorted(set(found["problems"]))}
    print(json.dumps(figures, indent=1))
    if given.keep:
        rounds = [{name: turn[name] for name in ("status", "after_ms", "asked_again")} for turn in turns]
        keep("glasses/session", figures, rounds={"turns": rounds, "memory": server.lives}, seed=0)


if __name__ == "__main__":
    main()
