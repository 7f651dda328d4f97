"""vLLM as an engine: its own OpenAI server computes, on GPUs or a cluster, and everything in front of it stays ours.

Ids go there and ids come back, so that templates, tool calls, stop strings and grammars mean what they mean with every
other engine. Fields and what they mean: vLLM 0.32, `vllm/entrypoints/openai/completion/protocol.py`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2

from ayllu.lab.error import UserError
from ayllu.lab.visible import visible
from ayllu.serve.engines.accepts import Accepts
from ayllu.serve.engines.decode import Step, text_chunks
from ayllu.serve.engines.engine import (
    LONGEST_CONTEXT,
    DrawnToken,
    EngineEnded,
    FinishReason,
    GenerationRequest,
    TextChunk,
    load_tokenizer_and_config,
    max_new_tokens,
)
from ayllu.serve.engines.sse import events
from ayllu.serve.engines.vllm.program import VllmProgram
from ayllu.serve.grammar import Matcher

PARALLEL = 256
"""Answers that are handed to vLLM together: it batches them itself."""
SAMPLE = 'Grüße: 1,042 llamas — "¿cuántas?"\n\tdef f(x): return x ** 2'
"""What both tokenizers must read alike."""
MOST_BIAS = 100.0
"""vLLM takes no bias beyond it; an id with the least one is not drawn."""
NEWER = '"json_allow_general_unicode_escapes": false, '
"""What vLLM's llguidance (1.7) does not know; no answer needs it where `u` is among the escapes that are left out."""
NAMED = "token_id:"
"""How vLLM names an id in log-probabilities (`return_tokens_as_token_ids`)."""


