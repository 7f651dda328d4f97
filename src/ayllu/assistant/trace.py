"""Traces: a request's steps in a file, which can be replayed without the model and without the tools' effects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayllu.assistant.approvals.book import ApprovalBook
from ayllu.assistant.approvals.gate import Decision, Gate
from ayllu.assistant.loop import Agent
from ayllu.assistant.memory.memory import Memories
from ayllu.assistant.memory.words import opened, sealed, words_in
from ayllu.assistant.models.driver import ModelError, Turned
from ayllu.assistant.models.scripted import ScriptedDriver, in_order
from ayllu.assistant.session import Session
from ayllu.assistant.steps import Step, as_json
from ayllu.assistant.tools.tool import Citation, RunnableTool, ToolError, ToolResult
from ayllu.lab.error import UserError
from ayllu.serve.state.conversations import ConversationStore
from ayllu.text.tool_calls import Tool

VERSION = 1
SEALED = 2
"""The version of a trace that holds salted digests for the words, which lie in the memory of a home."""
_MEASURED = ("seconds",)
"""Fields that differ between runs."""


class WordsErased(UserError):
    """The words of a trace were erased from the home that kept them."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A request, and what came of it."""

    head: Mapping[str, Any]
    """`version`, `model`, `request`, `system`, and the definitions of the `tools` that were called; `approved` says
    whether a model may learn from it, `remembered` whether the home in which it was made remembers anything of it."""
    steps: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Words:
    """Where the words of a trace are kept: with the memories of a home, from where they can be erased."""

    home: Path
    memories: Memories
    session: Session


def write_trace(
    path: Path, steps: Iterable[Step], *, tools: Sequence[RunnableTool] = (), words: Words | None = None, **head: Any
) -> None:
    """Write a trace, a step a line, with the definitions of those tools that were called.

    With `words` it holds nothing of what was said and done but digests. UserError where the file is there already.
    """
    told = [as_json(step) for step in steps if step.kind != "wrote"]
    called = {step["name"] for step in told if step["kind"] == "called"}
    defined = [
        {"name": tool.name, "description": tool.definition.description, "parameters": dict(tool.definition.parameters)}
        for tool in tools
        if tool.name in called
    ]
    lines = [{"kind": "trace", "version": VERSION, **head, "tools": defined}, *told]
    try:
        file = path.expanduser().open("x", encoding="utf-8")
    except FileExistsError:
        raise UserError(f"{path} exists; give a new file for the trace") from None
    with file:
        if words is not None:
            lines[0] |= {"version": SEALED, "sealed": str(words.home), "conversation": words.session.name}
            texts: dict[str, str] = {}
            sealed(lines, lambda text: texts.setdefault(text, ""))
            texts = words.memories.keep_words(texts, words.session)
            lines = sealed(lines, texts.__getitem__)
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def raw_trace(path: Path) -> Trace:
    """A trace as it is in its file, with digests for words; UserError where it is none."""
    try:
        head, *steps = [json.loads(line) for line in path.expanduser().read_text(encoding="utf-8").splitlines()]
        if head["kind"] != "trace" or not all("kind" in step for step in steps):
            raise ValueError("it is of another version")
        if head["version"] not in (VERSION, SEALED) or (head["version"] == SEALED) != ("sealed" in head):
            raise ValueError("it is of another version")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no trace of this version ({error})") from None
    return Trace(head=head, steps=steps)


def read_trace(path: Path) -> Trace:
    """Read a trace with its words; UserError where it is none, WordsErased where they are gone."""
    trace = raw_trace(path)
    if "sealed" not in trace.head:
        return trace
    try:
        words, remembered = words_in(Path(str(trace.head["sealed"])), str(trace.head.get("conversation")))
        head, *steps = opened([trace.head, *trace.steps], words.__getitem__)
    except UserError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    except (KeyError, ValueError, RecursionError):
        raise WordsErased(f"{path} cannot be read: its words were erased") from None
    return Trace(head={**head, "remembered": remembered}, steps=steps)


async def replay(trace: Trace, store: ConversationStore) -> list[str]:
    """Run the loop on a trace, with its turns, decisions and results. Gives what came out otherwise."""
    session = Session.new(store)
    session.say(str(trace.head["request"]))
    agent = Agent(
        driver=ScriptedDriver(_script(trace)),
        tools=[_tool(name, trace) for name in dict.fromkeys(_named(trace))],
        gate=_Recorded(trace),
        system=str(trace.head.get("system", "")),
    )
    found: list[dict[str, Any]] = []
    async with aclosing(agent.run(session)) as steps:
        async for step in steps:
            if step.kind not in ("wrote", "recalled"):
                found.append(_comparable(as_json(step)))
    wanted = [_comparable(step) for step in trace.steps if step["kind"] != "recalled"]
    pairs = zip(_ordered(wanted), _ordered(found), strict=False)
    differences = [f"{one['kind']}: {one} became {other}" for one, other in pairs if one != other]
    if len(wanted) != len(found):
        differences.append(f"{len(wanted)} steps became {len(found)}")
    return differences


class _Recorded(Gate):
    """Decides as it was decided."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(book=ApprovalBook(None))
        self._decisions = [step for step in trace.steps if step["kind"] == "decided"]

    async def decide(self, tool: RunnableTool, arguments: Mapping[str, Any], **_: Any) -> Decision:
        step = self._decisions.pop(0)
        return Decision(allowed=step["allowed"], asked=step["asked"], why=step["why"])


def _script(trace: Trace) -> Any:
    fields = ("items", "read", "written", "say")
    turns = [Turned(**{name: step[name] for name in fields}) for step in trace.steps if step["kind"] == "turn"]
    script, end = in_order(turns), trace.steps[-1]

    def scripted(asked: Any) -> Turned:
        try:
            return script(asked)
        except ModelError:
            raise ModelError(str(end.get("answer", ""))) from None

    return scripted


def _named(trace: Trace) -> list[str]:
    return [step["name"] for step in trace.steps if step["kind"] == "decided"]


def _tool(name: str, trace: Trace) -> RunnableTool:
    """A tool that gives what was recorded for the same arguments, in their order."""
    called = {step["call"]: step["arguments"] for step in trace.steps if step["kind"] == "called"}
    left = [step for step in trace.steps if step["kind"] == "returned" and step["name"] == name]

    def recorded(arguments: Mapping[str, Any]) -> ToolResult:
        step = next(step for step in left if called[step["call"]] == dict(arguments))
        left.remove(step)
        if step["error"]:
            raise ToolError(step["output"].removeprefix("error: "))
        citations = [Citation(**citation) for citation in step["citations"]]
        return ToolResult(text=step["output"], say=step["say"], citations=citations, untrusted=bool(step["untrusted"]))

    theirs = any(step["untrusted"] for step in left)
    return RunnableTool(definition=Tool(name=name, description=name), function=recorded, effect=False, untrusted=theirs)


def _comparable(step: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps({key: value for key, value in step.items() if key not in _MEASURED}))


def _ordered(steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Steps, results that came side by side in the order of their calls."""
    order = {step["call"]: number for number, step in enumerate(steps) if step["kind"] == "called"}
    places = [number for number, step in enumerate(steps) if step["kind"] == "returned"]
    results = sorted((steps[number] for number in places), key=lambda step: order[step["call"]])
    found = list(steps)
    for place, result in zip(places, results, strict=True):
        found[place] = result
    return found
