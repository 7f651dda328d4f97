"""Tool calls that strangers asked for: single calls of the Berkeley Function-Calling Leaderboard, judged by its rules.

Nothing of it is trained on or was looked at while training was made: `tool_requests` has tools, wordings and values of
one hand, these come from many. Source: Patil et al., "The Berkeley Function Calling Leaderboard", ICML 2025; questions
and accepted answers from its package (Apache-2.0), rules from its `ast_checker.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.data.archive import Archive, fetch, open_member
from ayllu.evals.skills.replies import greedy_replies
from ayllu.lab.error import UserError
from ayllu.text.tool_calls import CALL_NAME, Tool, ToolCall

if TYPE_CHECKING:
    import torch

    from ayllu.model.transformer import Transformer
    from ayllu.text.chat import Message
    from ayllu.text.tokenizer import Tokenizer

BFCL = Archive(
    registry="pypi",
    name="bfcl-eval",
    version="2026.3.23",
    filename="bfcl_eval-2026.3.23-py3-none-any.whl",
    sha256="3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a",
)
PARTS = ("simple_python", "multiple", "live_simple", "live_multiple")
"""One or several functions on offer, written by the leaderboard's authors, and the same sent in by users."""
SEED = "ayllu-strangers-1"
"""Enters the digest that draws the items: it was committed before any of them was measured."""
LONGEST = 6000
"""Most characters of the definitions on offer: about 1,500 ids."""
EACH = 3
"""Items at most that want the same function, so that many functions are asked for."""
CALL_TOKENS = 128
"""Most ids of a reply."""
KINDS: Mapping[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}
"""What the data calls types, and what JSON makes of them."""
SCHEMA = {"float": "number", "dict": "object", "tuple": "array", "any": "string"}
"""The words of JSON Schema for those it calls something else."""
_LOOSE = re.compile(r"[ ,./\-_*^]")


@dataclass(frozen=True, kw_only=True, slots=True)
class StrangersRequest:
    """A question with the functions on offer, and what the right call may hold."""

    id: str
    messages: tuple[Message, ...]
    functions: tuple[Mapping[str, Any], ...]
    wanted: str
    """Name of the right function."""
    accepted: Mapping[str, Sequence[Any]]
    """Right values of each argument; an empty text among them where it may be left out."""

    @property
    def tools(self) -> tuple[Tool, ...]:
        return tuple(
            Tool(name=function["name"], description=function["description"], parameters=_schema(function["parameters"]))
            for function in self.functions
        )


def draw_requests(count: int, cache: Path) -> list[StrangersRequest]:
    """`count` requests, the same everywhere; those of a smaller draw are among those of a larger one.

    Raises UserError where there are not that many.
    """
    ordered = sorted(_read(cache), key=lambda request: hashlib.sha256(f"{SEED}/{request.id}".encode()).digest())
    found: list[StrangersRequest] = []
    used: Counter[str] = Counter()
    for request in ordered:
        if used[request.wanted] < EACH and len(found) < count:
            used[request.wanted] += 1
            found.append(request)
    if len(found) < count:
        raise UserError(f"{BFCL} holds {len(found)} such requests, not {count}; ask for fewer")
    return found


def score_strangers_calls(
    model: Transformer, tokenizer: Tokenizer, asked: Sequence[StrangersRequest], *, dtype: torch.dtype
) -> list[dict[str, Any]]:
    """For each request the reply, whether it is the right call (`exact`), and the function by which items cluster.

    A request that does not fit into the model's context has no reply, and is not right.
    """
    from ayllu.text.calls.form import call_forms
    from ayllu.text.calls.parser import parse
    from ayllu.text.chat import render
    from ayllu.text.template import FIXED_DAY

    forms = call_forms(tokenizer)
    prompts = [render(list(request.messages), tokenizer, tools=request.tools, now=FIXED_DAY) for request in asked]
    fits = [len(prompt) + CALL_TOKENS <= model.config.context for prompt in prompts]
    asks = [prompt for prompt, room in zip(prompts, fits, strict=True) if room]
    replies = iter(greedy_replies(model, tokenizer, asks, tokens=CALL_TOKENS, dtype=dtype, title="strangers' tools"))
    texts = [next(replies) if room else "" for room in fits]
    return [
        {
            "request": request.id,
            "function": request.wanted,
            "reply": text,
            "exact": is_right(parse(text, forms=forms, tools=request.tools), request),
        }
        for request, text in zip(asked, texts, strict=True)
    ]


