"""llama.cpp as an engine: the release's GGUF file, several answers at a time, prompts read once."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

from ayllu.lab.error import UserError
from ayllu.serve.engines.decode import StopScanner
from ayllu.serve.engines.engine import (
    LONGEST_CONTEXT,
    FinishReason,
    GenerationRequest,
    TextChunk,
    load_tokenizer_and_config,
    max_new_tokens,
)

MOST_PARALLEL = 4
CACHED_TOKENS = 16_384
"""Tokens whose keys and values all answers under way can have together."""
SAMPLERS = ("penalties", "temperature", "top_k", "top_p")
"""Ours, in our order; llama.cpp's own default has more."""


class LlamaCppEngine:
    """The C++ server of the package xllamacpp, in this process, on a loopback port to which only we have the key."""

    def __init__(self, folder: Path, gguf: Path) -> None:
        import torch
        import xllamacpp

        self.tokenizer, config = load_tokenizer_and_config(folder)
        self.context = min(config.context, LONGEST_CONTEXT)
        self.parameters = config.parameters
        self.parallel = max(1, min(MOST_PARALLEL, CACHED_TOKENS // self.context))
        settings = xllamacpp.CommonParams()
        settings.model.path = str(gguf)
        settings.n_ctx, settings.n_parallel = self.context * self.parallel, self.parallel
        # As many threads as torch would take: one place to say it (OMP_NUM_THREADS, torch.set_num_threads).
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = torch.get_num_threads()
        settings.verbosity = -1
        settings.fit_params = settings.warmup = settings.ui = settings.endpoint_slots = False
        key = secrets.token_urlsafe(32)
        settings.api_keys = [key]
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

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        most = max_new_tokens(request, self.context)
        if not most:
            yield TextChunk(text="", finish_reason="length")
            return
        scanner = StopScanner(request.stop)
        count = 0
        # Leaving this block hangs up, and llama.cpp stops computing.
        with self._client.stream("POST", "/completion", json=self._body(request, most)) as reply:
            for event in _events(reply):
                if cancelled.is_set():
                    return
                fresh, count = event["tokens_predicted"] - count, event["tokens_predicted"]
                shown, stopped = scanner.push(event["content"])
                if stopped:
                    yield TextChunk(text=shown, tokens=fresh, finish_reason="stop")
                    return
                if event["stop"]:
                    finish: FinishReason = "length" if event["stop_type"] == "limit" else "stop"
                    yield TextChunk(text=shown + scanner.flush(), tokens=fresh, finish_reason=finish)
                    return
                yield TextChunk(text=shown, tokens=fresh)

    def close(self) -> None:
        self._client.close()
        del self._server

    def _body(self, request: GenerationRequest, most: int) -> dict[str, Any]:
        sampling = request.sampling
        return {
            "prompt": list(request.prompt),
            "n_predict": most,
            "stream": True,
            "cache_prompt": True,
            "samplers": SAMPLERS,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "repeat_penalty": sampling.repetition_penalty,
            "repeat_last_n": self.context,
            # Its seeds have 32 bits, all of them set meaning a random one.
            "seed": -1 if sampling.seed is None else sampling.seed % (2**32 - 1),
        }


def _events(reply: httpx2.Response) -> Iterator[dict[str, Any]]:
    if reply.status_code != 200:
        raise RuntimeError(f"llama.cpp answered {reply.status_code}: {reply.read().decode(errors='replace')}")
    for line in reply.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))
