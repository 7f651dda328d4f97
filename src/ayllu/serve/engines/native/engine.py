"""Our engine for processors: C kernels over packed weights, answers of all callers computed together."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig
from ayllu.serve.engines.accepts import Accepts
from ayllu.serve.engines.decode import text_chunks
from ayllu.serve.engines.engine import (
    LONGEST_CONTEXT,
    FinishReason,
    GenerationRequest,
    TextChunk,
    load_tokenizer_and_config,
    max_new_tokens,
)
from ayllu.serve.engines.memory import machine_memory, machine_threads
from ayllu.serve.engines.native.library import check
from ayllu.serve.engines.native.low_rank import Adapters, packed_adapters
from ayllu.serve.engines.native.pages import PAGE, PagePool
from ayllu.serve.engines.native.scheduler import Answer, Scheduler
from ayllu.serve.engines.native.weights import NativeModel, packed, unfit
from ayllu.text.tokenizer import Tokenizer

PARALLEL = 32
"""Answers that are computed together at most: one client alone may hold half of them."""
CONTEXTS = 16
"""Whole contexts that keys and values have room for at most: hardly any answer takes one."""
CACHE_BITS = (8, 16)
"""What a key or value may be kept in."""
MEMORY_SHARE = 4
"""Keys and values may take one part in so many of the machine's memory; they take it as they come."""


class NativeEngine:
    """Int4, int8 or bfloat16 weights; int8 or float16 keys and values, in pages that equal beginnings share.

    `limits` says in words what it may take of the machine's memory. What an answer is does not depend on who else is
    answered, nor on what was found in the cache, to the last bit.
    """

    def __init__(
        self,
        folder: Path,
        *,
        bits: int = 8,
        cache_bits: int = 16,
        adapters: Mapping[str, Path] | None = None,
        threads: int | None = None,
        loaded: tuple[Tokenizer, ModelConfig] | None = None,
    ) -> None:
        """`adapters` are folders by the names that requests have them by.

        `loaded` are the folder's tokenizer and shape where they are known already.

        Raises UserError where the model cannot be had, its shape does not fit or the code cannot be compiled.
        """
        self.tokenizer, config = loaded or load_tokenizer_and_config(folder)
        if reason := unfit(config):
            raise UserError(f"the native engine cannot serve {folder}: {reason}; choose another engine")
        if cache_bits not in CACHE_BITS:
            raise UserError(f"cache_bits is {cache_bits}; choose one of {', '.join(map(str, CACHE_BITS))}")
        self.context = min(config.context, LONGEST_CONTEXT)
        self.parameters = config.parameters
        self._vocabulary = config.vocabulary
        self.parallel = PARALLEL
        self.bits = bits
        each = page_bytes(config, cache_bits)
        pages = pages_for(self.context, memory=machine_memory(), each=each)
        self.limits = (
            f"{bits} bits to a weight; {PARALLEL} answers side by side, and what is kept of earlier prompts, take at "
            f"most {pages * each >> 20:,} MiB of memory beside the weights"
        )
        threads = threads or machine_threads()
        files = packed_adapters(adapters or {}, config)
        self._adapters = {name: number for number, name in enumerate(files)}
        self.accepts = Accepts(
            engine="native",
            context=self.context,
            vocabulary=config.vocabulary,
            adapters=list(files),
            resumes=True,
        )
        try:
            file = packed(folder, bits)
            check(bits, threads)
            self.model = NativeModel(
                config,
                file,
                bits,
                context=self.context,
                pages=pages,
                threads=threads,
                cache_bits=cache_bits,
                adapters=Adapters(files, config) if files else None,
            )
        except (ValueError, OSError, MemoryError) as error:
            raise UserError(f"{folder} cannot be served: {error}") from error
        self._scheduler = Scheduler(self.model, PagePool(pages), parallel=PARALLEL)

    def check(self, request: GenerationRequest) -> None:
        self.accepts.check(request)

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        self.check(request)
        most = max_new_tokens(request, self.context)
        if not most:
            yield TextChunk(text="", finish_reason="length")
            return
        constraint = None
        if request.grammar is not None:
            from ayllu.serve.grammar import Matcher  # which takes longer to import than the first answer takes

            constraint = Matcher(request.grammar, self.tokenizer, self._vocabulary)
            for token in request.beginning:
                constraint.advance(token)
        asked = Answer(
            ids=list(request.prompt),
            prompt=len(request.prompt),
            most=most,
            sampling=request.sampling,
            stops=self.tokenizer.stops,
            cancelled=cancelled,
            written=request.written,
            chance=_chance(request),
            constraint=constraint,
            logprobs=request.logprobs,
            prompt_logprobs=request.prompt_logprobs,
            adapter=-1 if request.adapter is None else self._adapters[request.adapter],
        )

        def finish(count: int) -> FinishReason:
            return "length" if count == most and not asked.complete else "stop"

        yield from text_chunks(
            self._scheduler.answer(asked),
            self.tokenizer,
            request,
            cancelled,
            cached=lambda: asked.cached,
            finish=finish,
        )

    def close(self) -> None:
        self._scheduler.close()
        self.model.close()


def _chance(request: GenerationRequest) -> random.Random:
    """Where the draws go on: each id of the answer took one."""
    chance = random.Random(request.sampling.seed)
    for _ in range(request.written):
        chance.random()
    return chance


def pages_for(context: int, *, memory: int, each: int) -> int:
    """Pages of keys and values, `each` of so many bytes: whole contexts for as many as `memory` has room for, from 1 to
    `CONTEXTS`."""
    whole = -(-context // PAGE)
    return min(max(memory // MEMORY_SHARE // each, whole), CONTEXTS * whole)


def page_bytes(config: ModelConfig, bits: int) -> int:
    """What a page takes: keys and values of all layers, in 16 bits, or in 8 with a float32 scale each."""
    each = config.head_width * bits // 8 + (4 if bits == 8 else 0)
    return 2 * PAGE * config.layers * config.kv_heads * each
