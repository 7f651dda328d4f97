"""What a chat model can do, by its replies: tool calls that must match exactly, and tasks with a checker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ayllu.evals.statistics import mcnemar, paired_bootstrap, wilson
from ayllu.lab.progress import bar

if TYPE_CHECKING:
    import torch

    from ayllu.data.conversations.reasoning import Family
    from ayllu.data.conversations.tool_requests import Request
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

TOGETHER = 16
"""Prompts answered at a time."""
CALL_TOKENS, ANSWER_TOKENS = 80, 48
"""Most ids of a reply with calls, and of an answer to a task."""


def replies(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    *,
    tokens: int,
    dtype: torch.dtype,
    title: str,
) -> list[str]:
    """The likeliest reply to each prompt, computed together with others of like length."""
    from ayllu.model.sample import in_type, sample

    model = in_type(model, dtype)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found = [""] * len(prompts)
    with bar(title, total=len(prompts), unit="prompts") as progress:
        for start in range(0, len(order), TOGETHER):
            part = order[start : start + TOGETHER]
            answers = sample(model, [prompts[i] for i in part], tokens=tokens, stop=tokenizer.stops, temperature=0.0)
            for i, (answer,) in zip(part, answers, strict=True):
                found[i] = tokenizer.decode(answer.ids)
            progress.advance(len(part))
    return found


def tool_calls(
    model: Transformer, tokenizer: Tokenizer, asked: Sequence[Request], *, dtype: torch.dtype
) -> list[dict[str, Any]]:
    """For each request the reply, and whether its calls are just the right ones (`exact`) or can be read (`read`)."""
    from ayllu.data.conversations.tool_requests import same_calls
    from ayllu.text.call_parser import parse
    from ayllu.text.chat import Message, render
    from ayllu.text.tool_calls import ToolCall

    prompts = [render([Message(role="user", content=r.text)], tokenizer, tools=r.tools) for r in asked]
    rows = []
    texts = replies(model, tokenizer, prompts, tokens=CALL_TOKENS, dtype=dtype, title="tool calls")
    for request, text in zip(asked, texts, strict=True):
        events = parse(text)
        rows.append(
            {
                "request": request.text,
                "reply": text,
                "exact": same_calls(events, request.calls),
                "read": bool(events) and all(isinstance(event, ToolCall) for event in events),
            }
        )
    return rows


def reasoning(
    model: Transformer,
    tokenizer: Tokenizer,
    family: Family,
    items: Sequence[dict[str, Any]],
    *,
    dtype: torch.dtype,
) -> list[dict[str, Any]]:
    """For each item the reply, whether it is right in whatever form, and whether it has the form."""
    from ayllu.text.chat import Message, render
    from ayllu.train.objectives.rewards import ask, grade

    prompts = [render([Message(role="user", content=ask(item["question"]))], tokenizer) for item in items]
    texts = replies(model, tokenizer, prompts, tokens=ANSWER_TOKENS, dtype=dtype, title=family.name)
    rows = []
    for item, text in zip(items, texts, strict=True):
        reward = grade(text, item, family)
        rows.append(
            {
                "question": item["question"],
                "reply": text,
                "correct": bool(reward.correct),
                "format": bool(reward.format),
            }
        )
    return rows


def paired(before: Sequence[bool], after: Sequence[bool], *, seed: int = 0) -> dict[str, Any]:
    """Both shares with Wilson's intervals, and their difference, paired: bootstrap over items and McNemar's p."""
    only_first = sum(a and not b for a, b in zip(before, after, strict=True))
    only_second = sum(b and not a for a, b in zip(before, after, strict=True))
    return {
        "items": len(before),
        "before": wilson(sum(before), len(before)).as_json(),
        "after": wilson(sum(after), len(after)).as_json(),
        "difference": paired_bootstrap(before, after, seed=seed).as_json(),
        "p": mcnemar(only_first, only_second),
    }
