from __future__ import annotations

import pytest
from llguidance import LLMatcher, LLTokenizer

from ayllu.serve.errors import ApiError
from ayllu.serve.turn.asked import Shape, ToolChoice, Turn
from ayllu.serve.turn.grammar import grammar_of
from ayllu.text.calls.parser import parse
from ayllu.text.calls.shape import TOOL_CALL, CallForm, CallKeys
from ayllu.text.chat import Message
from ayllu.text.tool_calls import Tool
from support.models import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
BYTES = LLTokenizer("byte")
CITY = Tool(
    name="weather",
    description="",
    parameters={
        "type": "object",
        "properties": {"city": {"$ref": "#/$defs/city"}},
        "required": ["city"],
        "additionalProperties": False,
        "$defs": {"city": {"type": "string"}},
    },
)
UNIQUE = Tool(
    name="pick",
    description="",
    parameters={"type": "object", "properties": {"of": {"type": "array", "uniqueItems": True}}},
)
CALL, PICK = '{"name": "weather", "parameters": {"city": "Puno"}}', '{"name": "pick", "parameters": {"of": [1, 1]}}'
TAGGED = '<tool_call>\n{"name": "weather", "arguments": {"city": "Puno"}}\n</tool_call>'


def grammar(
    *tools: Tool, mode: str = "auto", forms: tuple[CallForm, ...] = (), shape: Shape | None = None, **more: object
) -> str | None:
    choice = ToolChoice(mode=mode, names=more.pop("names", None))  # type: ignore[arg-type]
    asked = [Message(role="user", content="?")]
    turn = Turn(messages=asked, tools=tools, choice=choice, shape=shape, **more)  # type: ignore[arg-type]
    return grammar_of(turn, TOKENIZER, forms)


def allows(grammar: str | None, text: str) -> bool:
    """Whether `text` is a whole answer."""
    assert grammar is not None
    matcher = LLMatcher(BYTES, grammar)
    assert not matcher.is_error(), matcher.get_error()
    ids = BYTES.tokenize_str(text)
    return bool(matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting())


def test_what_is_free_has_no_grammar() -> None:
    assert grammar() is None
    assert grammar(CITY, UNIQUE) is None
    assert grammar(CITY, mode="none") is None


def test_a_required_call_is_a_call_and_nothing_else() -> None:
    made = grammar(CITY, mode="required")
    assert allows(made, CALL)
    assert allows(made, f"{CALL}; {CALL}")
    assert not any(
        allows(made, text) for text in ("", "Hello", CALL[:-1], CALL.replace("Puno", 'P", "x": "'), f"{CALL} x")
    )
    assert not allows(grammar(CITY, mode="required", parallel=False), f"{CALL}; {CALL}")


def test_of_the_tools_only_the_chosen_are_called() -> None:
    assert not allows(grammar(CITY, UNIQUE, mode="required", names=frozenset({"weather"})), PICK)
    some = grammar(CITY, UNIQUE, names=frozenset({"weather"}))
    assert allows(some, CALL)
    assert allows(some, "It is fine {there}.")
    assert not allows(some, PICK)


def test_calls_are_written_as_the_template_writes_them() -> None:
    made = grammar(CITY, mode="required", forms=(TOOL_CALL,))
    assert allows(made, TAGGED)
    assert allows(made, f"{TAGGED}\n{TAGGED}")
    assert not allows(made, CALL)
    free = grammar(CITY, strict={"weather"}, forms=(TOOL_CALL,))
    assert allows(free, f"Let me look.\n{TAGGED}")
    assert allows(free, "No call < at all.")
    assert not allows(free, TAGGED.replace("city", "town"))


def test_a_strict_tool_is_held_to_its_schema_and_words_stay_free() -> None:
    made = grammar(CITY, strict={"weather"})
    assert allows(made, "Words, [1, 2] and {}.")
    assert allows(made, CALL)
    assert not allows(made, CALL.replace("city", "town"))
    assert not allows(made, "<function=weather>{}</function>")


def test_what_cannot_be_enforced_is_refused_only_where_it_was_promised() -> None:
    assert allows(grammar(UNIQUE, mode="required"), PICK)
    with pytest.raises(ApiError, match="uniqueItems") as caught:
        grammar(UNIQUE, mode="required", strict={"pick"})
    assert caught.value.param == "tools"
    with pytest.raises(ApiError, match="uniqueItems") as caught:
        grammar(shape=Shape(kind="json_schema", value=UNIQUE.parameters))
    assert caught.value.param == "response_format"


SHAPES = [
    (Shape(kind="json_object"), '{"a": 1}', "[1]"),
    (Shape(kind="json_schema", value={"type": "array", "items": {"type": "integer"}}), "[1, 2]", '["a"]'),
    (Shape(kind="regex", value=r"[a/]{2}\.é"), "a/.é", "a/xé"),
    (Shape(kind="choice", value=["yes", 'n"o']), 'n"o', "no"),
]


@pytest.mark.parametrize(("shape", "good", "bad"), SHAPES)
def test_words_have_their_shape_beside_tools_and_without(shape: Shape, good: str, bad: str) -> None:
    for made in (grammar(shape=shape), grammar(CITY, mode="none", shape=shape), grammar(CITY, shape=shape)):
        assert allows(made, good)
        assert not allows(made, bad)
    assert allows(grammar(CITY, shape=shape), CALL)


def test_a_grammar_of_ones_own_is_taken_alone() -> None:
    own = Shape(kind="lark", value='start: "a" B\nB: /b+/')
    assert allows(grammar(shape=own), "abb")
    with pytest.raises(ApiError, match="do not go together"):
        grammar(CITY, shape=own)
    with pytest.raises(ApiError, match="cannot be enforced"):
        grammar(shape=Shape(kind="lark", value="start: nothing"))


NAMED = CallForm(opening="<call>", closing="</call>", between="<sep>")


def test_a_required_call_is_written_as_the_template_writes_it_or_else_as_llama_does() -> None:
    text = '<call>weather<sep>{"city": "Puno"}</call>'
    assert allows(grammar(CITY, mode="required", forms=(NAMED,)), text)
    assert not allows(grammar(CITY, mode="required", forms=(NAMED,)), text.replace("weather", "tide"))
    assert parse(text, forms=(NAMED,)) == parse(CALL)
    keys = CallForm(opening="<call>", keys=CallKeys(name="function", arguments="given"))
    assert allows(grammar(CITY, mode="required", forms=(keys,)), CALL)
    assert parse(CALL, forms=(keys,)) == parse(CALL)
