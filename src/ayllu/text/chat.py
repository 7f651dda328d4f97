"""Llama 3's chat format: turns to ids, and the same as a Jinja template for other programs.

Source: "Llama 3 instruct" in meta-llama/llama-models, models/llama3_1/prompt_format.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ayllu.text.tokenizer import Tokenizer

ROLES = ("system", "user", "assistant", "tool")

CHAT_TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{%- set role = 'ipython' if message['role'] == 'tool' else message['role'] %}"
    "{{- '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{%- endif %}"
)
"""Gives the text whose ids `render` gives: BOS once, a header before each turn, <|eot_id|> behind it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn. Raises ValueError on a role that the format does not have."""

    role: str
    content: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"role {self.role!r} is not one of {', '.join(ROLES)}")


def render(messages: Sequence[Message], tokenizer: Tokenizer, *, reply: bool = True) -> list[int]:
    """Ids of a conversation, BOS first; with `reply` the assistant's header stands at the end, ready for its answer."""
    ids, _ = render_masked(messages, tokenizer)
    return ids + _header("assistant", tokenizer) + tokenizer.encode("\n\n") if reply else ids


def render_masked(messages: Sequence[Message], tokenizer: Tokenizer) -> tuple[list[int], list[bool]]:
    """Ids of a conversation, and for each id whether the assistant has to produce it: its words and its <|eot_id|>."""
    ids, produced = [tokenizer.bos], [False]
    for message in messages:
        head = _header("ipython" if message.role == "tool" else message.role, tokenizer)
        # The blank line and the words are cut together, as a tokenizer reading the rendered text would.
        blank = len(tokenizer.encode("\n\n"))
        body = [*tokenizer.encode("\n\n" + message.content.strip()), tokenizer.eot]
        speaks = message.role == "assistant"
        ids += head + body
        produced += [False] * (len(head) + blank) + [speaks] * (len(body) - blank)
    return ids, produced


def _header(role: str, tokenizer: Tokenizer) -> list[int]:
    special = tokenizer.special
    return [special["<|start_header_id|>"], *tokenizer.encode(role), special["<|end_header_id|>"]]
