"""Whether a chat model calls the right tools: each reply against the calls that are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ayllu.evals.skills.replies import greedy_replies

if TYPE_CHECKING:
    import torch

    from ayllu.data.conversations.tool_requests import ToolRequest
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

CALL_TOKENS = 80
"""Most ids of a reply with calls."""


def score_tool_calls(
    model: Transformer, tokenizer: Tokenizer, asked: Sequence[ToolRequest], *, dtype: torch.dtype
) -> list[dict[str, Any]]:
    """For each request the reply, and whether its calls are just the right ones (`exact`) or can be read (`read`).

    `function` is the tool that it asks for first: requests for one tool are not independent.
    """
    from ayllu.data.conversations.tool_requests import same_calls
    from ayllu.text.calls.form import call_forms
    from ayllu.text.calls.parser import parse
    from ayllu.text.chat import Message, render
    from ayllu.text.template import FIXED_DAY
    from ayllu.text.tool_calls import ToolCall

    questions = [([Message(role="user", content=request.text)], request.tools) for request in asked]
    prompts = [render(messages, tokenizer, tools=tools, now=FIXED_DAY) for messages, tools in questions]
    rows, forms = [], call_forms(tokenizer)
    texts = greedy_replies(model, tokenizer, prompts, tokens=CALL_TOKENS, dtype=dtype, title="tool calls")
    for request, text in zip(asked, texts, strict=True):
        events = parse(text, forms=forms, tools=request.tools)
        rows.append(
            {
                "request": request.text,
                "function": request.calls[0].name,
                "reply": text,
                "exact": same_calls(events, request.calls),
                "read": bool(events) and all(isinstance(event, ToolCall) for event in events),
            }
        )
    return rows
