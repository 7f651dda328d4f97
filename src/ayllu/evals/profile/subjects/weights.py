"""Our own weights and adopted ones: choices are ranked and answers generated on this machine."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ayllu.evals.journal import weights_digest
from ayllu.evals.profile.item import Mode, ProfileItem
from ayllu.evals.profile.subjects.subject import Ranked, Replied

if TYPE_CHECKING:
    import torch

    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

BATCH = 16
"""Prompts that are answered at a time."""


class WeightsSubject:
    """A transformer with its tokenizer. `chat` writes what is generated in its chat format; choices are always ranked
    behind plain text."""

    modes: Sequence[Mode] = ("rank", "gen")
    remembers = False
    sees = False
    keeps = True
    weighs = True

    def __init__(self, name: str, model: Transformer, tokenizer: Tokenizer, *, dtype: torch.dtype, chat: bool) -> None:
        import torch

        self.name = name
        self._model, self._tokenizer, self._dtype, self._chat = model, tokenizer, dtype, chat
        kind = str(dtype).removeprefix("torch.")
        device = model.embedding.weight.device.type
        self.about: dict[str, Any] = {
            "kind": "weights",
            "parameters": model.config.parameters,
            "dtype": kind,
            "context": model.config.context,
            "chat_template": chat,
            "max_tokens": "24, and one for each character of the right answer",
            "machine": {"processor": platform.machine(), "threads": torch.get_num_threads(), "device": device},
        }
        sample = json.dumps(tokenizer.encode_batch(["Question: What is 12 + 345?\nAnswer: sixty-seven", "Ñandú 漢字"]))
        self.owner: dict[str, Any] = {
            "weights": weights_digest(model),
            "tokens": hashlib.sha256(sample.encode()).hexdigest()[:16],
            "template": hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()[:16] if chat else None,
            "dtype": kind,
            "machine": self.about["machine"],
        }
        newline = [token for token in range(tokenizer.size) if b"\n" in _bytes_of(tokenizer, token)]
        self._stops = tokenizer.stops if chat else tokenizer.stops | frozenset(newline)

    def rank(self, items: Sequence[ProfileItem]) -> Iterator[Ranked]:
        from ayllu.evals.likelihood.log_probabilities import shared_log_likelihoods
        from ayllu.evals.likelihood.multiple_choice import tokenize_items

        questions = tokenize_items(self._tokenizer, [item.as_choice() for item in items])
        yield from shared_log_likelihoods(self._model, questions, dtype=self._dtype)

    def generate(self, items: Sequence[ProfileItem]) -> Iterator[Replied]:
        from ayllu.model.sample import in_type, sample

        model, context = in_type(self._model, self._dtype), self._model.config.context
        prompts = [self._prompt(item) for item in items]
        fits = [number for number, prompt in enumerate(prompts) if len(prompt) + items[number].room <= context]
        for number in sorted(set(range(len(items))) - set(fits)):
            yield number, None, f"the question and an answer do not fit into the context of {context}"
        # Answers of like length together: a batch takes as many steps as its longest.
        fits.sort(key=lambda number: (items[number].room // 16, len(prompts[number])))
        for start in range(0, len(fits), BATCH):
            part = fits[start : start + BATCH]
            longest = max(len(prompts[number]) for number in part)
            room = min(max(items[number].room for number in part), context - longest)
            drawn = sample(model, [prompts[number] for number in part], tokens=room, stop=self._stops, temperature=0.0)
            for number, (answer,) in zip(part, drawn, strict=True):
                # What an item may say does not hang on the others of its batch.
                text = self._tokenizer.decode(answer.ids[: items[number].room])
                yield number, text if self._chat else text.split("\n")[0], ""

    def _prompt(self, item: ProfileItem) -> list[int]:
        from ayllu.text.chat import Message, render
        from ayllu.text.template import FIXED_DAY

        if not self._chat:
            return [self._tokenizer.bos, *self._tokenizer.encode(item.plain)]
        turns = [Message(role=role, content=text) for role, text in (*item.turns, ("user", item.question))]
        return render(turns, self._tokenizer, now=FIXED_DAY)


def _bytes_of(tokenizer: Tokenizer, token: int) -> bytes:
    try:
        return tokenizer.bytes_of(token)
    except (KeyError, ValueError, IndexError):  # ids between the entries and the special ones that nothing has
        return b""
