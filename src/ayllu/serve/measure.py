"""How fast engines answer, side by side: each behind its own HTTP server in a process of its own, in turns.

Prompts are random ids, so that nothing is in a cache; answers are greedy. Ours go through the product's own server,
llama.cpp through that of its package xllamacpp, with a file of the same bits, once with one thread and once with as
many as ours: which is faster depends on the machine and on how many ask, and ours is compared with the better of both.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from ayllu.lab.error import UserError
from ayllu.lab.progress import bar
from ayllu.serve.engines.memory import machine_threads

if TYPE_CHECKING:
    from ayllu.text.tokenizer import Tokenizer

USERS = (1, 4, 16)
SHORT, ANSWER, LONG = 64, 128, 1000
"""Ids of a prompt and of an answer; of a prompt whose reading is timed."""
PEER_CONTEXT = 32_768
"""Ids that llama.cpp's cache holds for all users together."""
STARTUP_SECONDS = 300.0
GGUF_TYPES = {4: "Q4_0", 8: "Q8_0", 16: "F16"}
QUALITY_TEXTS, QUALITY_IDS = 16, 256
"""Texts that bits per byte are measured on, and ids of each."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """An engine with so many bits to a weight."""

    name: str
    bits: int | None
    """None: as the files have it."""
    command: tuple[str, ...]
    """Starts its server; `{port}` is where it should listen."""
    peer: bool = False
    """Whether it is llama.cpp's own server, which speaks its own language."""
    threads: int | None = None
    """How many compute, where that was chosen for it."""


@dataclass(kw_only=True)
class Figures:
    """What one contender did in all rounds."""

    decode: list[float] = field(default_factory=list)
    drawn: list[float] = field(default_factory=list)
    """As `decode`, at temperature 1: such text does not repeat itself, so that nothing is easy to propose."""
    prefill: list[float] = field(default_factory=list)
    total: dict[int, list[float]] = field(default_factory=dict)
    first_ms: dict[int, list[float]] = field(default_factory=dict)
    memory_mib: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    bits_per_byte_lost: float | None = None


def contenders(folder: Path, scratch: Path, *, bits: Sequence[int]) -> list[Contender]:
    """The engines that this machine can run the model of `folder` with. `scratch` gets the GGUF files."""
    from ayllu.release.exports.export import export_model

    def ours(engine: str, *more: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "ayllu.cli", "serve", str(folder), "--engine", engine, "--port", "{port}", *more)

    found = []
    for each in bits:
        found.append(Contender(name="native", bits=each, command=ours("native", "--bits", str(each))))
        if importlib.util.find_spec("xllamacpp") is None:
            continue
        out = scratch / str(each)
        export_model(folder, "gguf", out, dtype=GGUF_TYPES[each])  # type: ignore[arg-type]
        file = str(next(out.glob("*.gguf")))
        for threads in sorted({1, machine_threads()}):
            program = f"from ayllu.serve.measure import serve_peer; serve_peer({file!r}, {{port}}, {threads})"
            command = (sys.executable, "-c", program)
            found.append(Contender(name="llama.cpp", bits=each, command=command, peer=True, threads=threads))
    found.append(Contender(name="torch", bits=None, command=ours("torch")))
    return found


