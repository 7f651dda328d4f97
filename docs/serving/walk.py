"""Write docs/serving/openai.md's tables: `python docs/serving/openai_fields.py`; `--check` only looks.

Every field of the official client's request types, at any depth, and what the server does with it. The fields and their
values come from the package `openai`. What is done with them is tried: each is given to the server's own models in a
body that is right without it. Which of those that are taken have no effect, the models' marks say.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

import typing_extensions
from openai.types import completion_create_params as text
from openai.types.chat import completion_create_params as chat
from pydantic import BaseModel
from pydantic import ValidationError as Invalid

from ayllu.serve.completions import messages, tools
from ayllu.serve.completions.body import Body, ChatBody, StreamOptions, TextBody
from ayllu.serve.completions.fields import Harmless
from ayllu.serve.errors import ApiError
from ayllu.serve.turn.grammar import shape_grammar

PAGE = Path(__file__).resolve().parent / "openai.md"
BEGIN, END = "<!-- fields: written by docs/serving/openai_fields.py -->", "<!-- end of fields -->"
CALL = {"id": "x", "type": "function", "function": {"name": "x", "arguments": "{}"}}
FIRST = [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [CALL]}]
CHAT: dict[str, Any] = {"messages": FIRST, "tools": [{"type": "function", "function": {"name": "x"}}], "logprobs": True}
ROUTES: tuple[tuple[str, Any, type[Body], dict[str, Any]], ...] = (
    ("POST /v1/chat/completions", chat.CompletionCreateParamsStreaming, ChatBody, CHAT),
    ("POST /v1/completions", text.CompletionCreateParamsStreaming, TextBody, {"prompt": "x"}),
)
WRAPPERS = (Required, NotRequired, Annotated)
FIXED = {"arguments": "{}", "parameters": {"type": "object"}, "schema": {"type": "object"}, "logit_bias": {"1": 1}}
FIXED["tools"] = [{"type": "function", "function": {"name": "x"}}]
"""Values of fields whose type says too little."""
MODELS: dict[str, type[BaseModel]] = {
    "ChatCompletionContentPartTextParam": messages.TextPart,
    "ChatCompletionContentPartRefusalParam": messages.TextPart,
    "ChatCompletionMessageFunctionToolCallParam": messages.EarlierCall,
    "ChatCompletionFunctionToolParam": tools.FunctionTool,
    "ChatCompletionStreamOptionsParam": StreamOptions,
    "FunctionDefinition": tools.FunctionDefinition,
}
"""The model that reads a type, where one has marks or leaves fields out."""
NO_EFFECT = {
    "response_format(json_schema).json_schema.name": "a name for people",
    "response_format(json_schema).json_schema.description": "a description for people",
    "response_format(json_schema).json_schema.strict": "every schema is enforced",
}
"""Fields that functions read, not models."""


def plain(kind: Any) -> Any:
    """A type without `Required` and what else stands around it."""
    while get_origin(kind) in WRAPPERS:
        kind = get_args(kind)[0]
    return kind


def variants(kind: Any) -> list[Any]:
    """What a type may be, null aside; lists as what they hold."""
    kind = plain(kind)
    if get_origin(kind) in (Union, types.UnionType):
        return [one for part in get_args(kind) for one in variants(part)]
    return [] if kind is type(None) else [kind]


def needed(kind: Any) -> bool:
    """Whether an object must have a field of this type."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_origin(kind) is Required


def is_object(kind: Any) -> bool:
    return typing_extensions.is_typeddict(kind)


def entry(kind: Any) -> Any | None:
    """What a list holds; None for what is no list."""
    origin = get_origin(kind)
    listed = isinstance(origin, type) and not issubclass(origin, dict) and hasattr(origin, "__iter__")
    return get_args(kind)[0] if listed and get_args(kind) else None


def hints(kind: Any) -> dict[str, Any]:
    return typing_extensions.get_type_hints(kind, include_extras=True)


def choices(kind: Any) -> list[Any]:
    """All values of a type that lists them, alone or as what a list holds."""
    found: list[Any] = []
    for one in variants(kind):
        held = entry(one)
        if get_origin(one) is Literal:
            found += get_args(one)
        elif held is not None and get_origin(plain(held)) is Literal:
            found += [[option] for option in get_args(plain(held))]
    return found


def sample(kind: Any, name: str) -> Any:
    """A value of a type, as small as it may be."""
    if name in FIXED:
        return FIXED[name]
    first = variants(kind)[0]
    if get_origin(first) is Literal:
        return get_args(first)[0]
    if is_object(first):
        return {key: sample(part, key) for key, part in hints(first).items() if needed(part)}
    if (held := entry(first)) is not None:
        return [sample(held, name)]
    return {str: "x", int: 1, float: 0.5, bool: True}.get(first, {})


