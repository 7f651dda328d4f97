"""llama.cpp as an engine: the release's GGUF file, several answers at a time, prompts read once."""

from __future__ import annotations

import json
import math
import secrets
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2

from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig
from ayllu.serve.engines.accepts import Accepts
from ayllu.serve.engines.decode import StopScanner
from ayllu.serve.engines.engine import (
    LONGEST_CONTEXT,
    FinishReason,
    GenerationRequest,
    TextChunk,
    load_tokenizer_and_config,
    max_new_tokens,
)
from ayllu.serve.engines.memory import machine_memory, machine_threads, parallel_answers
from ayllu.serve.engines.sse import events
from ayllu.serve.grammar import NEWER, WHITESPACE, Follower

MOST_PARALLEL = 8
MEMORY_SHARE = 8
"""Keys and values of all answers under way may take one part in so many of the machine's memory."""
PROMPTS_SHARE = 16
"""And what is kept of prompts and answers for later ones, so that their beginnings need not be read again."""
MOST_PROMPTS_MIB = 8192
"""llama.cpp's own limit, which is more than many machines have."""
PIECE = 256
"""Tokens of prompts that are read before those who are answered have their next token."""
SAMPLERS = ("penalties", "temperature", "top_k", "top_p", "min_p")
"""Ours, in our order; llama.cpp's own default has more."""
UNABLE = ("presence_penalty", "frequency_penalty", "logprobs")
"""Its two penalties count the prompt too, and its log-probabilities leave out all but the last token of a character."""
PREFIX = "%llguidance {}\n"
"""What tells llama.cpp that a grammar is one of llguidance."""
REPEATED = r"[ \\n\\t]+"
"""The spaces that it lets through: it takes `WHITESPACE` again and again."""


