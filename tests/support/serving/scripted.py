"""An engine whose words are given, so that a model calls tools when a test wants it to."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from ayllu.serve.engines.engine import GenerationRequest, TextChunk
from ayllu.serve.engines.torch_engine import TorchEngine


class Scripted(TorchEngine):
    """The real engine's tokenizer and checks; what it says is given."""

    says: list[str] = []  # noqa: RUF012
    prompts: list[str] = []  # noqa: RUF012

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        self.prompts.append(self.tokenizer.decode(request.prompt))
        yield TextChunk(text=self.says.pop(0), tokens=1, finish_reason="stop")
