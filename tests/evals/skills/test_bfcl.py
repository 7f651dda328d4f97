"""Strangers' tool calls: the leaderboard's own checker is the oracle, on right answers and changed ones."""

from __future__ import annotations

import json
import random
import sys
import types
import zipimport
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import util
from typing import Any

import pytest
import torch

from ayllu.data.archive import default_cache, fetch
from ayllu.data.conversations.tool_requests import specs
from ayllu.evals.skills import bfcl
from ayllu.evals.skills.bfcl import BFCL, StrangersRequest, draw_requests, is_right, score_strangers_calls
from ayllu.lab.error import UserError
from ayllu.model.transformer import Transformer
from ayllu.text.calls.parser import parse
from ayllu.text.chat import render
from ayllu.text.tokenizer import Tokenizer
from ayllu.text.tool_calls import ToolCall, write_call

COUNT = 200
Checker = Callable[[StrangersRequest, ToolCall], bool]


@pytest.fixture(scope="module")
def asked() -> list[StrangersRequest]:
    return draw_requests(COUNT, default_cache())


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    """`ast_checker.py` of the leaderboard, with its tables of models and of other languages left out."""
    package = "bfcl_eval.constants"
    stubs: dict[str, dict[str, Any]] = {
        f"{package}.enums": {"Language": types.SimpleNamespace(JAVA="java", JAVASCRIPT="js", PYTHON="python")},
        f"{package}.model_config": {"MODEL_CONFIG_MAPPING": {"any": types.SimpleNamespace(underscore_to_dot=False)}},
        f"{package}.type_mappings": {"JAVA_TYPE_CONVERSION": {}, "JS_TYPE_CONVERSION": {}},
        "bfcl_eval.eval_checker.ast_eval.type_convertor.java_type_converter": {"java_type_converter": None},
        "bfcl_eval.eval_checker.ast_eval.type_convertor.js_type_converter": {"js_type_converter": None},
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, held in stubs.items():
            module = types.ModuleType(name)
            module.__dict__.update(held)
            patch.setitem(sys.modules, name, module)
        for name in ("bfcl_eval", package, "bfcl_eval.eval_checker", "bfcl_eval.eval_checker.ast_eval"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        archive = fetch(BFCL, default_cache())
        finder = zipimport.zipimporter(f"{archive}/bfcl_eval/eval_checker/ast_eval")
        spec = finder.find_spec("ast_checker")
        assert spec is not None and spec.loader is not None
        module = util.module_from_spec(spec)
        spec.loader.exec_module(module)

        def check(request: StrangersRequest, call: ToolCall) -> bool:
            function = next(f for f in request.functions if f["name"] == request.wanted)
            answer = {request.wanted: dict(request.accepted)}
            given = {call.name: dict(call.arguments)}
            return bool(module.simple_function_checker(function, given, answer, "python", "any")["valid"])

        yield check


def first_answer(accepted: Any) -> Any:
    """A right value, with the alternatives inside of objects decided too."""
    if not isinstance(accepted, list):
        return accepted
    value = next((one for one in accepted if one != ""), "")
    if isinstance(value, dict):
        return {key: first_answer(inner) for key, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [{key: first_answer(inner) for key, inner in each.items()} for each in value]
    return value


def right_call(request: StrangersRequest) -> ToolCall:
    required = next(f for f in request.functions if f["name"] == request.wanted)["parameters"]["required"]
    given = {name: first_answer(values) for name, values in request.accepted.items()}
    needed = [name for name in given if name in required or "" not in request.accepted[name]]
    return ToolCall(name=request.wanted, arguments={name: given[name] for name in needed})


def changed(call: ToolCall, request: StrangersRequest, chance: random.Random) -> Iterator[ToolCall]:
    """The call with one thing about it altered: some of these are still right, most are not."""
    given = dict(call.arguments)
    names = [*given, *(name for name in request.accepted if name not in given)]
    for name in names:
        yield ToolCall(name=call.name, arguments={k: v for k, v in given.items() if k != name})
        value = given.get(name, first_answer(request.accepted[name]))
        others: list[Any] = [str(value), [value], None, True, 1, 1.0, "", {}, []]
        if isinstance(value, str):
            others += [value.upper(), value.replace(" ", ""), value + ".", value + "x", value.replace("'", '"')]
        elif isinstance(value, int | float):
            others += [float(value), value + 1, int(value), -value]
        elif isinstance(value, list):
            others += [value[::-1], value[:-1], [*value, *value], [str(one) for one in value]]
        elif isinstance(value, dict):
            others += [dict(list(value.items())[:-1]), {**value, "other": 1}]
        others += chance.choice([list(request.accepted[name])])
        yield from (ToolCall(name=call.name, arguments={**given, name: other}) for other in others)
    yield ToolCall(name=call.name, arguments={**given, "no_such_argument": 1})
    yield ToolCall(name=f"{call.name}_", arguments=given)


def test_answers_are_judged_as_the_leaderboard_judges_them(asked: list[StrangersRequest], checker: Checker) -> None:
    chance, verdicts = random.Random(0), Counter[bool]()
    for request in asked:
        call = right_call(request)
        for other in (call, *changed(call, request, chance)):
            verdict = is_right([other], request)
            assert verdict == checker(request, other), (request.id, other)
            verdicts[verdict] += 1
        assert is_right([call], request), request.id
        assert is_right(parse(write_call(call)), request), "and as the model says it"
        assert not is_right([call, call], request)
        assert not is_right([], request)
    assert min(verdicts.values()) > COUNT


def test_the_draw_is_wide_and_shares_nothing_with_what_is_trained_on(asked: list[StrangersRequest]) -> None:
    functions = Counter(request.wanted for request in asked)
    assert len(functions) >= 60
    assert max(functions.values()) <= bfcl.EACH
    parts = Counter(request.id.rsplit("_", 1)[0] for request in asked)
    assert sum(count for part, count in parts.items() if part.startswith("live")) > COUNT // 4, "of many writers"
    ours = {spec.name for side in specs().values() for spec in side}
    assert sum(name in ours for name in functions) <= len(functions) // 20
    assert draw_requests(50, default_cache()) == asked[:50]
    for request in asked:
        for tool in request.tools:
            assert tool.parameters["type"] == "object"
            assert '"type": "dict"' not in json.dumps(tool.parameters)


def test_more_requests_than_there_are_is_told() -> None:
    with pytest.raises(UserError, match="ask for fewer"):
        draw_requests(100_000, default_cache())


def test_replies_are_read_and_judged(
    monkeypatch: pytest.MonkeyPatch, model: Transformer, tokenizer: Tokenizer, asked: list[StrangersRequest]
) -> None:
    monkeypatch.setattr(model, "config", replace(model.config, context=1 << 20))
    some = asked[:3]
    replies = [write_call(right_call(some[0])), "I do not know.", write_call(right_call(some[0]))]
    monkeypatch.setattr(bfcl, "greedy_replies", lambda *_, **__: replies)
    rows = score_strangers_calls(model, tokenizer, some, dtype=torch.float32)
    assert [row["exact"] for row in rows] == [True, False, False]
    assert [row["function"] for row in rows] == [request.wanted for request in some]
    # Of those that do not fit nothing is asked, and the next one gets its own reply.
    shortest = min(len(render(list(request.messages), tokenizer, tools=request.tools)) for request in some)
    monkeypatch.setattr(model, "config", replace(model.config, context=shortest + bfcl.CALL_TOKENS))
    monkeypatch.setattr(bfcl, "greedy_replies", lambda _, __, prompts, **___: ["?"] * len(prompts))
    told = [row["reply"] for row in score_strangers_calls(model, tokenizer, some, dtype=torch.float32)]
    assert sorted(told) == ["", "", "?"]
