"""Our own engine: `ayllu.model.generate` on the CPU, one answer at a time, no other program needed."""

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


class TorchEngine:
    """Our own transformer with a key/value cache; loads the folder's safetensors."""

    parallel = 1

    def __init__(self, folder: Path) -> None:
        self.tokenizer, config = load_tokenizer_and_config(folder)
        try:
            self._model = hf.load(folder).eval().requires_grad_(False)
        except (ValueError, OSError) as error:
            raise UserError(f"{folder} cannot be served: {error}") from error
        self.context = min(config.context, LONGEST_CONTEXT)
        self.parameters = config.parameters

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        most = max_new_tokens(request, self.context)
        decoder, scanner = Utf8Decoder(self.tokenizer), StopScanner(request.stop)
        count = 0
        for token in generate(
            self._model,
            request.prompt,
            tokens=most,
            stop=self.tokenizer.stops,
            sampling=request.sampling,
        ):
            if cancelled.is_set():
                return
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
        del self._model
