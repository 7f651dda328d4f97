"""Help for small models: few tools, examples instead of definitions, and arguments made of the user's own words.

A model of a hundred million parameters neither reads definitions nor writes arguments well. It does see which example
its request is like, and it can copy. So each turn shows it the examples of all tools that are nearest to the request,
and a grammar lets it write a call of one of those tools whose texts are runs of words of the request.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from ayllu.assistant.models.driver import Asked, Driver, Turned, Words
from ayllu.assistant.session import message, text_of
from ayllu.assistant.tools.tool import Example, RunnableTool
from ayllu.assistant.tools.words import spans
from ayllu.serve.responses.items import new_id
from ayllu.serve.turn.reader import call_id

REPLY = "reply"
SMALL_TALK = (
    *("Hello!", "Who are you?", "Tell me a joke", "Thank you, that helped", "What is the capital of France?"),
    *("Why is the sky blue?", "Write a short poem about rain", "What do you think of cats?"),
)
"""Requests that no tool answers."""
SHOWN = 8
"""Examples in a prompt."""
MOST_TOOLS = 3
"""Tools that a turn chooses from."""
UNFIT = 0.2
"""What the nearness of a tool counts that can read nothing of the request: set_reminder where no time is named."""
CHATS = 1 / 3
"""A reply is offered where one is at least this near beside the nearest tool: a small model likes to talk."""
SYSTEM = "Answer each request with the JSON of the call that fits it. Copy the words of the request into the arguments."


class GuidedDriver:
    """A driver that makes calls in this way; what no tool answers, and what follows a result, the model says freely."""

    def __init__(self, inner: Driver, tools: Sequence[RunnableTool]) -> None:
        self.name = inner.name
        self._inner, self._tools = inner, {tool.name: tool for tool in tools if tool.guided}
        self._examples = [
            *((example, tool.name) for tool in tools for example in tool.examples),
            *((Example(request=request), REPLY) for request in SMALL_TALK),
            # A tool without examples is found by what is said of it; that is no request, and is not shown as one.
            *((Example(request=_about(tool)), tool.name) for tool in tools if not tool.examples and tool.guided),
        ]
        self._shown = {id(example) for tool in tools for example in tool.examples}
        self._shown |= {id(example) for example, name in self._examples if name == REPLY}
        self._nearness = _Nearness([example.request for example, _ in self._examples])

    async def turn(self, asked: Asked) -> AsyncGenerator[Words | Turned]:
        last = asked.items[-1] if asked.items else None
        read = written = 0
        if asked.tools and last is not None and last["type"] == "message" and last["role"] == "user":
            turned = await self._call(text_of(last), asked)
            if turned.items:
                yield turned
                return
            read, written = turned.read, turned.written
        # Definitions would only confuse it: what comes now is words.
        async with aclosing(self._inner.turn(replace(asked, tools=(), choice="none"))) as parts:
            async for part in parts:
                if isinstance(part, Turned):
                    part = replace(part, read=part.read + read, written=part.written + written)
                yield part

    async def close(self) -> None:
        await self._inner.close()

    async def _call(self, request: str, asked: Asked) -> Turned:
        """A turn with one call; one without items where the model would rather reply."""
        offered = {tool.name for tool in asked.tools if tool.name in self._tools} | {REPLY}
        ranked = [(score, *self._examples[number]) for score, number in self._nearness.ranked(request)]
        ranked = [entry for entry in ranked if entry[2] in offered]
        names = self._candidates(request, ranked)
        shown = [(example, name) for _, example, name in ranked if name in names and id(example) in self._shown]
        items = []
        for example, name in reversed(shown[:SHOWN]):  # the nearest stands last, where it is heard best
            items += [message("user", example.request), message("assistant", _written(name, example.arguments))]
        schemas = [
            _schema(self._tools[name], request) if name != REPLY else _call_schema(REPLY, {}, []) for name in names
        ]
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        prompt = Asked(
            items=[*items, message("user", request)], instructions=SYSTEM, schema=schema, most=200, temperature=0.0
        )
        turned = Turned()
        async with aclosing(self._inner.turn(prompt)) as parts:
            async for part in parts:
                if isinstance(part, Turned):
                    turned = part
        name, arguments = _read("".join(text_of(item) for item in turned.items))
        if name not in self._tools:
            return replace(turned, items=())
        call = {"call_id": call_id(), "name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
        item = {"id": new_id("fc"), "type": "function_call", "status": "completed", **call}
        return replace(turned, items=[item], say=True)

    def _candidates(self, request: str, ranked: Sequence[tuple[float, Example, str]]) -> list[str]:
        """The tools that a turn chooses from, the nearest first."""
        best: dict[str, float] = {}
        for score, _, name in ranked:
            best.setdefault(name, score)
        unfit = {name for name in best if name != REPLY and not _fits(self._tools[name], request)}
        weighed = sorted(best, key=lambda name: -best[name] * (UNFIT if name in unfit else 1.0))
        first = best[weighed[0]]
        dropped = unfit - {weighed[0]}
        if best.get(REPLY, 0.0) < CHATS * first:
            dropped.add(REPLY)
        return [name for name in weighed if name not in dropped][:MOST_TOOLS]


def _fits(tool: RunnableTool, request: str) -> bool:
    """Whether every argument that has choices has one."""
    return all(choices(request) for choices in tool.choices.values())


def _about(tool: RunnableTool) -> str:
    return f"{tool.name.replace('_', ' ')} {tool.definition.description[:200]}"


def _written(name: str, arguments: Mapping[str, Any]) -> str:
    return json.dumps({"name": name, "parameters": dict(arguments)}, ensure_ascii=False)


def _read(text: str) -> tuple[str, dict[str, Any]]:
    try:
        found = json.loads(text)
        return str(found["name"]), dict(found["parameters"])
    except (ValueError, KeyError, TypeError):
        return REPLY, {}


def _schema(tool: RunnableTool, request: str) -> dict[str, Any]:
    """What a call of `tool` for this request can be."""
    properties: dict[str, Any] = {}
    shown = {name for example in tool.examples for name in example.arguments}
    for name, schema in tool.definition.parameters.get("properties", {}).items():
        if shown and name not in shown:
            continue
        choices = tool.choices.get(name)
        if choices is not None:
            schema = {"enum": list(dict.fromkeys(choices(request))) or spans(request) or [""]}
        elif schema.get("type") == "string" and "enum" not in schema and "const" not in schema:
            empty = [""] if "default" in schema else []
            schema = {"enum": [*empty, *spans(request)] or [""]}
        properties[name] = schema
    return _call_schema(tool.name, properties, list(properties))


def _call_schema(name: str, properties: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "parameters": parameters},
        "required": ["name", "parameters"],
        "additionalProperties": False,
    }


class _Nearness:
    """How alike texts are: the cosine of their words and three-letter runs, rare ones counting most."""

    def __init__(self, texts: Sequence[str]) -> None:
        counted = [Counter(_features(text)) for text in texts]
        seen = Counter(feature for counts in counted for feature in counts)
        self._rarity = {feature: math.log(1 + len(texts) / count) for feature, count in seen.items()}
        self._unseen = math.log(1 + len(texts))
        self._vectors = [self._vector(counts) for counts in counted]

    def ranked(self, text: str) -> list[tuple[float, int]]:
        """Likeness and number of each text, the nearest first."""
        vector = self._vector(Counter(_features(text)))
        scores = [
            (sum(value * other.get(feature, 0.0) for feature, value in vector.items()), number)
            for number, other in enumerate(self._vectors)
        ]
        return sorted(scores, key=lambda entry: (-entry[0], entry[1]))

    def _vector(self, counts: Mapping[str, int]) -> dict[str, float]:
        values = {f: math.sqrt(n) * self._rarity.get(f, self._unseen) for f, n in counts.items()}
        length = math.sqrt(sum(value * value for value in values.values())) or 1.0
        return {feature: value / length for feature, value in values.items()}


def _features(text: str) -> list[str]:
    plain = re.sub(r"\d+(?:[.,:]\d+)*", " 0 ", text.lower())
    plain = re.sub(r"\b[\w-]+\.(csv|tsv)\b", " table ", plain)
    plain = re.sub(r"\b[\w-]+\.(txt|md|log|rst|json|html)\b", " document ", plain)
    words = re.findall(r"[^\W_]+|[%+*/€$]", plain)
    runs = [f"#{word[at : at + 4]}" for word in words if len(word) > 4 for at in range(0, len(word) - 3)]
    pairs = [f"{a} {b}" for a, b in itertools.pairwise(words)]
    return [*words, *pairs, *(run for run in runs)]
