"""Our own engine: `ayllu.model.generate` on the CPU, no other program needed; answers take turns, a token each."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.model.files import hf
from ayllu.model.generate import generate
from ayllu.serve.engines.decode import StopScanner, Utf8Decoder
from ayllu.serve.engines.engine import (
    LONGEST_CONTEXT,
    GenerationRequest,
    TextChunk,
    load_tokenizer_and_config,
    max_new_tokens,
)
from ayllu.serve.engines.memory import machine_memory, parallel_answers
from ayllu.serve.engines.turn_lock import TurnLock

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

    def __init__(self, folder: Path) -> None:
        self.tokenizer, config = load_tokenizer_and_config(folder)
        try:
            self._model = hf.load(folder).eval().requires_grad_(False)
        except (ValueError, OSError) as error:
            raise UserError(f"{folder} cannot be served: {error}") from error
        self.context = min(config.context, LONGEST_CONTEXT)
        self.parameters = config.parameters
        bytes_each = 2 * 4 * self.context * config.layers * config.kv_heads * config.head_width
        self.parallel = parallel_answers(
            MOST_PARALLEL, bytes_each=bytes_each, memory=machine_memory(), share=MEMORY_SHARE
        )
        self._piece = int(min(256, max(16, PIECE_WORK // self.parameters)))
        self._turns = TurnLock()

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        most = max_new_tokens(request, self.context)
        decoder, scanner = Utf8Decoder(self.tokenizer), StopScanner(request.stop)
        count = 0
        for token in self._steps(request, most, cancelled):
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

    def _steps(self, request: GenerationRequest, most: int, cancelled: threading.Event) -> Iterator[int | None]:
        """The ids of the answer, and None after each piece of the prompt, each computed in a turn of its own."""
        steps = generate(
            self._model,
            request.prompt,
            tokens=most,
            stop=self.tokenizer.stops,
            sampling=request.sampling,
            piece=self._piece,
        )
        while True:
            with self._turns:
                if cancelled.is_set():
                    return
                try:
                    token = next(steps)
                except StopIteration:
                    return
            yield token

    def close(self) -> None:
        del self._model
