"""The gateway under load, for `bench/gateway.py --load`: many streams for minutes, and slow readers beside a fast one.

`ayllu serve` in a process of its own. First so many clients of different users stream one answer after the other:
counted are answers, errors and, every second, the memory of the gateway and of its engine. Then one client asks alone,
and again beside others that ask for long answers and read nothing of them.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

WARM = 0.25
"""Part of the time after which memory is looked at: before that caches fill."""
PATIENCE = 120.0
"""Seconds without a byte after which a stream counts as an error."""
FAST = 20
"""Answers of the fast client, alone and beside the slow ones."""


def head_and_body(body: Mapping[str, Any], port: int) -> bytes:
    """A request that ends its connection."""
    data = json.dumps(body).encode()
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + data


def asked(number: int, user: str, tokens: int) -> dict[str, Any]:
    """A chat that differs from the others'."""
    messages = [{"role": "user", "content": f"{number}. Tell me a story about a llama."}]
    return {"messages": messages, "max_tokens": tokens, "stream": True, "seed": number, "user": user}


async def answer(port: int, number: int, user: str, tokens: int) -> str:
    """Stream one answer; gives "" or what was wrong."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        return f"connection: {error.strerror}"
    try:
        writer.write(head_and_body(asked(number, user, tokens), port))
        seen = b""
        while data := await asyncio.wait_for(reader.read(65536), PATIENCE):
            seen += data
    except (OSError, TimeoutError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        writer.close()
    if not seen.startswith(b"HTTP/1.1 200"):
        return seen[:60].decode(errors="replace")
    return "" if b"data: [DONE]" in seen else f"no end: {seen[-80:]!r}"


def memory(pid: int) -> float:
    """MiB that a process holds for itself."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Dirty:", "Anonymous:")):
                return int(line.split()[1]) / 1024
    return 0.0


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """MiB a minute, by least squares, of (seconds, MiB)."""
    if len(samples) < 3:
        return 0.0
    return 60 * statistics.linear_regression([at for at, _ in samples], [value for _, value in samples]).slope


async def load(port: int, pid: int, *, streams: int, minutes: float, tokens: int) -> dict[str, Any]:
    """Many streams at once; see the module."""
    began, errors, done = time.monotonic(), list[str](), 0
    samples: dict[str, list[tuple[float, float]]] = {"gateway": [], "engine": []}
    most = 0

    async def client(number: int) -> None:
        nonlocal done
        turn = 0
        while time.monotonic() - began < 60 * minutes:
            wrong = await answer(port, 1000 * number + turn, f"user {number}", tokens)
            turn += 1
            done += not wrong
            if wrong:
                errors.append(wrong)
                await asyncio.sleep(0.1)

    async def watch() -> None:
        nonlocal most
        while True:
            at = time.monotonic() - began
            samples["gateway"].append((at, memory(pid)))
            samples["engine"].append((at, sum(map(memory, children(pid)))))
            most = max(most, len(list(Path(f"/proc/{pid}/fd").iterdir())))
            await asyncio.sleep(1)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(client(number) for number in range(streams)))
    seconds = time.monotonic() - began
    watching.cancel()
    late = {name: [one for one in some if one[0] > WARM * seconds] for name, some in samples.items()}
    return {
        "streams": streams,
        "minutes": round(seconds / 60, 2),
        "answers": done,
        "errors": len(errors),
        "kinds_of_errors": sorted(set(errors))[:5],
        "open_files_at_most": most,
        "mib_a_minute": {name: round(slope(some), 3) for name, some in late.items()},
        "mib_at_the_end": {name: round(some[-1][1], 1) for name, some in samples.items()},
        "samples": {name: [(round(at), round(value, 2)) for at, value in some] for name, some in samples.items()},
    }


async def slow_and_fast(port: int, *, slow: int, tokens: int) -> dict[str, Any]:
    """The times of a fast client, alone and beside slow ones."""

    async def fast() -> tuple[list[float], int]:
        seconds, wrong = [], 0
        for number in range(FAST):
            began = time.monotonic()
            wrong += bool(await answer(port, number, "fast", tokens))
            seconds.append(time.monotonic() - began)
        return seconds, wrong

    alone, wrong_alone = await fast()
    writers = []
    for number in range(slow):
        # A reader with a small buffer that is never emptied: the server soon cannot write more.
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=2)
        writer.write(head_and_body(asked(number, f"slow {number}", 2000), port))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writers.append(writer)
    await asyncio.sleep(2)
    beside, wrong_beside = await fast()
    for writer in writers:
        writer.close()
    return {
        "slow": slow,
        "answers": FAST,
        "errors": wrong_alone + wrong_beside,
        "alone_median_s": round(statistics.median(alone), 3),
        "beside_median_s": round(statistics.median(beside), 3),
        "beside_longest_s": round(max(beside), 3),
    }


def table(found: Mapping[str, Any]) -> str:
    """What came, as a Markdown table."""
    one, two = found["load"], found["slow"]
    growth = one["mib_a_minute"]
    rows = [
        f"| {one['streams']} streams at once for {one['minutes']:.1f} minutes | {one['answers']:,} answers, "
        f"{one['errors']} errors; memory of the gateway {growth['gateway']:+.2f} MiB a minute, of the engine's process "
        f"{growth['engine']:+.2f} |",
        f"| one client beside {two['slow']} that read nothing | {two['answers']} answers, {two['errors']} errors; "
        f"median {two['beside_median_s']:.2f} s, longest {two['beside_longest_s']:.2f} s; "
        f"alone {two['alone_median_s']:.2f} s |",
    ]
    return "\n".join(["| load | what came |", "|---|---|", *rows])


def run(
    model: Path, *, engine: str, streams: int, minutes: float, tokens: int, slow: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All of it: the figures, and the samples of memory."""
    command = [sys.executable, "-m", "ayllu.cli", "serve", str(model), "--port", "0", "--engine", engine]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            while not (at := re.search(r"http://127\.0\.0\.1:(\d+)", line := process.stderr.readline())):
                if not line:
                    raise SystemExit("the server has ended")
            port = int(at[1])
            loaded = asyncio.run(load(port, process.pid, streams=streams, minutes=minutes, tokens=tokens))
            slowed = asyncio.run(slow_and_fast(port, slow=slow, tokens=tokens))
        finally:
            process.kill()
    samples = loaded.pop("samples")
    return {"engine": engine, "tokens": tokens, "load": loaded, "slow": slowed}, samples
