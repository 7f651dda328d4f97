"""What an answer must match: calls of tools, the shape of its words, or either.

Where both may come, the grammar is put together here in llguidance's Lark notation (its `docs/syntax.md`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ayllu.serve import grammar
from ayllu.serve.errors import ApiError
from ayllu.serve.turn.asked import Shape, Turn
from ayllu.text.calls.shape import ID, TOOL_CALL, CallForm
from ayllu.text.tokenizer import Tokenizer
from ayllu.text.tool_calls import FUNCTION, Tool

SHAPE, TOOLS = "response_format", "tools"
"""What an `ApiError` names as the parameter that cannot be done."""


def grammar_of(turn: Turn, tokenizer: Tokenizer, forms: Sequence[CallForm]) -> str | None:
    """What the whole answer must match; None where anything goes.

    A call that is required, or of a tool that is strict, is written as the model's template writes calls (`forms`), or
    as Llama 3.1 does. ApiError for a schema that cannot be enforced: that of a shape, or of a strict tool; the
    arguments of other tools then are any object.
    """
    # Where a call is no JSON of the usual keys, it is written as Llama 3.1 does, which is read as well.
    tools, form = turn.callable, next((form for form in forms if form.opening and form.is_json), None)
    if not tools:
        return shape_grammar(turn.shape)
    bound = turn.choice.names is not None or any(tool.name in turn.strict for tool in tools)
    if turn.choice.mode != "required" and turn.shape is None and not bound:
        return None
    calls = _calls(_enforceable(tools, turn), turn, tokenizer, form)
    opening = "" if form is None else f"{_tag(form.opening, tokenizer)} "
    if turn.choice.mode == "required":
        return _valid(f"start: {opening}calls\n{calls}", TOOLS)
    if turn.shape is not None:
        if form is None:
            calls = _json_calls(_enforceable(tools, turn), turn)
        return _valid(f"start: shape | {opening}calls\n{_shape_rule(turn.shape)}{calls}", SHAPE)
    return _valid(_words_or_calls(tokenizer, form) + calls, TOOLS)


def shape_grammar(shape: Shape | None) -> str | None:
    """What words of this shape match; ApiError for what cannot be enforced."""
    if shape is None:
        return None
    try:
        if shape.kind == "json_object":
            return grammar.compile_json_object()
        if shape.kind == "json_schema":
            return grammar.compile_json_schema(shape.value)
        if shape.kind == "choice":
            return grammar.compile_choice(shape.value)
        if shape.kind == "regex":
            return grammar.compile_regex(shape.value)
        return grammar.compile_lark(str(shape.value))
    except ValueError as error:
        raise ApiError(400, f"{SHAPE}: {error}", param=SHAPE) from error


def _shape_rule(shape: Shape) -> str:
    """The same as a rule of another name, beside which others can stand."""
    compiled = shape_grammar(shape)
    if compiled is None or shape.kind == "lark":
        raise ApiError(400, "a grammar of your own and tools do not go together; leave one of them out", param=SHAPE)
    return "shape: " + compiled.removeprefix("start: ")


def _enforceable(tools: Sequence[Tool], turn: Turn) -> list[Tool]:
    """The tools as they can be enforced: arguments of those that are not strict may be any object."""
    found = []
    for tool in tools:
        try:
            grammar.json_part({"type": "object", **tool.parameters})
            found.append(replace(tool, parameters={"type": "object", **tool.parameters}))
        except ValueError as error:
            if tool.name in turn.strict:
                raise ApiError(400, f"{TOOLS}: the parameters of {tool.name}: {error}", param=TOOLS) from error
            found.append(replace(tool, parameters={"type": "object"}))
    return found


def _calls(tools: Sequence[Tool], turn: Turn, tokenizer: Tokenizer, form: CallForm | None) -> str:
    """Rules for `calls`: one or several, as `ayllu.text.tool_calls` writes them or in the form of a template.

    Where calls have a form, they begin behind its opening.
    """
    key = "parameters" if form is None else "arguments"
    one, between = "call", '"; "'
    if form is not None:
        closing = f" {_tag(form.closing, tokenizer)}" if form.closing else ""
        one = rf"/\n?/ call /\n?/{closing}" if form.between is None else rf"call /\n?/{closing}"
        between = f'"\\n" {_tag(form.opening, tokenizer)}'
    rules = []
    for number, tool in enumerate(tools):
        arguments = f"%json {grammar.json_part(tool.parameters, as_written=True)}"
        if form is not None and form.between is not None:
            head = " /[A-Za-z0-9]{9}/ ".join(
                filter(None, (_tag(part, tokenizer) for part in (tool.name + form.between).split(ID)))
            )
            rules.append(f"call_{number}: {head} {arguments}")
            continue
        head = json.dumps(f'{{"name": {json.dumps(tool.name)}, "{key}": ')
        rules.append(f'call_{number}: {head} {arguments} "}}"')
    return _several(one, between, turn) + "call: " + _any(rules) + "\n".join(rules) + "\n"


def _any(rules: Sequence[str]) -> str:
    return " | ".join(rule.partition(":")[0] for rule in rules) + "\n"


def _several(one: str, between: str, turn: Turn) -> str:
    more = f" ({between} one)*" if turn.parallel else ""
    return f"calls: one{more}\none: {one}\n"


def _json_calls(tools: Sequence[Tool], turn: Turn) -> str:
    """The same where words may be JSON too: both must be cut into the same lexemes, for none is ever cut anew."""
    rules = []
    for number, tool in enumerate(tools):
        fields = {"name": {"const": tool.name}, "parameters": _moved(tool.parameters, "#/properties/parameters")}
        whole = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
        rules.append(f"call_{number}: %json {grammar.json_part(whole)}")
    return _several("call", '"; "', turn) + "call: " + _any(rules) + "\n".join(rules) + "\n"


def _moved(schema: Any, place: str) -> Any:
    """A schema whose references to itself are right where it stands at `place` of a larger one."""
    if isinstance(schema, list):
        return [_moved(entry, place) for entry in schema]
    if not isinstance(schema, Mapping):
        return schema
    moved = {key: _moved(value, place) for key, value in schema.items()}
    reference = moved.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = place + reference[1:]
    return moved


def _words_or_calls(tokenizer: Tokenizer, form: CallForm | None) -> str:
    """Words with no call among them, or calls, before which words may stand where a tag tells them apart."""
    tags = [FUNCTION, TOOL_CALL.opening, *((form.opening,) if form else ())]
    openings = "|".join(_pattern(tag) for tag in dict.fromkeys(tags))
    words = rf'WORDS: /(?s:.*)/ & ~/(?s:.*)({openings})(?s:.*)/ & ~/\s*(\[\s*)?\{{\s*"(?s:.*)/' + "\n"
    if form is None:
        return f"start: WORDS | calls\n{words}"
    if next(tokenizer.special_in(form.opening), (1, 1))[0] == 0:
        return f"start: WORDS | WORDS {_tag(form.opening, tokenizer)} calls\n{words}"
    before = f"before[suffix={json.dumps(form.opening)}]: /(?s:.*)/ & ~/(?s:.*){_pattern(FUNCTION)}(?s:.*)/\n"
    return f"start: WORDS | before calls\n{words}{before}"


def _valid(lark: str, param: str) -> str:
    try:
        return grammar.validated(lark)
    except ValueError as error:
        raise ApiError(400, f"{param}: this cannot be enforced: {error}", param=param) from error


def _tag(tag: str, tokenizer: Tokenizer) -> str:
    """A tag, or several with what is between them, as the grammar writes it: special tokens are no characters."""
    pieces, at = [], 0
    for start, end in [*tokenizer.special_in(tag), (len(tag), len(tag))]:
        if start > at:
            pieces.append(json.dumps(tag[at:start], ensure_ascii=False))
        if end > start:
            pieces.append(f"<[{tokenizer.special[tag[start:end]]}]>")
        at = end
    return " ".join(pieces)


def _pattern(tag: str) -> str:
    return re.escape(tag).replace("/", r"\/")
