"""Grammars: what can be enforced is, to the letter; the rest is refused by name."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from jsonschema.validators import Draft202012Validator

from ayllu.serve.grammar import (
    Matcher,
    compile_choice,
    compile_json_object,
    compile_json_schema,
    compile_lark,
    compile_regex,
    json_part,
    validated,
)
from ayllu.text.tokenizer import Tokenizer
from ayllu.text.tool_calls import ToolCall, write_calls

VOCABULARY = 640
CLOSED = {"type": "object", "additionalProperties": False}


@pytest.fixture
def takes(tokenizer: Tokenizer) -> Any:
    """Whether a grammar allows a text and may end there."""

    def ask(grammar: str, text: str) -> bool:
        matcher = Matcher(grammar, tokenizer, VOCABULARY)
        for token in tokenizer.encode(text):
            if matcher.ended or not matcher.allowed()[token]:
                return False
            matcher.advance(token)
        return bool(matcher.allowed()[tokenizer.eot])

    return ask


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"properties": {"a": {"not": {"type": "string"}}}}, "not"),
        ({"type": "array", "contains": {"type": "string"}}, "contains"),
        ({"type": "string", "format": "colour"}, "colour"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"),
        ({"if": {"type": "string"}, "then": {"minLength": 3}}, "if"),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, "dependentRequired"),
        ({"type": "object", "dependencies": {"a": ["b"]}}, "dependencies"),
        ({"type": "object", "propertyNames": {"maxLength": 3}}, "propertyNames at its root cannot be enforced with"),
        ({"items": {"propertyNames": {"enum": ["a"]}, "patternProperties": {"a": {}}}}, "at items cannot be .* beside"),
        (
            {
                "properties": {
                    "a": {"propertyNames": {"enum": ["a"]}, "additionalProperties": {}},
                    "b": {"$ref": "#/properties/a/additionalProperties"},
                }
            },
            "propertyNames at properties/a cannot be enforced beside #/",
        ),
        ({"$ref": "#"}, "at its root leads back to itself"),
        ({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}, "at .*allOf/0 leads back"),
        (
            {"properties": {"a": {"$ref": "#", "minProperties": 1}}},
            r"\$ref at properties/a .*with minProperties beside",
        ),
        ({"$defs": {f"a{n}": {"items": {"$ref": f"#/$defs/a{n + 1}"}} for n in range(600)}}, "more than 1,000 levels"),
        ({"type": "object", "unevaluatedProperties": False}, "unevaluatedProperties"),
        ({"type": "object", "properties": {"a": {}}, "minProperties": 2}, "minProperties|maxProperties"),
        ({"$dynamicRef": "#a"}, "dynamicRef"),
        ({"$ref": "https://example.com/schema.json"}, "nothing is fetched"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"x-guidance": {"lenient": True}, "type": "array", "uniqueItems": True}, "x-guidance"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "nothing fulfils"),
        ({"type": "text"}, "no JSON Schema, at type"),
        ({"type": "string", "default": float("nan")}, "JSON"),
        ([], "no object"),
        (False, "no object"),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_name(schema: Any, name: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        compile_json_schema(schema)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert "x-guidance" not in str(caught.value) or name == "x-guidance", "nothing of ours is shown"


def test_json_is_what_the_schema_says(takes: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["b"]}
    grammar = compile_json_schema(schema)
    value = {"a": 1, "b": 'x\n"é', "more": [1, {"k": None}]}
    for indent in (None, 2):
        assert takes(grammar, json.dumps(value, ensure_ascii=False, indent=indent))
    assert takes(grammar, json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    for wrong in ('{"a":1}', '{"a":"1","b":""}', '{"b":""} ', 'I say {"b":""}', '{"b":"","b":""}', '{"b":""'):
        assert not takes(grammar, wrong), wrong
    assert not takes(grammar, '{"b":"","\\u0061":"no integer"}'), "a declared name, spelled otherwise"
    assert not takes(grammar, '{"b":' + " " * 50 + '""}'), "spaces without end"
    assert takes(compile_json_object(), '{"x": 1}') and not takes(compile_json_object(), "[1]")
    older = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "integer",
        "minimum": 3,
        "exclusiveMinimum": True,
    }
    assert takes(compile_json_schema(older), "4") and not takes(compile_json_schema(older), "3")


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (
            {"type": "object", "propertyNames": {"enum": ["a", "b", 3]}, "additionalProperties": {"type": "integer"}},
            ['{"a": 1}', '{"a": 1, "b": 2}', '{"b": 2}', "{}"],
            ['{"c": 1}', '{"a": "x"}'],
        ),
        (
            {
                "$defs": {"E": {"enum": ["x"], "type": "string"}},
                "propertyNames": {"$ref": "#/$defs/E"},
                "type": "object",
                "properties": {"x": {"type": "boolean"}, "y": {}},
            },
            ['{"x": true}'],
            ['{"y": 1}', '{"x": 1}'],
        ),
        ({"propertyNames": {"pattern": "^a"}, "type": "object"}, ['{"ab": 1, "ac": [2]}'], ['{"b": 1}']),
        ({"propertyNames": {"type": "string"}, "type": "object"}, ['{"ab": 1}'], ["[1]"]),
        ({"propertyNames": False, "type": "object"}, ["{}"], ['{"ab": 1}']),
        ({"propertyNames": {"const": "a"}, "type": ["object", "null"]}, ['{"a": 1}', "null"], ['{"ab": 1}']),
        ({"const": {"propertyNames": {"maxLength": 3}}}, ['{"propertyNames":{"maxLength":3}}'], ["{}"]),
        (
            {"type": "object", "properties": {"c": {"type": "array", "items": {"$ref": "#"}}}, "required": ["c"]},
            ['{"c": [{"c": []}]}'],
            ['{"c": [{}]}'],
        ),
    ],
)
def test_names_of_properties_and_references_to_the_whole_are_kept_to(
    takes: Any, schema: Any, good: list[str], bad: list[str]
) -> None:
    grammar = compile_json_schema(schema)
    for text in good:
        Draft202012Validator(schema).validate(json.loads(text))
        assert takes(grammar, text), text
    for text in bad:
        assert not Draft202012Validator(schema).is_valid(json.loads(text))
        assert not takes(grammar, text), text


def test_a_grammar_that_would_end_the_process_is_refused() -> None:
    rules = "start: a0\n" + "".join(f'a{n}: "x" a{n + 1}\n' for n in range(998)) + 'a998: "y"'
    assert compile_lark(rules.replace('"x" ', ""))
    for long in (rules + "\n", "start: /" + "a" * 20_000 + "/"):
        with pytest.raises(ValueError, match="give at most 16,384 in 1,000"):
            compile_lark(long)


def test_an_expression_matches_the_whole_text_and_a_choice_is_one_of_the_texts(takes: Any) -> None:
    expression = compile_regex("[ab]+/\\d")
    assert takes(expression, "ab/1") and not takes(expression, "xab/1") and not takes(expression, "ab/")
    assert takes(compile_regex("^yes$|no"), "no")
    choice = compile_choice(["yes", 'n"o\n', "yes, é"])
    for text in ("yes", 'n"o\n', "yes, é"):
        assert takes(choice, text)
    assert not takes(choice, "ye") and not takes(choice, "yes,")
    for bad in ("(", "(?=a)b", r"(a)\1", ""):
        with pytest.raises(ValueError, match=r"regular expression"):
            compile_regex(bad)
    with pytest.raises(ValueError, match="choices are empty"):
        compile_choice([])


def test_the_arguments_of_a_call_have_the_spaces_that_llama_writes(takes: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}
    head = json.dumps('{"name": "f", "parameters": ')
    grammar = validated(f'start: {head} %json {json_part(schema, as_written=True)} "}}"\n')
    assert takes(grammar, write_calls([ToolCall(name="f", arguments={"a": 3, "b": [1, {"x": "y z"}]})]))
    assert not takes(grammar, '{"name": "f", "parameters": {"a":3}}')


def test_ids_beyond_the_tokenizer_and_special_ones_never_come_and_stops_only_at_the_end(tokenizer: Tokenizer) -> None:
    matcher = Matcher(compile_regex("a*"), tokenizer, VOCABULARY)
    allowed = matcher.allowed()
    assert allowed.shape == (VOCABULARY,) and not allowed[tokenizer.size :].any()
    assert all(allowed[stop] for stop in tokenizer.stops) and not allowed[tokenizer.bos]
    longer = Matcher(compile_regex("ab"), tokenizer, VOCABULARY)
    assert not any(longer.allowed()[stop] for stop in tokenizer.stops)
    for token in tokenizer.encode("ab"):
        assert not longer.ended
        longer.advance(token)
    assert longer.ended and set(np.flatnonzero(longer.allowed())) == set(tokenizer.stops)
    with pytest.raises(ValueError, match="cannot be followed"):
        longer.advance(tokenizer.encode("x")[0])
