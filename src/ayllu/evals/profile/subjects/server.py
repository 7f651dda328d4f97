"""A model behind an OpenAI-compatible address: what it generates, asked over /v1/chat/completions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ayllu.evals.endpoint.client import Endpoint, Reply, chat_text
from ayllu.evals.profile.item import Mode, ProfileItem
from ayllu.evals.profile.subjects.subject import Ranked, Replied

TOKENS = 2048
"""Most tokens of an answer: models that think before they answer need many."""


class ServerSubject:
    """A served model. Its answers are not kept beyond a finished measurement: the name can be another model by then."""

    modes: Sequence[Mode] = ("gen",)
    remembers = False
    sees = False
    keeps = False
    weighs = False

    def __init__(self, address: str, *, model: str | None = None, api_key: str | None = None) -> None:
        """Asks the server which models it has. Raises UserError where it is not there, or has not this one."""
        self._endpoint = Endpoint(address, model=model, api_key=api_key)
        self.name = self._endpoint.model
        self.about: Mapping[str, Any] = {
            "kind": "server",
            "address": self._endpoint.base,
            "chat_template": True,
            "temperature": 0,
            "max_tokens": TOKENS,
        }
        self.owner: Mapping[str, Any] = {"address": self._endpoint.base, "model": self.name, "max_tokens": TOKENS}

    def rank(self, items: Sequence[ProfileItem]) -> Iterator[Ranked]:
        """Nothing: the choices of a profile are ranked by weights alone."""
        yield from ()

    def generate(self, items: Sequence[ProfileItem]) -> Iterator[Replied]:
        for number, reply in self._endpoint.ask_all(len(items), lambda number: self._ask(items[number])):
            yield number, reply.found, reply.refused

    def _ask(self, item: ProfileItem) -> Reply[str]:
        messages = [{"role": role, "content": text} for role, text in (*item.turns, ("user", item.question))]
        body = {"messages": messages, "temperature": 0, "max_tokens": TOKENS}
        return self._endpoint.ask("/chat/completions", body, chat_text)
