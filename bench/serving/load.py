"""The gateway under load, for `bench/gateway.py --load`: many streams for minutes, and one client beside many others.

`ayllu serve` in a process of its own. First so many clients of different users stream one answer after the other:
counted are answers, errors and, every second, the memory of the gateway and of its engine. Then one client asks alone,
beside others that read long answers, and beside as many that read nothing of theirs: what those cost that do not read.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

WARM = 0.25
"""Part of the time after which memory is looked at: before that caches fill."""
PATIENCE = 600.0
"""Seconds without a byte after which a stream counts as an error: what OpenAI's client waits unless told otherwise."""
FAST, FAST_TOKENS = 12, 8
"""Answers of the one client each time, and the tokens of each: beside 300 it has one three-hundredth of the machine."""
FULL = {"logprobs": True, "top_logprobs": 20}
"""What makes a kilobyte of a token, so that buffers are full within minutes."""
SMALL_BUFFER = 4096
"""Bytes that the kernel holds for one of the others: who reads nothing is soon sent nothing."""
SETTLE = 5.0
"""Seconds until the others have begun, and until they are gone."""
BESIDE = {"alone": "alone", "reading": "beside {} that read", "silent": "beside {} that read nothing"}


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


def asked(number: int, user: str, tokens: int, **more: Any) -> dict[str, Any]:
    """A chat that differs from the others'."""
    messages = [{"role": "user", "content": f"{number}. Tell me a story about a llama."}]
    return {"messages": messages, "max_tokens": tokens, "stream": True, "seed": number, "user": user, **more}


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


async def one_beside_others(port: int, *, others: int) -> dict[str, Any]:
    """The times of a client alone, beside others that read their long answers, and beside as many that read nothing."""
    found: dict[str, Any] = {"others": others, "answers": FAST}
    for name, count, reading in (("alone", 0, True), ("reading", others, True), ("silent", others, False)):
        async with _company(port, count, reading=reading):
            seconds, wrong = [], 0
            for number in range(FAST):
                began = time.monotonic()
                wrong += bool(await answer(port, number, f"fast {name}", FAST_TOKENS))
                seconds.append(time.monotonic() - began)
        kinds = {"errors": wrong, "median_s": statistics.median(seconds), "longest_s": max(seconds)}
        found[name] = {kind: round(value, 3) for kind, value in kinds.items()}
        await asyncio.sleep(SETTLE)
    return found


@asynccontextmanager
async def _company(port: int, count: int, *, reading: bool) -> AsyncGenerator[None]:
    """So many others that ask for long answers with alternatives, each with a small buffer; they go with the block."""
    streams = []
    for number in range(count):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        connection.connect(("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=2)
        writer.write(head_and_body(asked(number, f"other {number}", 2000, **FULL), port))
        if not reading:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        streams.append((reader, writer))
    readers = [asyncio.create_task(_drain(reader)) for reader, _ in streams if reading]
    await asyncio.sleep(SETTLE)
    try:
        yield
    finally:
        for task in readers:
            task.cancel()
        for _, writer in streams:
            writer.close()


async def _drain(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(65536):
            pass


def table(found: Mapping[str, Any]) -> str:
    """What came, as a Markdown table."""
    many, two = found["load"], found["beside"]
    growth = many["mib_a_minute"]
    rows = [
        f"| {many['streams']} streams for {many['minutes']:.1f} minutes | {many['answers']:,} answers, "
        f"{many['errors']} errors; memory of the gateway {growth['gateway']:+.2f} MiB a minute, of the engine's "
        f"process {growth['engine']:+.2f} |",
        *(
            f"| {FAST_TOKENS} tokens for one client, {words.format(two['others'])} | {two['answers']} answers, "
            f"{one['errors']} errors; median {one['median_s']:.2f} s, longest {one['longest_s']:.2f} s |"
            for one, words in ((two[name], words) for name, words in BESIDE.items())
        ),
    ]
    return "\n".join(["| load | what came |", "|---|---|", *rows])


def run(
    model: Path, *, engine: str, streams: int, minutes: float, tokens: int, others: int
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
            beside = asyncio.run(one_beside_others(port, others=others))
        finally:
            process.kill()
    samples = loaded.pop("samples")
    return {"engine": engine, "tokens": tokens, "load": loaded, "beside": beside}, samples
