"""Our own engine: `ayllu.model.generate` on the CPU, no other program needed; answers take turns, a token each."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.model.files import hf
from ayllu.model.generate import Drawer, generate, prompt_logprobs
from ayllu.serve.embeddings.pooling import Vectors, mean_state
from ayllu.serve.engines.accepts import Accepts
from ayllu.serve.engines.adapters import BaseTurn, SwitchedAdapters, read_adapters
from ayllu.serve.engines.decode import Step, text_chunks
from ayllu.serve.engines.engine import (
    LONGEST_CONTEXT,
    DrawnToken,
    FinishReason,
    GenerationRequest,
    TextChunk,
    load_tokenizer_and_config,
    max_new_tokens,
)
from ayllu.serve.engines.memory import machine_memory, parallel_answers
from ayllu.serve.engines.turn_lock import TurnLock
from ayllu.serve.grammar import Matcher

MOST_PARALLEL = 8
MEMORY_SHARE = 4
"""Keys and values of all answers may take one part in so many of the machine's memory."""
PIECE_WORK = 20e9
"""Parameters times tokens of a prompt that are computed before anybody else has a turn: less than half a second."""


class TorchEngine:
    """Our own transformer with a key/value cache; loads the folder's safetensors.

    Prompts are read in pieces. Between pieces and between tokens the others who are answered have their turn, and a
    caller who left is noticed.
    """

    def __init__(self, folder: Path, *, adapters: Mapping[str, Path] | None = None) -> None:
        self.tokenizer, config = load_tokenizer_and_config(folder)
        read = read_adapters(adapters or {}, config)
        try:
            self._model = hf.load(folder).eval().requires_grad_(False)
            self._adapters = SwitchedAdapters(self._model, read)
        except (ValueError, OSError) as error:
            raise UserError(f"{folder} cannot be served: {error}") from error
        self.context = min(config.context, LONGEST_CONTEXT)
        self.parameters = config.parameters
        self._vocabulary = config.vocabulary
        self.accepts = Accepts(
            engine="torch",
            context=self.context,
            vocabulary=config.vocabulary,
            adapters=list(read),
            resumes=True,
        )
        bytes_each = 2 * 4 * self.context * config.layers * config.kv_heads * config.head_width
        self.parallel = parallel_answers(
            MOST_PARALLEL, bytes_each=bytes_each, memory=machine_memory(), share=MEMORY_SHARE
        )
        self._piece = int(min(256, max(16, PIECE_WORK // self.parameters)))
        self._turns = TurnLock()

    def check(self, request: GenerationRequest) -> None:
        self.accepts.check(request)

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        self.check(request)
        most = max_new_tokens(request, self.context)
        constraint = None
        if request.grammar is not None:
            constraint = Matcher(request.grammar, self.tokenizer, self._vocabulary)
            for token in request.beginning:
                constraint.advance(token)
        drawer = Drawer(
            request.sampling,
            request.prompt,
            written=request.written,
            constraint=constraint,
            logprobs=request.logprobs,
        )

        def finish(count: int) -> FinishReason:
            return "length" if count == most and not drawer.ended else "stop"

        steps = self._steps(request, most, drawer, cancelled)
        yield from text_chunks(steps, self.tokenizer, request, cancelled, cached=lambda: 0, finish=finish)

    def _steps(
        self, request: GenerationRequest, most: int, drawer: Drawer, cancelled: threading.Event
    ) -> Iterator[Step]:
        """The ids of the answer, and a step for each piece of the prompt, each computed in a turn of its own."""
        if request.prompt_logprobs:
            yield from self._read(request, cancelled)
        steps = generate(
            self._model,
            request.prompt,
            tokens=most,
            stop=self.tokenizer.stops,
            piece=self._piece,
            drawer=drawer,
        )
        while True:
            with self._turns:
                if cancelled.is_set():
                    return
                self._adapters.switch(request.adapter)
                try:
                    token = next(steps)
                except StopIteration:
                    return
            if token is None or drawer.told is None:
                yield token
                continue
            logprob, top = drawer.told
            yield DrawnToken(id=token, logprob=logprob, top=top)

    def _read(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[Step]:
        """What is told of the ids of the prompt, piece by piece."""
        steps = prompt_logprobs(self._model, request.prompt, count=request.logprobs or 0, piece=self._piece)
        while True:
            with self._turns:
                if cancelled.is_set():
                    return
                self._adapters.switch(request.adapter)
                told = next(steps, None)
            if told is None:
                return
            yield tuple(DrawnToken(id=token, logprob=logprob, top=top) for token, logprob, top in told)

    def embed(self, ids: Sequence[int]) -> Vectors:
        """The mean (D,) of the hidden states of `ids` without an adapter, of length 1; see `mean_state`."""
        return mean_state(
            self._model,
            ids,
            bos=self.tokenizer.bos,
            piece=self._piece,
            turn=BaseTurn(self._turns, self._adapters),
        )

    def close(self) -> None:
        del self._model