def serve_peer(gguf: str, port: int, threads: int) -> None:
    """llama.cpp's own server, until the process is ended: sixteen places, one cache."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = gguf
    settings.port = port
    settings.n_parallel, settings.n_ctx, settings.kv_unified = max(USERS), PEER_CONTEXT, True
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.verbosity = -1
    settings.fit_params = settings.ui = False
    server = xllamacpp.Server(settings)
    threading.Event().wait()
    del server


@dataclass(frozen=True, kw_only=True)
class Said:
    """One answer, timed from the request on."""

    tokens: int
    first: float
    last: float


class Client:
    """Asks a contender's server."""

    def __init__(self, contender: Contender, url: str, vocabulary: int) -> None:
        self._peer, self._vocabulary = contender.peer, vocabulary
        # A connection for each request: llama.cpp's server closes one that it kept, at times under a request.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self._http = httpx2.Client(base_url=url, timeout=httpx2.Timeout(600), trust_env=False, limits=limits)
        self._model = ""

    def ready(self) -> bool:
        """Whether it answers."""
        with contextlib.suppress(httpx2.HTTPError):
            if self._http.get("/health").status_code == 200:
                if not self._peer:
                    self._model = self._http.get("/v1/models").json()["data"][0]["id"]
                return True
        return False

    def ask(self, prompt: int, tokens: int, chance: random.Random, *, temperature: float = 0.0) -> Said:
        """An answer of up to `tokens` to `prompt` random ids."""
        ids = [chance.randrange(self._vocabulary) for _ in range(prompt)]
        drawn = {"temperature": temperature, "seed": 1, "top_p": 1.0}
        if self._peer:
            body: dict[str, Any] = {"prompt": ids, "n_predict": tokens, "ignore_eos": True, **drawn}
            return self._stream("/completion", body | {"stream": True, "cache_prompt": True}, "tokens_predicted")
        body = {"model": self._model, "prompt": ids, "max_tokens": tokens, "stream": True, **drawn}
        return self._stream("/v1/completions", body | {"stream_options": {"include_usage": True}}, "usage")

    def _stream(self, path: str, body: dict[str, Any], counted: str) -> Said:
        began, first, last, count = time.perf_counter(), 0.0, 0.0, 0
        with self._http.stream("POST", path, json=body) as reply:
            if reply.status_code != 200:
                raise UserError(f"a server under test answered {reply.status_code}: {reply.read()[:200]!r}")
            for line in reply.iter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                event = json.loads(line.removeprefix("data: "))
                last = time.perf_counter() - began
                first = first or last
                found = event.get(counted)
                if found:
                    count = found["completion_tokens"] if counted == "usage" else found
        return Said(tokens=count, first=first, last=last)

    def log_probability(self, before: Sequence[int], wanted: int) -> float:
        """Nats of the id `wanted` behind the ids `before`, by llama.cpp's server.

        A bias makes it draw that id; the probability that it tells is the one before the bias.
        """
        body = {"prompt": list(before), "n_predict": 1, "n_probs": 1, "temperature": 0, "cache_prompt": True}
        reply = self._http.post("/completion", json=body | {"logit_bias": [[wanted, 1000.0]]}).json()
        told = reply["completion_probabilities"][0]
        if told["id"] != wanted:
            raise UserError(f"llama.cpp drew the id {told['id']} where {wanted} was wanted: nothing can be compared")
        return float(told["logprob"])

    def close(self) -> None:
        self._http.close()


@contextlib.contextmanager
def running(contender: Contender, vocabulary: int) -> Iterator[tuple[Client, subprocess.Popen[bytes], float]]:
    """Its server, a client, and when the process was started."""
    port = _free_port()
    command = [word.replace("{port}", str(port)) for word in contender.command]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        client = Client(contender, f"http://127.0.0.1:{port}", vocabulary)
        try:
            while not client.ready():
                if process.poll() is not None or time.perf_counter() - began > STARTUP_SECONDS:
                    log.seek(0)
                    told = log.read().decode(errors="replace").strip().splitlines()[-1:]
                    raise UserError(f"the engine {contender.name} does not start: {' '.join(told)}")
                time.sleep(0.02)
            yield client, process, began
        finally:
            client.close()
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
            process.kill()
            process.wait()


def measure(contender: Contender, vocabulary: int, figures: Figures, *, users: Sequence[int], seed: int) -> None:
    """One round of one contender, added to its `figures`."""
    chance = random.Random(seed)
    with running(contender, vocabulary) as (client, process, began):
        client.ask(1, 1, chance)
        figures.start_s.append(time.perf_counter() - began)
        client.ask(SHORT, 8, chance)
        for speeds, temperature in ((figures.decode, 0.0), (figures.drawn, 1.0)):
            said = client.ask(SHORT, ANSWER, chance, temperature=temperature)
            if said.tokens > 1:
                speeds.append((said.tokens - 1) / (said.last - said.first))
        figures.prefill.append(LONG / client.ask(LONG, 1, chance).last)
        for count in users:
            with ThreadPoolExecutor(count) as threads:
                chances = [random.Random(chance.random()) for _ in range(count)]
                start = time.perf_counter()
                answers = list(threads.map(lambda own: client.ask(SHORT, ANSWER, own), chances))
                seconds = time.perf_counter() - start
            figures.total.setdefault(count, []).append(sum(answer.tokens for answer in answers) / seconds)
            figures.first_ms.setdefault(count, []).append(1000 * statistics.median(a.first for a in answers))
        figures.memory_mib.append(memory(process.pid) / 2**20)


