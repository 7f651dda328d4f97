"""The served model as an embedder: the mean of its last hidden states."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ayllu.model.files.hf_config import load_config
from ayllu.serve.embeddings.embedder import EmbedsIds
from ayllu.serve.embeddings.pooling import Vectors, fingerprint, mean_state
from ayllu.serve.errors import ApiError
from ayllu.serve.served import Served

if TYPE_CHECKING:
    from ayllu.model.transformer import Transformer


class HiddenStates:
    """Mean-pooled states of the served model, by its name.

    A model that was trained to continue texts, not to compare them: good enough to find near copies, far behind an
    encoder for meaning. Engines that keep their states to themselves have the weights loaded beside them, in torch and
    at the first text.
    """

    def __init__(self, served: Served) -> None:
        about, self._engine = served.about, served.queue.engine
        self.name, self.aliases, self.created, self.licence = about.name, about.aliases, about.created, about.licence
        self.longest = self._engine.context
        self.vocabulary = self._engine.tokenizer.size
        self._folder = about.folder
        files = sorted(about.folder.glob("*.safetensors")) if about.folder is not None else []
        self.fingerprint = fingerprint(files)
        self._own: Transformer | None = None
        self._guard = threading.Lock()

    @property
    def dimensions(self) -> int:
        if self._folder is None:
            raise _nothing_to_load(self.name)
        return load_config(self._folder).width

    def encode(self, text: str) -> list[int]:
        tokenizer = self._engine.tokenizer
        return [tokenizer.bos, *tokenizer.encode(text)]

    def starts(self, text: str) -> list[int]:
        unused = next(sign for sign in map(chr, range(0xE000, 0xF900)) if sign not in text)
        return self._engine.tokenizer.encode_rendered(text, unused)[1]

    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        import numpy as np

        if isinstance(self._engine, EmbedsIds):
            return np.stack([self._engine.embed(ids) for ids in texts])
        bos = self._engine.tokenizer.bos
        return np.stack([mean_state(self._loaded(), ids, bos=bos) for ids in texts])

    def _loaded(self) -> Transformer:
        from ayllu.model.files import hf  # torch takes seconds, and a server that embeds nothing does without

        with self._guard:
            if self._own is None:
                if self._folder is None:
                    raise _nothing_to_load(self.name)
                self._own = hf.load(self._folder).eval().requires_grad_(False)
            return self._own


def _nothing_to_load(name: str) -> ApiError:
    return ApiError(501, f"the engine of {name} gives no hidden states, so that it embeds nothing", param="model")
