"""What the gateway adds to the engine: the same answers through it and through a server of 30 lines, in turns.

    python bench/gateway.py --model FOLDER [--engine auto] [--rounds 5] [--answers 32] [--tokens 64] [--keep]
    python bench/gateway.py --model FOLDER --load 10 [--streams 200] [--others 300] [--tokens 16] [--keep]

Both stand in processes of their own before the same engine and answer the same prompts of the same client, so that the
client and the sockets are counted on both sides. With 1 and with 16 users: the first token and the whole answer at the
median and the 99th percentile, and tokens per second of all users together. Prints one JSON object, and keeps a
record of it. With `--load` so many minutes of what `serving/load.py` does in its place.
"""

from __future__ import annotations

import argparse
import itertools
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
from keep import keep
from serving import load

USERS = (1, 16)
QUESTION = "Tell me a story about a llama that wants to see the sea."
SIDES = ("bare", "gateway")


def serve_bare(folder: Path, engine: str) -> None:
    """The engine behind as little as a stream needs: no queue, no checks, no counting."""
    from ayllu.model.sampling import Sampling
    from ayllu.serve.engines.choose import open_engine
    from ayllu.serve.engines.engine import GenerationRequest
    from ayllu.text.chat import Message, render

    opened = open_engine(folder, engine, convert=True)
    places = threading.Semaphore(opened.parallel)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt = render([Message(role="user", content=body["messages"][0]["content"])], opened.tokenizer)
            sampling = Sampling(temperature=body["temperature"], seed=body["seed"])
            request = GenerationRequest(prompt=prompt, max_tokens=body["max_tokens"], sampling=sampling)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            written = 0
            with places:
                for chunk in opened.generate(request, threading.Event()):
                    written += chunk.tokens
                    if chunk.text:
                        delta = {"choices": [{"index": 0, "delta": {"content": chunk.text}, "finish_reason": None}]}
                        self.wfile.write(f"data: {json.dumps(delta)}\n\n".encode())
                        self.wfile.flush()
            last = {"choices": [], "usage": {"completion_tokens": written}}
            self.wfile.write(f"data: {json.dumps(last)}\n\n".encode())

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    print(f"served on http://127.0.0.1:{server.server_address[1]}", file=sys.stderr, flush=True)
    server.serve_forever()


def serve_gateway(folder: Path, engine: str) -> None:
    """`ayllu serve`, as anybody runs it."""
    from ayllu.serve.server import serve_model

    serve_model(folder, port=0, engine=engine)


@contextmanager
def running(side: str, folder: Path, engine: str) -> Iterator[str]:
    """A side in a process of its own; gives its address."""
    command = [sys.executable, __file__, "--model", str(folder), "--engine", engine, "--side", side]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if "http://" in line:
                    yield "http://" + line.split("http://")[1].split()[0]
                    break
        finally:
            process.kill()


def answers(address: str, users: int, count: int, tokens: int) -> tuple[list[tuple[float, float, int]], float]:
    """Seconds to the first token and to the end, and tokens, of `count` answers; and seconds of all together."""
    numbers: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(count):
        numbers.put(number)

    def user(name: int) -> list[tuple[float, float, int]]:
        taken = []
        with httpx2.Client(base_url=address, timeout=600) as client:
            while True:
                try:
                    number = numbers.get_nowait()
                except queue.Empty:
                    return taken
                taken.append(answer(client, number, tokens, user=str(name)))

    began = time.perf_counter()
    with ThreadPoolExecutor(users) as pool:
        each = list(pool.map(user, range(users)))
    return list(itertools.chain.from_iterable(each)), time.perf_counter() - began


