"""Requests for tools: what is measured was never trained on, and every call fits its tool."""

from __future__ import annotations

import random

import pytest

from ayllu.data.conversations.tool_requests import (
    ToolRequest,
    make_request_group,
    make_requests,
    same_calls,
    specs,
    wrong_call,
)
from ayllu.text.calls.parser import parse
from ayllu.text.tool_calls import Tool, ToolCall, problem, write_calls


def names(tools: tuple[Tool, ...]) -> set[str]:
    return {name for tool in tools for name in (tool.name, *tool.parameters["properties"])}


@pytest.fixture(scope="module")
def train() -> list[ToolRequest]:
    return list(make_requests("train", 3000, seed=1))


@pytest.fixture(scope="module")
def held_out() -> list[ToolRequest]:
    return list(make_requests("held out", 500, seed=0))


def test_names_of_held_out_tools_and_arguments_are_never_trained_on(
    train: list[ToolRequest], held_out: list[ToolRequest]
) -> None:
    seen = set().union(*(names(request.tools) for request in train))
    asked = set().union(*(names(request.tools) for request in held_out))
    assert len(asked) > 25
    assert not seen & asked
    assert len(seen) > 1000, "renaming should give many names"
    words = {str(v) for r in train for c in r.calls for v in c.arguments.values() if isinstance(v, str)}
    held = {v for r in held_out for c in r.calls for v in c.arguments.values() if isinstance(v, str)}
    assert len(held & words) < len(held) / 4, "values too are mostly new"


def test_every_call_fits_its_tool_and_can_be_read_back(train: list[ToolRequest], held_out: list[ToolRequest]) -> None:
    for request in [*train, *held_out]:
        assert all(problem(call, request.tools) is None for call in request.calls)
        assert same_calls(parse(write_calls(request.calls)), request.calls)
        for call in request.calls:
            assert all(str(value) in request.text for value in call.arguments.values())


def test_the_same_seed_gives_the_same_requests() -> None:
    assert list(make_requests("train", 20, seed=5)) == list(make_requests("train", 20, seed=5))
    assert list(make_requests("train", 20, seed=5)) != list(make_requests("train", 20, seed=6))


def test_a_group_shares_its_tools() -> None:
    made = make_request_group("train", 6, random.Random(0))
    assert len(made) == 6
    assert all(request.tools == made[0].tools for request in made)


def test_wrong_calls_are_wrong(train: list[ToolRequest]) -> None:
    chance = random.Random(0)
    for request in train[:500]:
        bad = wrong_call(request, chance)
        assert not same_calls(list(bad), request.calls)
        assert len(bad) == len(request.calls)


def test_exact_means_names_values_and_types() -> None:
    wanted = [ToolCall(name="f", arguments={"a": 1, "b": "x"})]
    assert same_calls([ToolCall(name="f", arguments={"b": "x", "a": 1})], wanted)
    assert not same_calls([ToolCall(name="f", arguments={"b": "x", "a": "1"})], wanted)
    assert not same_calls([ToolCall(name="f", arguments={"b": "x", "a": 1.0})], wanted)
    assert not same_calls(["words", *wanted], wanted)
    assert not same_calls([*wanted, *wanted], wanted)
    assert not same_calls([], wanted)


def test_the_file_has_enough_on_both_sides() -> None:
    assert len(specs()["train"]) >= 30
    assert len(specs()["held out"]) >= 12