class LlamaCppEngine:
    """The C++ server of the package xllamacpp, in this process, on a loopback port to which only we have the key.

    `limits` says in words what it may take of the machine's memory.
    """

    def __init__(self, folder: Path, gguf: Path, *, adapters: Mapping[str, Path] | None = None) -> None:
        import xllamacpp

        self.tokenizer, config = load_tokenizer_and_config(folder)
        self._adapters = {name: number for number, name in enumerate(adapters or {})}
        self.context = min(config.context, LONGEST_CONTEXT)
        self.parameters = config.parameters
        self.accepts = Accepts(
            engine="llama.cpp",
            context=self.context,
            vocabulary=config.vocabulary,
            adapters=list(self._adapters),
            unable=UNABLE,
            special_in_grammars=False,
        )
        memory = machine_memory()
        bytes_each = 2 * 2 * self.context * config.layers * config.kv_heads * config.head_width
        self.parallel = parallel_answers(MOST_PARALLEL, bytes_each=bytes_each, memory=memory, share=MEMORY_SHARE)
        kept_mib = min(MOST_PROMPTS_MIB, memory // PROMPTS_SHARE >> 20)
        self.limits = (
            f"{self.parallel} answers side by side take {self.parallel * bytes_each >> 20:,} MiB of memory, and what "
            f"is kept of earlier prompts at most {kept_mib:,} MiB"
        )
        settings = xllamacpp.CommonParams()
        settings.model.path = str(gguf)
        settings.n_ctx, settings.n_parallel = self.context * self.parallel, self.parallel
        settings.cache_ram_mib = kept_mib
        settings.n_batch = settings.n_ubatch = PIECE
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = machine_threads()
        settings.verbosity = -1
        settings.fit_params = settings.warmup = settings.ui = settings.endpoint_slots = False
        key = secrets.token_urlsafe(32)
        settings.api_keys = [key]
        with tempfile.TemporaryDirectory(prefix="ayllu-") as scratch:
            # Read whole at the start, and put on where a request says so.
            settings.lora_init_without_apply = True
            settings.lora_adapters = [
                xllamacpp.CommonAdapterLoraInfo(str(file), 1.0)
                for file in _written(Path(scratch), adapters or {}, config)
            ]
            try:
                self._server = xllamacpp.Server(settings)
            except RuntimeError as error:
                raise UserError(
                    f"llama.cpp cannot read {gguf} ({error}); serve the folder with the engine torch"
                ) from error
        self._client = httpx2.Client(
            base_url=self._server.listening_address,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx2.Timeout(10, read=None),
            trust_env=False,
        )

    def check(self, request: GenerationRequest) -> None:
        self.accepts.check(request)

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        self.check(request)
        most = max_new_tokens(request, self.context)
        if not most:
            yield TextChunk(text="", finish_reason="length")
            return
        scanner = StopScanner(request.stop)
        kept = Kept(request.grammar) if request.grammar is not None else None
        count, started = 0, False
        # Leaving this block hangs up, and llama.cpp stops computing.
        with self._client.stream("POST", "/completion", json=self._body(request, most)) as reply:
            for event in _events(reply):
                if cancelled.is_set():
                    return
                if "prompt_progress" in event:
                    yield TextChunk(text="", cached=0 if started else event["prompt_progress"]["cache"])
                    started = True
                    continue
                fresh, count = event["tokens_predicted"] - count, event["tokens_predicted"]
                finish: FinishReason | None = None
                if event["stop"]:
                    finish = "length" if event["stop_type"] == "limit" else "stop"
                # llama.cpp knows of some stops only; all that the model's own files name are ours to see.
                tokens = event.get("tokens", ())
                ended = not self.tokenizer.stops.isdisjoint(tokens)
                said = event["content"] + "".join(
                    self.tokenizer.token(token) for token in tokens if token in request.shown
                )
                if kept is not None:
                    kept.check("" if ended else said, end=ended or event.get("stop_type") == "eos")
                shown, stopped = ("", False) if ended else scanner.push(said)
                if stopped or ended:
                    finish = "stop"
                if finish is not None and not stopped:
                    shown += scanner.flush()
                yield TextChunk(text=shown, tokens=0 if ended else fresh, finish_reason=finish)
                if finish is not None:
                    return

    def close(self) -> None:
        self._client.close()
        del self._server

    def _body(self, request: GenerationRequest, most: int) -> dict[str, Any]:
        sampling = request.sampling
        bias = [[token, value if value > -math.inf else False] for token, value in sampling.logit_bias.items()]
        return {
            "grammar": "" if request.grammar is None else f"{PREFIX}{_older(request.grammar)}",
            "logit_bias": bias,
            # Each is named: an empty list means those that the server began with.
            "lora": [{"id": i, "scale": float(name == request.adapter)} for name, i in self._adapters.items()],
            "min_p": sampling.min_p,
            "prompt": list(request.prompt),
            "n_predict": most,
            "stream": True,
            # An event for each piece of the prompt that was read, so that a caller who left is noticed there.
            "return_progress": True,
            "return_tokens": True,
            "cache_prompt": True,
            "samplers": SAMPLERS,
            "temperature": 0.0 if sampling.greedy else sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "repeat_penalty": sampling.repetition_penalty,
            "repeat_last_n": self.context,
            # Its seeds have 32 bits, all of them set meaning a random one.
            "seed": -1 if sampling.seed is None else sampling.seed % (2**32 - 1),
        }


def _written(scratch: Path, adapters: Mapping[str, Path], config: ModelConfig) -> list[Path]:
    """A GGUF file for each adapter."""
    if not adapters:
        return []
    from ayllu.model.files.peft import write_gguf  # torch takes seconds, and is needed for this alone
    from ayllu.serve.engines.adapters import read_adapters

    files = []
    for number, adapter in enumerate(read_adapters(adapters, config).values()):
        files.append(scratch / f"{number}.gguf")
        write_gguf(files[-1], adapter, config)
    return files


class Kept:
    """Sees to it that an answer keeps to its grammar: llama.cpp goes on without one that it does not understand."""

    def __init__(self, grammar: str) -> None:
        spaces = json.dumps(WHITESPACE)[1:-1]
        self._follower = Follower(grammar.replace(spaces, REPEATED))

    def check(self, text: str, *, end: bool) -> None:
        """RuntimeError where `text` may not follow, or the answer not `end` behind it."""
        if not self._follower.push(text) or (end and not self._follower.complete):
            raise RuntimeError(
                "llama.cpp left the grammar of the answer; serve the model with the engine native or torch"
            )


def _older(grammar: str) -> str:
    """The same for the older llguidance in llama.cpp: without what it does not know, which `Kept` sees to."""
    return grammar.replace(NEWER, "")


def _events(reply: httpx2.Response) -> Iterator[dict[str, Any]]:
    if reply.status_code != 200:
        raise RuntimeError(f"llama.cpp answered {reply.status_code}: {reply.read().decode(errors='replace')}")
    yield from events(reply.iter_bytes())
