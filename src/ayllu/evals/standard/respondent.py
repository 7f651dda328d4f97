"""Who answers the prompts of a task: weights on this machine here, a server in `ayllu.evals.endpoint`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ayllu.evals.journal import weights_digest
from ayllu.evals.standard.answers import Answer
from ayllu.evals.standard.checkers.code import why_no_sandbox
from ayllu.evals.standard.run import answers
from ayllu.evals.standard.task import Prompt, Task
from ayllu.evals.standard.tokens import Beginning, ChatEncoder, Encoder
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    import torch

    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

SAMPLE = "Question: What is 12 + 345?\nAnswer: sixty-seven\n\n    def one():\n        return 1", "Ñandú 漢字 …"
"""Texts whose ids tell tokenizers apart."""


class Respondent(Protocol):
    """Whoever answers."""

    @property
    def conditions(self) -> Mapping[str, Any]:
        """For the scores: how prompts are put."""
        ...

    @property
    def owner(self) -> Mapping[str, Any]:
        """Whose answers these are: kept ones count only where all of it is equal."""
        ...

    def cannot(self, task: Task) -> str:
        """Why a task cannot be asked; empty where it can."""
        ...

    def cannot_ask(self, prompts: Sequence[Prompt]) -> str:
        """Why these prompts cannot be asked; empty where they can."""
        ...

    def too_long(self, task: Task, prompts: Sequence[Prompt]) -> int | None:
        """How many of the prompts lose their beginning because they do not fit; None where that cannot be known."""
        ...

    def answers(self, task: Task, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield an answer to each prompt, as they come."""
        ...


class WeightsRespondent:
    """Our own weights, and adopted ones, in one type. `penalty` is for repetitions in generated text; with `chat`
    prompts stand in the model's chat format. Raises UserError where it has none."""

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        *,
        dtype: torch.dtype,
        beginning: Beginning = "tokenizer",
        penalty: float = 1.0,
        chat: bool = False,
    ) -> None:
        if chat and tokenizer.chat_template == "":
            raise UserError("the model has no chat template: leave it off")
        from ayllu.evals.likelihood.branches import Forward

        self._forward, self._penalty = Forward(model, dtype), penalty
        self._encoder = (ChatEncoder if chat else Encoder)(tokenizer, beginning)
        self.conditions: dict[str, Any] = {
            "dtype": str(dtype).removeprefix("torch."),
            "context": model.config.context,
            "first_token": self._encoder.told(beginning),
            "chat_template": chat,
            "repetition_penalty": penalty,
        }
        tokens = hashlib.sha256(json.dumps(tokenizer.encode_batch(SAMPLE)).encode()).hexdigest()[:16]
        template = hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()[:16] if chat else None
        self.owner: dict[str, Any] = {
            **self.conditions,
            "weights": weights_digest(model),
            "tokens": tokens,
            "template": template,
        }

    def cannot(self, task: Task) -> str:
        """Why a task cannot be asked; empty where it can."""
        context = self._forward.model.config.context
        if task.mode == "generate" and task.generation.most >= context:
            return f"its answers may have {task.generation.most:,} tokens, and the model's context holds {context:,}"
        return why_no_sandbox() if task.program else ""

    def cannot_ask(self, prompts: Sequence[Prompt]) -> str:
        """Nothing: weights take any prompt."""
        return ""

    def too_long(self, task: Task, prompts: Sequence[Prompt]) -> int:
        """How many of the prompts lose their beginning because the context does not hold them."""
        context = self._forward.model.config.context
        if task.mode == "rolling":
            return 0  # a whole text goes through in windows
        if task.mode == "generate":
            room = context - task.generation.most
            return sum(len(ids) > room for ids in self._encoder.contexts([p.asked.pairs[0][0] for p in prompts]))
        asked = self._encoder.pairs([prompt.asked for prompt in prompts])
        return sum(any(len(given) + len(scored) > context + 1 for given, scored in pairs) for pairs in asked)

    def answers(self, task: Task, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield the model's answer to each prompt, as they come."""
        yield from answers(self._forward, self._encoder, task, prompts, penalty=self._penalty)