class VllmEngine:
    """A server of vLLM: the one at `url`, or one that the program `vllm` starts for the folder.

    A server at `url` has its key in our environment as VLLM_API_KEY, where vLLM reads it too, and must have been
    started with `--structured-outputs-config.backend guidance`, for grammars are llguidance's. What it was started with
    as `--lora-modules` are its adapters.
    Raises UserError where it cannot be had, or serves another model.
    """

    def __init__(self, folder: Path, *, url: str | None = None, adapters: Mapping[str, Path] | None = None) -> None:
        self.tokenizer, config = load_tokenizer_and_config(folder)
        self.parameters, self.parallel = config.parameters, PARALLEL
        self._vocabulary, self._adapters = config.vocabulary, dict(adapters or {})
        self.program: VllmProgram | None = None
        """What runs, where it was started here."""
        self.context = min(config.context, LONGEST_CONTEXT)
        if url is None:
            self.program = VllmProgram(folder, context=self.context, adapters=self._adapters)
        self._url = url or f"http://127.0.0.1:{self.program.port}"  # type: ignore[union-attr]
        key = self.program.key if self.program else os.environ.get("VLLM_API_KEY")
        self._client = httpx2.Client(
            base_url=f"{self._url.rstrip('/')}/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(10, read=None),
            limits=httpx2.Limits(max_connections=None),
            trust_env=False,
        )
        try:
            if self.program is not None:
                self.program.wait()
            self._model, longest = self._served()
            self._compare_tokenizers()
        except BaseException:
            self.close()
            raise
        self.context = min(self.context, longest)
        self.accepts = Accepts(
            engine="vLLM", context=self.context, vocabulary=self._vocabulary, adapters=list(self._adapters)
        )
        self.limits = f"vLLM at {self._url} holds the weights and up to {PARALLEL} answers"

    def check(self, request: GenerationRequest) -> None:
        self.accepts.check(request)

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        self.check(request)
        most, end = max_new_tokens(request, self.context), _End()
        steps = self._steps(request, most, end, cancelled) if most else iter(())
        for chunk in text_chunks(
            steps, self.tokenizer, request, cancelled, cached=lambda: 0, finish=lambda count: end.reason
        ):
            # What was there already is told behind the last id, where a stop string has not hung up before.
            yield chunk if chunk.finish_reason is None else replace(chunk, cached=end.cached)

    def close(self) -> None:
        self._client.close()
        if self.program is not None:
            self.program.close()

    def _served(self) -> tuple[str, int]:
        """The name that the model has there, and the tokens that it may hold; adapters must be there too."""
        models = self._asked("GET", "v1/models")["data"]
        bases = [model for model in models if not model.get("parent")]
        if len(bases) != 1:
            raise UserError(f"vLLM at {self._url} serves {len(bases)} models; give one that serves a single model")
        missing = sorted(set(self._adapters) - {model["id"] for model in models})
        if missing:
            raise UserError(
                f"vLLM at {self._url} has no adapter {missing[0]!r}; start it with --lora-modules {missing[0]}=FOLDER"
            )
        return bases[0]["id"], bases[0].get("max_model_len") or self.context

    def _compare_tokenizers(self) -> None:
        body = {"model": self._model, "prompt": SAMPLE, "add_special_tokens": False}
        if self._asked("POST", "tokenize", body)["tokens"] != self.tokenizer.encode(SAMPLE):
            raise UserError(f"vLLM at {self._url} serves {visible(self._model)}, which has another tokenizer")

    def _asked(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            reply = self._client.request(method, path, json=body, timeout=60)
        except httpx2.TransportError as error:
            raise UserError(f"vLLM at {self._url} cannot be reached ({type(error).__name__})") from error
        if reply.status_code == 401:
            raise UserError(f"vLLM at {self._url} wants a key; set VLLM_API_KEY")
        if reply.status_code != 200:
            raise UserError(f"what is at {self._url} is no server of vLLM: /{path} gives {reply.status_code}")
        found: dict[str, Any] = reply.json()
        return found

    def _steps(self, request: GenerationRequest, most: int, end: _End, cancelled: threading.Event) -> Iterator[Step]:
        """The ids of the answer as they come."""
        matcher = None
        if request.grammar is not None:
            matcher = Matcher(request.grammar, self.tokenizer, self._vocabulary)
        try:
            if request.prompt_logprobs:
                yield self._read(request)
            # Leaving this block hangs up, and vLLM stops computing.
            with self._client.stream("POST", "v1/completions", json=self._body(request, most)) as reply:
                _refuse(reply)
                for event in events(reply.iter_bytes()):
                    if cancelled.is_set():
                        return
                    for choice in end.note(event):
                        yield from self._drawn(choice, request, matcher)
        except httpx2.TransportError as error:
            raise EngineEnded(f"vLLM at {self._url} went away ({type(error).__name__}); ask again") from error

    def _drawn(self, choice: dict[str, Any], request: GenerationRequest, matcher: Matcher | None) -> Iterator[Step]:
        """The ids of an event, the one aside that ends the answer."""
        told = choice.get("logprobs") or {}
        for place, token in enumerate(choice.get("token_ids") or ()):
            ended = token in self.tokenizer.stops
            if matcher is not None:
                _follow(matcher, token, ended=ended)
            if ended:
                return
            if request.logprobs is None:
                yield token
                continue
            top = told["top_logprobs"][place] or {}
            yield _told(
                token,
                told["token_logprobs"][place],
                {int(name.removeprefix(NAMED)): top[name] for name in top},
                request.logprobs,
            )

    def _read(self, request: GenerationRequest) -> tuple[DrawnToken, ...]:
        """What is told of the prompt, which vLLM gives in no stream: one token more is computed for it."""
        body = self._body(request, 1) | {"stream": False, "stream_options": None, "prompt_logprobs": request.logprobs}
        reply = self._client.post("v1/completions", json=body | {"structured_outputs": None})
        _refuse(reply)
        found = reply.json()["choices"][0]["prompt_logprobs"]
        read = []
        for token, place in zip(request.prompt[1:], found[1:], strict=True):
            likely = {int(name): entry["logprob"] for name, entry in place.items()}
            read.append(_told(token, likely[token], likely, request.logprobs or 0))
        return tuple(read)

    def _body(self, request: GenerationRequest, most: int) -> dict[str, Any]:
        sampling = request.sampling
        bias = {str(token): max(-MOST_BIAS, min(MOST_BIAS, value)) for token, value in sampling.logit_bias.items()}
        return {
            "model": request.adapter or self._model,
            "prompt": list(request.prompt),
            "max_tokens": most,
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
            "skip_special_tokens": False,
            "stop_token_ids": sorted(self.tokenizer.stops),
            "logprobs": request.logprobs,
            "temperature": 0.0 if sampling.greedy else sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repetition_penalty,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "logit_bias": bias or None,
            # Its seeds have 64 bits with a sign.
            "seed": None if sampling.seed is None else sampling.seed % 2**63,
            "structured_outputs": _structure(request.grammar),
        }


class _End:
    """What vLLM says once the ids have come: why they ended, and what of the prompt was there already."""

    def __init__(self) -> None:
        self.reason: FinishReason = "length"
        self.cached = 0

    def note(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """Keep it, and give the event's choices."""
        details = (event.get("usage") or {}).get("prompt_tokens_details") or {}
        self.cached = details.get("cached_tokens") or self.cached
        choices: list[dict[str, Any]] = event.get("choices") or []
        for choice in choices:
            if choice.get("finish_reason"):
                self.reason = "length" if choice["finish_reason"] == "length" else "stop"
        return choices


def _structure(grammar: str | None) -> dict[str, str] | None:
    return None if grammar is None else {"grammar": grammar.replace(NEWER, "")}


def _told(token: int, logprob: float, likely: Mapping[int, float], count: int) -> DrawnToken:
    """vLLM puts the drawn id among the likeliest, whether it is one or not."""
    ranked = sorted(likely.items(), key=lambda entry: (-entry[1], entry[0]))
    return DrawnToken(id=token, logprob=logprob, top=tuple(ranked[:count]))


def _follow(matcher: Matcher, token: int, *, ended: bool) -> None:
    """RuntimeError where vLLM has left the grammar: it may have been started with another backend."""
    try:
        kept = bool(matcher.allowed()[token])
        if kept and not ended:
            matcher.advance(token)
    except (ValueError, IndexError):
        kept = False
    if not kept:
        raise RuntimeError(
            "vLLM left the grammar of the answer; start it with --structured-outputs-config.backend guidance"
        )


def _refuse(reply: httpx2.Response) -> None:
    """ValueError with vLLM's words for a request that it does not take, RuntimeError for any other failure."""
    if reply.status_code == 200:
        return
    said = visible(reply.read().decode(errors="replace"), longest=500)
    if reply.status_code == 400:
        raise ValueError(f"vLLM does not take this request: {said}")
    raise RuntimeError(f"vLLM answered {reply.status_code}: {said}")
