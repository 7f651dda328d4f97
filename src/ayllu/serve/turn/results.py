"""Results of tools in the order of their calls, since most chat formats tell them apart by nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from ayllu.text.chat import Message


def results_in_order(messages: Sequence[Message]) -> list[Message]:
    """`messages`, where the results behind a turn with calls stand as its calls do."""
    ordered: list[Message] = []
    places: dict[str | None, int] = {}
    results: list[Message] = []
    for message in messages:
        if message.role == "tool":
            results.append(message)
            continue
        ordered += sorted(results, key=lambda result: places.get(result.tool_call_id, len(places)))
        results = []
        if message.tool_calls:
            places = {call.id: number for number, call in enumerate(message.tool_calls)}
        ordered.append(message)
    return ordered + sorted(results, key=lambda result: places.get(result.tool_call_id, len(places)))
