"""Our engine for processors: C kernels over packed weights, answers of all callers computed together."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig
from ayllu.serve.engines.decode import StopScanner, Utf8Decoder
from ayllu.serve.engines.engine import (
    LONGEST_CONTEXT,
    GenerationRequest,
    TextChunk,
    load_tokenizer_and_config,
    max_new_tokens,
)
from ayllu.serve.engines.memory import machine_memory
from ayllu.serve.engines.native.pages import PAGE, PagePool
from ayllu.serve.engines.native.scheduler import Answer, Scheduler
from ayllu.serve.engines.native.weights import NativeModel, packed, unfit

PARALLEL = 16
"""Answers that are computed together at most."""
MEMORY_SHARE = 4
"""Keys and values may take one part in so many of the machine's memory; they take it as they come."""


class NativeEngine:
    """Int4, int8 or bfloat16 weights, float16 keys and values in pages that equal beginnings share.

    `limits` says in words what it may take of the machine's memory. What an answer is does not depend on who else is
    answered, nor on what was found in the cache, to the last bit.
    """

    def __init__(self, folder: Path, *, bits: int = 8, threads: int | None = None) -> None:
        """Raises UserError where the model cannot be had, its shape does not fit or the code cannot be compiled."""
        import torch

        self.tokenizer, config = load_tokenizer_and_config(folder)
        if reason := unfit(config):
            raise UserError(f"the native engine cannot serve {folder}: {reason}; choose another engine")
        self.context = min(config.context, LONGEST_CONTEXT)
        self.parameters = config.parameters
        self._vocabulary = config.vocabulary
        self.parallel = PARALLEL
        self.bits = bits
        pages = pages_for(config, self.context, memory=machine_memory())
        self.limits = (
            f"{PARALLEL} answers side by side, and what is kept of earlier prompts, take at most "
            f"{pages * page_bytes(config) >> 20:,} MiB of memory beside the weights"
        )
        try:
            file = packed(folder, bits)
            self.model = NativeModel(
                config, file, bits, context=self.context, pages=pages, threads=threads or torch.get_num_threads()
            )
        except (ValueError, OSError, MemoryError) as error:
            raise UserError(f"{folder} cannot be served: {error}") from error
        self._scheduler = Scheduler(self.model, PagePool(pages), parallel=PARALLEL)

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        most = max_new_tokens(request, self.context)
        if not most:
            yield TextChunk(text="", finish_reason="length")
            return
        if not all(0 <= token < self._vocabulary for token in request.prompt):
            raise ValueError(f"the prompt has ids that the model does not; give some from 0 to {self._vocabulary - 1}")
        decoder, scanner = Utf8Decoder(self.tokenizer), StopScanner(request.stop)
        asked = Answer(
            ids=list(request.prompt),
            prompt=len(request.prompt),
            most=most,
            sampling=request.sampling,
            stops=self.tokenizer.stops,
            cancelled=cancelled,
            chance=random.Random(request.sampling.seed),
        )
        count = 0
        for token in self._scheduler.answer(asked):
            if token is None:
                yield TextChunk(text="")
                continue
            count += 1
            shown, stopped = scanner.push(decoder.push(token))
            if stopped:
                yield TextChunk(text=shown, tokens=1, finish_reason="stop")
                return
            yield TextChunk(text=shown, tokens=1)
        if cancelled.is_set():
            return
        shown, stopped = scanner.push(decoder.flush())
        shown = shown if stopped else shown + scanner.flush()
        yield TextChunk(text=shown, finish_reason="length" if count == most and not stopped else "stop")

    def close(self) -> None:
        self._scheduler.close()
        self.model.close()


def pages_for(config: ModelConfig, context: int, *, memory: int) -> int:
    """Pages of keys and values: whole contexts for as many as `memory` has room for, from 1 to `PARALLEL`."""
    whole = -(-context // PAGE)
    return min(max(memory // MEMORY_SHARE // page_bytes(config), whole), PARALLEL * whole)


def page_bytes(config: ModelConfig) -> int:
    """What a page takes: keys and values of all layers, float16."""
    return 2 * 2 * PAGE * config.layers * config.kv_heads * config.head_width