def answer(client: httpx2.Client, number: int, tokens: int, *, user: str) -> tuple[float, float, int]:
    """One answer; every number has its own prompt, the same on both sides."""
    body = {"messages": [{"role": "user", "content": f"{number}. {QUESTION}"}], "max_tokens": tokens}
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    body |= {"temperature": 1.0, "seed": number, "user": user}
    began, first, written = time.perf_counter(), 0.0, 0
    with client.stream("POST", "/v1/chat/completions", json=body) as reply:
        reply.raise_for_status()
        for line in reply.iter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            if event["choices"] and event["choices"][0]["delta"].get("content"):
                first = first or time.perf_counter() - began
            if usage := event.get("usage"):
                written = usage["completion_tokens"]
    return first, time.perf_counter() - began, written


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which `part` of the others are."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def figures(rounds: Mapping[str, list[Any]]) -> dict[str, Any]:
    """By number of users: each side's quantiles in milliseconds, what the gateway adds, and its throughput."""
    found: dict[str, Any] = {}
    for users in USERS:
        sides: dict[str, dict[str, float]] = {}
        for side in SIDES:
            taken = [one for some, _ in rounds[f"{side} {users}"] for one in some]
            seconds = sum(seconds for _, seconds in rounds[f"{side} {users}"])
            sides[side] = {
                f"{name}_p{round(100 * part)}_ms": round(1000 * quantile([one[i] for one in taken], part), 2)
                for i, name in enumerate(("first_token", "answer"))
                for part in (0.5, 0.99)
            }
            sides[side]["tokens_per_second"] = round(sum(one[2] for one in taken) / seconds, 1)
        added = {
            name: round(sides["gateway"][name] - value, 2)
            for name, value in sides["bare"].items()
            if name.endswith("ms")
        }
        share = sides["gateway"]["tokens_per_second"] / sides["bare"]["tokens_per_second"]
        found[str(users)] = {**sides, "added": added, "throughput_ratio": round(share, 3)}
    return found


def table(found: Mapping[str, Any]) -> str:
    """What the gateway adds, as a Markdown table."""
    head = [
        "| users | first token, added p50 / p99, ms | answer, added p50 / p99, ms | throughput, of the bare engine's |"
    ]
    rows = []
    for users, one in found["users"].items():
        added = one["added"]
        first = f"{added['first_token_p50_ms']:.1f} / {added['first_token_p99_ms']:.1f}"
        whole = f"{added['answer_p50_ms']:.1f} / {added['answer_p99_ms']:.1f}"
        rows.append(f"| {users} | {first} | {whole} | {one['throughput_ratio']:.3f} |")
    return "\n".join([*head, "|---|---|---|---|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a release or of weights")
    parser.add_argument("--engine", default="auto")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds of each side in turns, after one that is not counted"
    )
    parser.add_argument("--answers", type=int, default=32, help="answers in a round")
    parser.add_argument("--tokens", type=int, default=64, help="longest answer")
    parser.add_argument("--keep", action="store_true", help="write bench/records/gateway.json")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--load", type=float, help="minutes of many streams, in place of the comparison")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--others", type=int, default=300, help="clients that one is beside")
    given = parser.parse_args()
    if given.load:
        loaded, samples = load.run(
            given.model,
            engine=given.engine,
            streams=given.streams,
            minutes=given.load,
            tokens=given.tokens,
            others=given.others,
        )
        if given.keep:
            keep("serving/gateway_load", loaded, rounds=samples)
        print(json.dumps(loaded, indent=2))
        return
    if given.side:
        {"bare": serve_bare, "gateway": serve_gateway}[given.side](given.model, given.engine)
        return
    rounds: dict[str, list[Any]] = {f"{side} {users}": [] for side in SIDES for users in USERS}
    with running("bare", given.model, given.engine) as bare, running("gateway", given.model, given.engine) as gateway:
        addresses = {"bare": bare, "gateway": gateway}
        for turn in range(given.rounds + 1):
            for users in USERS:
                for side in SIDES if turn % 2 else reversed(SIDES):
                    taken = answers(addresses[side], users, given.answers, given.tokens)
                    if turn:
                        rounds[f"{side} {users}"].append(taken)
    found = {"engine": given.engine, "answers": given.answers, "tokens": given.tokens, "users": figures(rounds)}
    if given.keep:
        keep("gateway", found, rounds=rounds)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