def is_right(events: Sequence[Any], request: StrangersRequest) -> bool:
    """Whether a reply is one call, of the right function, with accepted values of the right types and no others."""
    if len(events) != 1 or not isinstance(events[0], ToolCall) or events[0].name != request.wanted:
        return False
    given = events[0].arguments
    parameters = next(f for f in request.functions if f["name"] == request.wanted)["parameters"]
    properties, accepted = parameters["properties"], request.accepted
    if any(name not in given for name in parameters["required"]):
        return False
    if any(name not in given and "" not in values for name, values in accepted.items()):
        return False
    return all(
        name in properties and name in accepted and _accepts(accepted[name], value, properties[name])
        for name, value in given.items()
    )


def _accepts(accepted: Sequence[Any], value: Any, schema: Mapping[str, Any]) -> bool:
    kind = KINDS[schema["type"]]
    if schema["type"] == "float" and type(value) is int:
        value = float(value)
    # An answer of another type than the definition names stands for a variable, and is compared as it is.
    answered = next((type(answer) for answer in accepted if answer != ""), None)
    exact: bool = type(value) is kind
    if not exact:
        return type(value) is answered and value in accepted
    inner = KINDS[schema["items"]["type"]] if kind is list else None
    if inner and not any(_types_fit(value, inner, answer) for answer in accepted):
        return False
    if answered not in (None, kind):
        return value in accepted
    if kind is dict:
        return any(_same_object(value, answer) for answer in accepted if answer != "")
    if inner is dict:
        # An argument that may be left out may also be an empty list.
        return any(len(value) == len(answer) and all(map(_same_object, value, answer)) for answer in accepted)
    if kind is list:
        return [_loose(each) for each in value] in [[_loose(each) for each in answer] for answer in accepted]
    if kind is str:
        return _loose(value) in [_loose(answer) for answer in accepted if isinstance(answer, str)]
    return value in accepted


def _types_fit(values: Sequence[Any], inner: type, answer: Any) -> bool:
    if not isinstance(answer, list):
        return True
    other = next((type(each) for each in answer if each != ""), None)
    return all(type(value) in (inner, other) for value in values)


def _same_object(value: Mapping[str, Any], answer: Mapping[str, Sequence[Any]]) -> bool:
    """Whether an object has accepted values under the answer's keys, and lacks only what may be left out."""
    if any(key not in value and "" not in accepted for key, accepted in answer.items()):
        return False
    return all(key in answer and _loose(each) in [_loose(one) for one in answer[key]] for key, each in value.items())


def _loose(value: Any) -> Any:
    """A text without spaces, case and some signs, so that "April 1, 2024" is "april 1 2024"; all else as it is."""
    return _LOOSE.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


def _schema(given: Any) -> Any:
    """The data's definition in the words of JSON Schema."""
    if isinstance(given, Mapping):
        return {
            name: SCHEMA.get(value, value) if name == "type" and isinstance(value, str) else _schema(value)
            for name, value in given.items()
        }
    return [_schema(each) for each in given] if isinstance(given, list) else given


def _read(cache: Path) -> Iterator[StrangersRequest]:
    """All requests of one turn and one call whose definitions are short enough and whose names a call can carry."""
    from ayllu.text.chat import Message

    archive = fetch(BFCL, cache)
    for part in PARTS:
        asked, answers = (
            {row["id"]: row for row in _rows(archive, f"bfcl_eval/data/{folder}BFCL_v4_{part}.json")}
            for folder in ("", "possible_answer/")
        )
        for name, row in asked.items():
            truth = answers[name]["ground_truth"]
            one = len(row["question"]) == len(truth) == 1
            named = all(CALL_NAME.fullmatch(function["name"]) for function in row["function"])
            if not one or not named or len(json.dumps(row["function"])) > LONGEST:
                continue
            ((wanted, accepted),) = truth[0].items()
            # An argument without any accepted value cannot be given, nor left out: nobody could be right.
            if not all(accepted.values()):
                continue
            yield StrangersRequest(
                id=name,
                messages=tuple(Message(role=turn["role"], content=turn["content"]) for turn in row["question"][0]),
                functions=tuple(row["function"]),
                wanted=wanted,
                accepted=accepted,
            )


def _rows(archive: Path, name: str) -> Iterator[dict[str, Any]]:
    with open_member(archive, name) as file:
        for line in file:
            yield json.loads(line)
