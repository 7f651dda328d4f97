"""Faults put into tools on purpose: errors, time-outs and malformed output, by the task's name, always the same."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ayllu.assistant.tasks.task import Task
from ayllu.assistant.tools.tool import RunnableTool, ToolError, ToolResult

KINDS = ("error", "timeout", "crash", "malformed")
PATIENCE = 0.05
"""Seconds that a tool with a fault has."""


def faulty(tools: Sequence[RunnableTool], task: Task) -> list[RunnableTool]:
    """`tools`, where the first call of each goes wrong in a way that depends on the task, and no later one."""
    return [_faulty(tool, KINDS[_number(f"{task.id} {tool.name}") % len(KINDS)]) for tool in tools]


def _faulty(tool: RunnableTool, kind: str) -> RunnableTool:
    calls = []

    def call(arguments: Mapping[str, Any]) -> Any:
        calls.append(arguments)
        if len(calls) > 1:
            return tool.function(arguments)
        if kind == "error":
            raise ToolError("the service is busy, try again")
        if kind == "crash":
            raise ConnectionResetError("connection reset by peer")
        if kind == "timeout":
            time.sleep(4 * PATIENCE)
            return "too late"
        return ToolResult(text='{"result": [1, 2, \ufffd\x00', say=None, untrusted=True)

    return replace(tool, function=call, seconds=PATIENCE if kind == "timeout" and not calls else tool.seconds)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
