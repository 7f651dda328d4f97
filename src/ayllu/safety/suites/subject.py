"""The model that is measured: its replies to requests, and its continuations of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ayllu.evals.skills.replies import greedy_replies

if TYPE_CHECKING:
    import torch

    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

REPLY_TOKENS = 96
"""Most ids of a reply: enough to tell a refusal from the beginning of an answer."""
CONTINUATION_TOKENS = 40


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model with its tokenizer, and what it computes in."""

    transformer: Transformer
    tokenizer: Tokenizer
    dtype: torch.dtype

    def replies(self, requests: Sequence[str], title: str) -> list[str]:
        """The likeliest reply to each request, asked in the model's own chat format."""
        from ayllu.text.chat import Message, render
        from ayllu.text.template import FIXED_DAY

        most = self.transformer.config.context - REPLY_TOKENS
        prompts = [
            render([Message(role="user", content=request)], self.tokenizer, now=FIXED_DAY)[-most:]
            for request in requests
        ]
        return self._greedy(prompts, REPLY_TOKENS, title)

    def continuations(self, texts: Sequence[str], title: str) -> list[str]:
        """How the model goes on from each text, without a chat format."""
        most = self.transformer.config.context - CONTINUATION_TOKENS
        ids = [[self.tokenizer.bos, *self.tokenizer.encode(text)][-most:] for text in texts]
        return self._greedy(ids, CONTINUATION_TOKENS, title)

    def _greedy(self, prompts: Sequence[Sequence[int]], tokens: int, title: str) -> list[str]:
        return greedy_replies(self.transformer, self.tokenizer, prompts, tokens=tokens, dtype=self.dtype, title=title)
