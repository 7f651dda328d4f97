"""Traces as conversations to learn from: only those that their user approved, and none of the held-out tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ayllu.assistant.tasks.drawn import drawn_tasks
from ayllu.assistant.trace import Trace, WordsErased, raw_trace, read_trace
from ayllu.lab.error import UserError
from ayllu.lab.store import write_atomically

SUFFIX = ".jsonl"


def trace_files(path: Path) -> list[Path]:
    """The traces that a file or a folder holds, in the order of their names. UserError where there are none."""
    path = path.expanduser()
    if path.is_dir():
        found = [file for file in sorted(path.glob(f"*{SUFFIX}")) if _is_trace(file)]
        if not found:
            raise UserError(f"{path} holds no traces; `ayllu assist --once … --trace {path / 'one.jsonl'}` writes one")
        return found
    if not path.is_file():
        raise UserError(f"{path} is not there: give a trace, or a folder of traces")
    return [path]


def approve(path: Path, *, approved: bool = True) -> None:
    """Write into a trace that its user lets a model learn from it, or does not any more. UserError for what is none."""
    trace = raw_trace(path)
    head = {**trace.head, "approved": approved}
    lines = [json.dumps(line, ensure_ascii=False) for line in (head, *trace.steps)]
    write_atomically(path.expanduser(), "\n".join(lines) + "\n")


def lessons_of(path: Path) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Conversations of the approved traces below `path`, and how many traces are not among them, by why.

    A conversation is a request, the calls that were made, what they gave and the answer, with the definitions of the
    tools that were called. UserError where nothing is left to learn from.
    """
    held_out = {task.request for task in drawn_tasks()}
    why = ("not approved", "without an answer", "of a held-out task", "remembered", "erased")
    found, left = [], dict.fromkeys(why, 0)
    for file in trace_files(path):
        if not raw_trace(file).head.get("approved"):
            left["not approved"] += 1
            continue
        try:
            trace = read_trace(file)
        except WordsErased:
            left["erased"] += 1
            continue
        if trace.head.get("remembered"):
            left["remembered"] += 1  # what is learnt cannot be erased
        elif trace.head["request"] in held_out:
            left["of a held-out task"] += 1
        elif not trace.steps or trace.steps[-1].get("reason") != "answered" or not trace.steps[-1]["answer"].strip():
            left["without an answer"] += 1
        else:
            found.append(_conversation(trace, file))
    if not found:
        told = ", ".join(f"{count} {why}" for why, count in left.items() if count)
        raise UserError(
            f"{path} holds no trace to learn from ({told}); `ayllu assist approve TRACE` lets a model do so"
        )
    return found, {why: count for why, count in left.items() if count}


def _conversation(trace: Trace, file: Path) -> dict[str, Any]:
    results = {step["call"]: step["output"] for step in trace.steps if step["kind"] == "returned"}
    calls = [step for step in trace.steps if step["kind"] == "called" and step["call"] in results]
    defined = {tool["name"]: tool for tool in trace.head.get("tools", ())}
    if missing := next((call["name"] for call in calls if call["name"] not in defined), None):
        raise UserError(
            f"{file} does not say what its tool {missing} is: it was written by an older Ayllu, make it anew"
        )
    messages: list[dict[str, Any]] = []
    if trace.head.get("system"):
        messages.append({"role": "system", "content": trace.head["system"]})
    messages.append({"role": "user", "content": trace.head["request"]})
    for call in calls:
        function = {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)}
        made = {"id": call["call"], "type": "function", "function": function}
        messages.append({"role": "assistant", "content": None, "tool_calls": [made]})
        messages.append({"role": "tool", "tool_call_id": call["call"], "content": results[call["call"]]})
    messages.append({"role": "assistant", "content": trace.steps[-1]["answer"]})
    names = dict.fromkeys(call["name"] for call in calls)
    tools = [{"type": "function", "function": defined[name]} for name in names]
    return {"messages": messages, **({"tools": tools} if tools else {})}


def as_lines(lessons: Sequence[dict[str, Any]]) -> str:
    """Conversations as a file of them."""
    return "".join(json.dumps(lesson, ensure_ascii=False) + "\n" for lesson in lessons)


def _is_trace(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8") as opened:
            return json.loads(opened.readline()).get("kind") == "trace"
    except (OSError, ValueError, AttributeError):
        return False