def memory(pid: int) -> int:
    """Bytes of the process and its children, memory that several share counted once (PSS)."""
    found = 0
    for process in [pid, *_children(pid)]:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            found += 1024 * next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return found


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        near = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [*near, *(far for child in near for far in _children(child))]
    return []


def bench(folder: Path, *, rounds: int, bits: Sequence[int], users: Sequence[int], seed: int = 0) -> dict[str, Any]:
    """Every engine in turns, `rounds` times: what `ayllu bench serve --json` prints, the raw rounds with it."""
    from ayllu.model.files.hf_config import load_config

    vocabulary = load_config(folder).vocabulary
    with tempfile.TemporaryDirectory() as scratch:
        runners = contenders(folder, Path(scratch), bits=bits)
        found = [Figures() for _ in runners]
        lost = bits_per_byte_lost(folder, runners, Path(scratch))
        with bar("engines", total=rounds * len(runners), unit="runs") as progress:
            for number in range(rounds):
                for contender, figures in zip(runners, found, strict=True):
                    measure(contender, vocabulary, figures, users=users, seed=seed + number)
                    progress.advance(1)
    for contender, figures in zip(runners, found, strict=True):
        figures.bits_per_byte_lost = lost.get((contender.name, contender.bits))
    return report(runners, found, users)


def report(runners: Sequence[Contender], found: Sequence[Figures], users: Sequence[int]) -> dict[str, Any]:
    """Medians of the rounds, one row for each engine, bits and number of users; and ours beside llama.cpp's."""
    rows = [
        {
            "name": contender.name,
            "bits": contender.bits,
            "threads": contender.threads,
            "users": count,
            "decode_tokens_per_second": _median(figures.decode if count == 1 else figures.total[count]),
            "drawn_tokens_per_second": _median(figures.drawn),
            "prefill_tokens_per_second": _median(figures.prefill),
            "time_to_first_token_ms": _median(figures.first_ms[count]),
            "memory_mib": _median(figures.memory_mib),
            "start_s": _median(figures.start_s),
            "bits_per_byte_lost": figures.bits_per_byte_lost,
        }
        for contender, figures in zip(runners, found, strict=True)
        for count in users
    ]
    by_bits: dict[str, dict[str, float | None]] = {}
    threads: dict[str, dict[str, int | None]] = {}
    for ours, figures in zip(runners, found, strict=True):
        peers = {
            one.threads: theirs
            for one, theirs in zip(runners, found, strict=True)
            if one.name == "llama.cpp" and one.bits == ours.bits
        }
        if ours.name == "native" and peers:
            by_bits[str(ours.bits)], threads[str(ours.bits)] = _beside(figures, peers, users)
    rounds = [
        {"name": contender.name, "bits": contender.bits, "threads": contender.threads, **figures.__dict__}
        for contender, figures in zip(runners, found, strict=True)
    ]
    ratio = {} if "8" not in by_bits else {key: by_bits["8"][key] for key in ("decode_1", "prefill_1")}
    if ratio:
        ratio |= {key: value for key, value in by_bits["8"].items() if key.startswith("total_")}
    return {
        "engines": rows,
        "default": "native",
        "ratio_to_llama_cpp": {**ratio, "by_bits": by_bits, "threads_by_bits": threads},
        "rounds": rounds,
        "cores": os.cpu_count(),
    }


def _beside(
    ours: Figures, peers: Mapping[int | None, Figures], users: Sequence[int]
) -> tuple[dict[str, float | None], dict[str, int | None]]:
    """Ours divided by the best of llama.cpp's by number of threads, line by line; and how many threads that had.

    Of what should be small the smallest is the best.
    """
    lines: dict[str, tuple[Callable[[Figures], Sequence[float]], bool]] = {
        "decode_1": (lambda one: one.decode, True),
        "drawn_1": (lambda one: one.drawn, True),
        "prefill_1": (lambda one: one.prefill, True),
        "memory": (lambda one: one.memory_mib, False),
    }
    for count in users:
        if count > 1:
            lines[f"total_{count}"] = (partial(_total, count), True)
            lines[f"ttft_{count}"] = (partial(_first_ms, count), False)
    found: dict[str, float | None] = {}
    threads: dict[str, int | None] = {}
    for key, (of, large) in lines.items():
        known = {number: statistics.median(of(one)) for number, one in peers.items() if of(one)}
        if known:
            threads[key] = (max if large else min)(known, key=lambda number: known[number])
        found[key] = _ratio(of(ours), of(peers[threads[key]])) if known else None
    lost = [one.bits_per_byte_lost for one in peers.values() if one.bits_per_byte_lost is not None]
    found |= {"start_s": _median(ours.start_s), "bits_per_byte_lost": ours.bits_per_byte_lost}
    found["bits_per_byte_lost_llama_cpp"] = min(lost, default=None)
    return found, threads


