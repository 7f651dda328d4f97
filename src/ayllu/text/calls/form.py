"""How a model's own template writes calls: read from what it writes of one, so that replies can be read that way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import product, takewhile
from typing import TYPE_CHECKING, Any

from ayllu.text.calls.pieces import Scan
from ayllu.text.calls.read import literal, load
from ayllu.text.calls.shape import ID, ArgumentTags, CallForm, CallKeys, parts
from ayllu.text.chat import Message, render_text_of, writes_calls
from ayllu.text.template_shape import named_of, writes_tools
from ayllu.text.tool_calls import CALL_NAME, Tool, ToolCall

if TYPE_CHECKING:
    from ayllu.text.tokenizer import Tokenizer

NAME, OTHER, KEY, VALUE, RESULT = "probe_name", "probe_other", "probe_key", "probe_value", "probe_result"
SECOND, WORTH = "probe_second", "probe_worth"
"""Another argument, and what it is."""
IDS = "probe0001", "probe0002"
"""Some templates refuse a call without an id, or one that has not nine letters and digits."""
_OPENING = re.compile(r"(?:\S+\s+)?```\w*\Z|\S+\Z")
"""Thoughts, which some templates write first, are no part of a form; a fence alone stands before any code."""


def call_forms(tokenizer: Tokenizer) -> tuple[CallForm, ...]:
    """What the template puts around the name and the arguments of a call; nothing where it writes none, or JSON alone.

    A name outside of the JSON may begin in another way where it is not the first of a turn: then there are two forms.
    """
    template = tokenizer.template_for(with_tools=True)
    # One that has no place for tools may write calls all the same (DeepSeek's R1 distilled into Llama).
    if template and not writes_tools(template, named_of(tokenizer)) and not writes_calls(template, tokenizer):
        return ()
    # Some templates want to be told something first, or a result behind each call.
    for system, result in product((False, True), repeat=2):
        if (written := _written(tokenizer, [_call(NAME)], system=system, result=result)) is not None:
            break
    else:
        return ()

    def write(*calls: ToolCall) -> str | None:
        return _written(tokenizer, calls, system=system, result=result)

    stops = _stops(tokenizer)
    found = _call_in(written)
    if found is not None:
        start, end, keys, is_python = found
        opening = _OPENING.search(written[:start].strip().removesuffix("[").rstrip())
        if opening is None and keys is None and not is_python:
            return ()
        closing = _closing(written[end:].lstrip().removeprefix("]"), tokenizer, stops)
        return (CallForm(opening=opening[0] if opening else "", closing=closing, keys=keys, literal=is_python),)
    if as_python := _called_form(written, tokenizer, stops):
        return (as_python,)
    named = tuple(_named(written, write(_call(NAME), _call(OTHER)), tokenizer, stops))
    return named or tuple(_tagged(written, write(_call(NAME, several=True)), tokenizer, stops))


def _call(name: str, *, several: bool = False) -> ToolCall:
    more = {SECOND: WORTH} if several else {}
    return ToolCall(name=name, arguments={KEY: VALUE, **more}, id=IDS[name == OTHER])


def _written(tokenizer: Tokenizer, calls: Sequence[ToolCall], *, system: bool, result: bool) -> str | None:
    """What the template writes of a turn with calls, from where it differs from the prompt; None where it refuses."""
    schema = {"type": "object", "properties": {key: {"type": "string", "description": key} for key in (KEY, SECOND)}}
    tools = [Tool(name=call.name, description=call.name, parameters=schema) for call in calls]
    asked = [Message(role="system", content="?")] if system else []
    asked.append(Message(role="user", content="?"))
    turns = [*asked, Message(role="assistant", tool_calls=tuple(calls))]
    turns += [Message(role="tool", content=RESULT, tool_call_id=call.id) for call in calls if result]
    try:
        before = render_text_of(asked, tokenizer, tools=tools, reply=True, native=True)
        after = render_text_of(turns, tokenizer, tools=tools, reply=False, native=True)
    except ValueError:
        return None
    same = _alike(before, after)
    if same < len(before):
        # The prompt of a reply may begin it, with thoughts for example: a tag is not cut where two begin alike.
        cut = 0
        for part in parts(after):
            if cut + len(part) > same:
                break
            cut += len(part)
        same = cut
    written = after[same:]
    return written if NAME in written else None


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    """How many of the first entries of two sequences are equal."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _call_in(text: str) -> tuple[int, int, CallKeys | None, bool] | None:
    """Where the outermost object with the call's name and arguments lies; its keys if they are not the usual; and
    whether it is no JSON but what Python prints."""
    for start in (at for at, character in enumerate(text) if character == "{"):
        end = Scan(python=True).end(text, start)
        value, reason = load(text[start:end])
        is_python = reason is not None
        if is_python:
            value, reason = literal(text[start:end])
        keys = next(_keys_in(value, ()), None) if reason is None else None
        if end is not None and keys is not None:
            usual = keys in (CallKeys(), CallKeys(arguments="parameters"))
            return start, end, None if usual else keys, is_python
    return None