def reason(model: type[Body], body: dict[str, Any]) -> str | None:
    """Why the server refuses a body; None where it takes it."""
    try:
        read = model.model_validate(body)
        if isinstance(read, ChatBody):
            read.logprob_count()
            shape_grammar(read.turn().shape)
        if isinstance(read, TextBody):
            read.counts()
    except Invalid as error:
        return error.errors()[0]["msg"].removeprefix("Value error, ").removesuffix("; leave it out")
    except ApiError as error:
        return error.message
    return None


def tag(kind: Any) -> str:
    """What tells an object from the others that may stand in its place."""
    fields = hints(kind)
    name = next((name for name in ("role", "type") if name in fields), None)
    if name is None:
        return ""
    options = [option for part in variants(fields[name]) for option in get_args(part)]
    return f"({options[0]})" if options else ""


def rows(model: type[Body], base: dict[str, Any], kind: Any) -> Iterator[tuple[str, str, str]]:
    """Path, what is done, and a note, of each field of a request type."""
    for name, part in hints(kind).items():
        yield from field_rows(model, base, model, name, part, name, lambda value, name=name: {name: value})


def field_rows(
    model: type[Body], base: dict[str, Any], place: type[BaseModel] | None, name: str, kind: Any, path: str, put: Any
) -> Iterator[tuple[str, str, str]]:
    options = choices(kind)
    tried = [whole(base, put(value)) for value in (options or [sample(kind, name)])]
    reasons = [reason(model, body) for body in tried]
    if len(options) > 1 and name != "model" and any(reasons) and not all(reasons):
        bad = ", ".join(f"`{json.dumps(option)}`" for option, why in zip(options, reasons, strict=True) if why)
        yield path, "supported", f"refused: {bad}"
    else:
        why = next((why for why in reasons if why), None) if all(reasons) else None
        done, note = verdict(place, name, path, why)
        yield path, done, note
        if done != "supported" and place is not None:
            return  # what it holds is treated alike
    for one in variants(kind):
        held = entry(one)
        for inner in variants(held) if held is not None else [one]:
            if is_object(inner):
                yield from object_rows(model, base, inner, path, put, listed=held is not None)


def object_rows(
    model: type[Body], base: dict[str, Any], kind: Any, path: str, put: Any, *, listed: bool
) -> Iterator[tuple[str, str, str]]:
    least = sample(kind, "")
    here = f"{path}[]{tag(kind)}" if listed else f"{path}{tag(kind)}"

    def wrap(value: Any) -> Any:
        return put([value] if listed else value)

    if why := reason(model, whole(base, wrap(least))):
        if path != here:  # one row says it for all that it holds
            yield here, "refused", why
        return
    reader = MODELS.get(kind.__name__) or (messages.ChatMessage if kind.__name__.endswith("MessageParam") else None)
    for name, part in hints(kind).items():
        if (
            len(variants(part)) == 1
            and len(get_args(variants(part)[0])) == 1
            and get_origin(variants(part)[0]) is Literal
        ):
            continue  # the field that tells it from others
        yield from field_rows(
            model, base, reader, name, part, f"{here}.{name}", lambda value, name=name: wrap(least | {name: value})
        )


def whole(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """A body with a change; messages come behind those that are there."""
    body = base | change
    if "messages" in change:
        body["messages"] = [*FIRST, *change["messages"]]
    if "functions" in change or "function_call" in change:
        body["functions"] = change.get("functions", [{"name": "x"}])
        del body["tools"]
    return body


def verdict(place: type[BaseModel] | None, name: str, path: str, why: str | None) -> tuple[str, str]:
    if why is not None:
        return "refused", why
    if path in NO_EFFECT:
        return "ignored, harmless", NO_EFFECT[path]
    if place is None:
        return "supported", ""
    field = place.model_fields.get(name)
    if field is None:
        return "ignored, harmless", "said by an earlier answer, not to the model"
    mark = next((mark for mark in field.metadata if isinstance(mark, Harmless)), None)
    return ("supported", "") if mark is None else ("ignored, harmless", mark.why)


def tables() -> str:
    """The tables of all routes, and what the server takes beyond the official types."""
    lines: list[str] = []
    for route, kind, model, base in ROUTES:
        found = list(rows(model, base, kind))
        lines += [f"## `{route}`", "", "| field | | |", "|---|---|---|"]
        lines += [f"| `{path}` | {done} | {note} |" for path, done, note in dict.fromkeys(found)]
        more = sorted(model.model_fields.keys() - hints(kind).keys())
        lines += ["", f"Beyond the official types: {', '.join(f'`{name}`' for name in more)}.", ""]
    return "\n".join(lines)


def written() -> str:
    """The page with the tables as they are now."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    page = written()
    if "--check" in sys.argv[1:]:
        current = page == PAGE.read_text(encoding="utf-8")
        sys.exit(None if current else "docs/serving/openai.md is old: run docs/serving/openai_fields.py")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