def _total(count: int, figures: Figures) -> Sequence[float]:
    return figures.total[count]


def _first_ms(count: int, figures: Figures) -> Sequence[float]:
    return figures.first_ms[count]


def _median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 3) if values else None


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    return round(statistics.median(ours) / statistics.median(theirs), 3) if ours and theirs else None


def bits_per_byte_lost(
    folder: Path, runners: Sequence[Contender], scratch: Path
) -> dict[tuple[str, int | None], float]:
    """Bits per byte that rounding costs beside float32, on openings of Wikipedia articles.

    All come from what the engines themselves compute, the rounding of activations with it: the native engine's from its
    own steps, llama.cpp's from its server's log-probabilities.
    """
    from ayllu.data.archive import default_cache
    from ayllu.data.sources.reference import read_boolq
    from ayllu.evals.likelihood.heldout import bits_per_byte
    from ayllu.model.files import hf
    from ayllu.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder)
    texts = []
    for document in read_boolq(default_cache()):
        ids = tokenizer.encode(document.text)[:QUALITY_IDS]
        # llama.cpp's server tells nothing of an id that ends within a character.
        if len(ids) == QUALITY_IDS and document.text.isascii():
            texts.append(tokenizer.decode(ids))
        if len(texts) == QUALITY_TEXTS:
            break
    documents = [("text", text) for text in texts]
    whole = bits_per_byte(hf.load(folder).eval(), tokenizer, documents)["text"].value
    found: dict[tuple[str, int | None], float] = {("torch", None): 0.0}
    for contender in runners:
        if contender.peer and contender.bits is not None and ("llama.cpp", contender.bits) not in found:
            found["llama.cpp", contender.bits] = _peer_bits(contender, tokenizer, texts) - whole
        elif contender.name == "native" and contender.bits is not None:
            found["native", contender.bits] = _native_bits(folder, contender.bits, texts) - whole
    return {key: round(value, 5) for key, value in found.items()}


def _peer_bits(contender: Contender, tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """Bits per byte of texts by the log-probabilities of llama.cpp's own server."""
    nats, size = 0.0, 0
    with running(contender, tokenizer.size) as (client, _, _):
        for text in texts:
            ids = [tokenizer.bos, *tokenizer.encode(text)]
            nats -= sum(client.log_probability(ids[:at], ids[at]) for at in range(1, len(ids)))
            size += len(text.encode())
    return nats / math.log(2) / size


def _native_bits(folder: Path, bits: int, texts: Sequence[str]) -> float:
    """Bits per byte of texts by the native engine's own logits."""
    import numpy as np
    import torch

    from ayllu.model.files.hf_config import load_config
    from ayllu.serve.engines.native.pages import PAGE
    from ayllu.serve.engines.native.scheduler import Row
    from ayllu.serve.engines.native.weights import NativeModel, packed
    from ayllu.text.tokenizer import Tokenizer

    tokenizer, config = Tokenizer.load(folder), load_config(folder)
    longest = 2 * QUALITY_IDS
    model = NativeModel(
        config,
        packed(folder, bits),
        bits,
        context=longest,
        pages=longest // PAGE,
        threads=torch.get_num_threads(),
    )
    pages, nats, size = list(range(longest // PAGE)), 0.0, 0
    for text in texts:
        ids = [tokenizer.bos, *tokenizer.encode(text)]
        rows = [Row(id=token, position=at, pages=pages) for at, token in enumerate(ids[:-1])]
        model.step(rows, range(len(rows)))
        for place, target in enumerate(ids[1:]):
            logits = model.logits(place).astype(np.float64)
            nats += float(np.logaddexp.reduce(logits) - logits[target])
        size += len(text.encode())
    model.close()
    return nats / math.log(2) / size


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