def _called_form(text: str, tokenizer: Tokenizer, stops: set[str]) -> CallForm | None:
    """The form of a template that writes calls as Python does, behind an opening."""
    found = re.search(rf"{NAME}\(\s*{KEY}\s*=\s*(['\"]){VALUE}\1\s*\)", text)
    opening = _OPENING.search(text[: found.start()].strip().removesuffix("[").rstrip()) if found else None
    if found is None or opening is None:
        return None  # without an opening it is read where a reply begins with it
    closing = _closing(text[found.end() :].lstrip().removeprefix("]"), tokenizer, stops)
    return CallForm(opening=opening[0], closing=closing, called=True)


def _tagged(one: str, two: str | None, tokenizer: Tokenizer, stops: set[str]) -> Iterator[CallForm]:
    """The forms of a template that puts each argument in tags, from what it writes of a call with one and with two."""
    first = re.search(rf"{NAME}(?P<gap>.*?){KEY}(?P<value>.*?){VALUE}", one, re.DOTALL)
    second = re.search(rf"{NAME}.*?{VALUE}(?P<between>.*?){SECOND}.*?{WORTH}(?P<behind>.*)", two or "", re.DOTALL)
    if first is None or second is None or "<" not in first["gap"] or "<" not in second["between"]:
        return
    at = first["gap"].rindex("<")
    end, key = second["between"][: second["between"].rindex("<")], first["gap"][at:]
    behind = parts("".join(second["behind"].removeprefix(end.rstrip())).lstrip())
    if second["between"] != end + key or not end.strip() or not first["value"].strip() or not behind:
        return
    tags = ArgumentTags(
        behind_name=first["gap"][:at].strip(),
        key=key,
        value=first["value"].strip(),
        end=end.strip(),
        close=behind[0],
        lines=end.startswith("\n") and first["value"].endswith("\n"),
    )
    before = one[: first.start()].rstrip()
    opened = before[before.rfind("<") :] if "<" in before else ""
    if opened:
        yield CallForm(opening=opened, closing=tags.close, tags=tags)
        # A tag around it, which stands once for several calls in some.
        outer = parts(before.removesuffix(opened).rstrip())[-1:]
        if outer and outer[0].startswith("<"):
            yield CallForm(opening=outer[0], closing=_closing("".join(behind[1:]), tokenizer, stops))


def _keys_in(value: Any, holder: tuple[str, ...]) -> Iterator[CallKeys]:
    """Where in a JSON value the name and the arguments stand."""
    for entry in value if isinstance(value, list) else [value]:
        if not isinstance(entry, dict):
            continue
        name = next((key for key, held in entry.items() if held == NAME), None)
        arguments = next((key for key, held in entry.items() if _is_arguments(held)), None)
        if name is not None and arguments is not None:
            yield CallKeys(holder=holder, name=name, arguments=arguments)
        for key, held in entry.items():
            yield from _keys_in(held, (*holder, key))


def _is_arguments(value: Any) -> bool:
    return value == {KEY: VALUE} or (isinstance(value, str) and value.replace(" ", "") == f'{{"{KEY}":"{VALUE}"}}')


def _named(one: str, two: str | None, tokenizer: Tokenizer, stops: set[str]) -> Iterator[CallForm]:
    """The forms of a template that writes names outside of the JSON, from what it writes of one and of two calls."""
    arguments = re.compile(rf"\{{\s*(['\"]){KEY}\1:\s*(['\"]){VALUE}\2\s*\}}")
    found, start = arguments.search(one), one.find(NAME)
    if found is None or found.start() < start or not one[:start].strip():
        return
    between = one[start + len(NAME) : found.start()].replace(IDS[0], ID)
    # A text of JSON, a name that goes on, or more than tags: replies could not be told from words.
    if between[:1] in ('"', "'") or CALL_NAME.match(between) or len(between.split()) > 3:
        return
    closing = _closing(one[found.end() :], tokenizer, stops)
    opening = one[:start].split()[-1]
    is_python = "'" in found[0]
    if one[:start].endswith(opening):
        yield CallForm(opening=opening, closing=closing, between=between, literal=is_python)
        inner = two[match.end() : two.find(OTHER)] if two and (match := arguments.search(two)) else ""
        within = parts(inner)
        again = "".join(within[len(within) - _alike(parts(opening)[::-1], within[::-1]) :])
        if again.strip() not in ("", opening):
            yield CallForm(opening=again, closing=closing, between=between, literal=is_python)


def _closing(behind: str, tokenizer: Tokenizer, stops: set[str]) -> str:
    """What the template writes behind a call, up to the end of the turn."""
    behind = behind.lstrip()
    stop = next((first for first, last in tokenizer.special_in(behind) if behind[first:last] in stops), None)
    return "".join(behind[:stop].split()[:1])


def _stops(tokenizer: Tokenizer) -> set[str]:
    return {token for token, i in tokenizer.special.items() if i in tokenizer.stops}
