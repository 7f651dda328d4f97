"""Which requests an engine takes, as data: the server checks them without asking the engine's process."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ayllu.serve.engines.engine import GenerationRequest, check_adapter, check_ids, max_new_tokens, refuse_unable

SPECIAL = re.compile(r"<\[|<\|")
"""A special token in a grammar of llguidance: by its number, or by its name where that looks like Llama 3's."""


@dataclass(frozen=True, kw_only=True)
class Accepts:
    """What an engine can do. One that has it as its `accepts` is not asked about each request."""

    engine: str
    """Its name for people."""
    context: int
    vocabulary: int
    """Ids are below this."""
    adapters: Sequence[str] = ()
    unable: Sequence[str] = ()
    """Fields that it cannot honour, see `refuse_unable`."""
    special_in_grammars: bool = True
    """Whether it holds special tokens to a grammar."""
    resumes: bool = False
    """Whether `GenerationRequest.written` means all that it says: seed, grammar and penalties go on where they were."""

    def check(self, request: GenerationRequest) -> None:
        """ValueError, in one sentence, for a request that it does not take; see `Engine.check`."""
        refuse_unable(request, self.engine, *self.unable)
        check_adapter(request.adapter, dict.fromkeys(self.adapters))
        max_new_tokens(request, self.context)
        check_ids(request, self.vocabulary)
        if not self.special_in_grammars and request.grammar is not None and SPECIAL.search(request.grammar):
            raise ValueError(
                f"the engine {self.engine} holds no special tokens to a grammar; choose the engine native or torch"
            )
