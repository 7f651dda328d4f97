"""Tool calls read from a reply, whole or while it streams.

Forms that are read (`llama3_1/prompt_format.md` and `llama3/tool_utils.py` in meta-llama/llama-models):

    {"name": NAME, "parameters": {…}}                where the reply begins, also several, separated by spaces or ;
    [{"name": …}, {"name": …}]                       the same as a list
    <|python_tag|>{"name": NAME, "parameters": {…}}  anywhere
    <|python_tag|>NAME.call(key="value")             a built-in tool
    <|python_tag|>print(1 + 1)                       Python for the tool code_interpreter, if it does something
    <function=NAME>{…}</function>                    anywhere

and, as Hermes, Qwen2.5 and others write them (`CallForm` for what else a model's own template writes around its calls):

    <tool_call>{"name": NAME, "arguments": {…}}</tool_call>   anywhere

What looks like a call and is none is reported, never repaired: Meta's own reader replaces every ' by ", which damages
"it's", and stops at the first call.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ayllu.text.llama3_format import EOM, EOT, PYTHON_TAG
from ayllu.text.python_code import why_idle
from ayllu.text.tool_calls import CALL_NAME, CODE_INTERPRETER, FUNCTION, FUNCTION_END, ToolCall

ENDS = (EOM, EOT, "<|im_end|>")
"""Ends of a reply. They count only where the reply ends: elsewhere they are characters."""
_CALLISH = re.compile(r"""["']name["']\s*:""")
_PARAMETERS = re.compile(r"""["'](?:parameters|arguments)["']\s*:""")
_BUILT_IN_CALL = re.compile(r"\s*\w+\.call\(")


@dataclass(frozen=True, kw_only=True, slots=True)
class CallForm:
    """What a model's own template writes around the JSON of a call."""

    opening: str
    closing: str = ""


TOOL_CALL = CallForm(opening="<tool_call>", closing="</tool_call>")


@dataclass(frozen=True, kw_only=True, slots=True)
class MalformedCall:
    """What was meant as a call and cannot be read."""

    text: str
    reason: str
    """For the model or the user: one clause."""


Event = str | ToolCall | MalformedCall
"""What a reply consists of: words, calls, and calls that cannot be read."""


def parse(text: str, *, forms: Sequence[CallForm] = ()) -> list[Event]:
    """Words and calls of a whole reply, in their order; neighbouring words are one text. `forms` are read too."""
    parser = CallParser(forms=forms)
    return joined([*parser.push(text), *parser.close()])


def joined(events: Iterable[Event]) -> list[Event]:
    """The same with neighbouring words as one text: what any way of cutting a reply into chunks gives."""
    found: list[Event] = []
    for event in events:
        if isinstance(event, str) and found and isinstance(found[-1], str):
            found[-1] += event
        else:
            found.append(event)
    return found


class CallParser:
    """Reads a reply as it comes: `push` each chunk, `close` at the end.

    Words are given as soon as they cannot be part of a call, a call as soon as its last brace has come. However the
    reply is cut into chunks, the events are the same but for where words are split (see `joined`).
    """

    def __init__(self, *, forms: Sequence[CallForm] = ()) -> None:
        self._forms = {form.opening: form for form in (TOOL_CALL, *forms) if form.opening}
        closings = tuple(form.closing for form in self._forms.values() if form.closing)
        self._openings = (PYTHON_TAG, FUNCTION, *self._forms)
        self._closings = (FUNCTION_END, *closings)
        self._tags = (*self._openings, *self._closings, *ENDS)
        self._text = ""
        """What is not decided yet."""
        self._state: Callable[[bool], Iterator[Event]] = self._begin
        self._calls = 0
        """Calls, readable or not, in the run of JSON under way."""
        self._tagged = False
        """Whether that run stands behind the python tag."""
        self._form: CallForm | None = None
        """What opened that run, where it was a form of a template's."""
        self._scan = _Scan()
        self._looked = 0
        """Where the next end of Python is looked for."""

    def push(self, chunk: str) -> list[Event]:
        """What is certain now that `chunk` has come."""
        self._text += chunk
        return list(self._run(final=False))

    def close(self) -> list[Event]:
        """What is left when no more comes."""
        for end in ENDS:
            if self._text.endswith(end):
                self._text = self._text.removesuffix(end)
                break
        return list(self._run(final=True))

    def _run(self, *, final: bool) -> Iterator[Event]:
        """Step until the text gives no more."""
        while True:
            before = (self._state, len(self._text))
            yield from self._state(final)
            if (self._state, len(self._text)) == before:
                return

    def _begin(self, final: bool) -> Iterator[Event]:
        """Nothing but spaces so far: a call, or words."""
        rest = self._text.lstrip()
        undecided = any(opening.startswith(rest) and opening != rest for opening in self._openings)
        if undecided and not final:
            return iter(())
        if rest[:1] in ("{", "[") and not rest.startswith(self._openings):
            self._calls, self._tagged, self._form = 0, False, None
            self._enter_json()
        elif rest or final:
            self._state = self._words
        return iter(())

    def _words(self, final: bool) -> Iterator[Event]:
        found = [(self._text.find(tag), tag) for tag in self._openings if tag in self._text]
        at, tag = min(found, default=(-1, ""))
        if at >= 0:
            if at:
                yield self._take(at)
            self._take(len(tag))
            self._form = self._forms.get(tag)
            self._state = {PYTHON_TAG: self._python, FUNCTION: self._function}.get(tag, self._block)
            self._scan = _Scan()
            return
        keep = 0 if final else _held(self._text, self._tags)
        if len(self._text) > keep:
            yield self._take(len(self._text) - keep)

    def _python(self, final: bool) -> Iterator[Event]:
        """Behind the python tag: JSON or Python."""
        rest = self._text.lstrip()
        if re.match(r"\{|\[\s*\{", rest):
            self._calls, self._tagged = 0, True
            self._enter_json()
        elif final or not re.fullmatch(r"\[?\s*", rest):
            self._state = self._code
        return iter(())

    def _code(self, final: bool) -> Iterator[Event]:
        """Python up to the next tag or the end; a tag inside a text of Python is no end of it."""
        while (at := self._text.find(PYTHON_TAG, self._looked)) >= 0 or final:
            code = self._text[: at if at >= 0 else len(self._text)]
            found = _read_python(code)
            if isinstance(found, MalformedCall) and at >= 0:
                self._looked = at + 1
                continue
            if isinstance(found, MalformedCall):
                code = code.partition(PYTHON_TAG)[0]
                found = _read_python(code)
            self._take(len(code))
            self._state, self._looked = self._words, 0
            yield found
            return

    def _block(self, final: bool) -> Iterator[Event]:
        """Behind the opening of a template's form: an object or a list of them, or another opening."""
        rest = self._text.lstrip()
        if re.match(r"\{|\[\s*\{", rest):
            self._calls, self._tagged = 0, False
            self._enter_json()
        elif not final and (re.fullmatch(r"\[?\s*", rest) or any(tag.startswith(rest) for tag in self._openings)):
            pass
        elif rest.startswith(self._openings):
            self._state = self._words
        else:
            yield from self._unreadable(final)

    def _unreadable(self, final: bool) -> Iterator[Event]:
        """What stands in a form and is no JSON of a call, up to its closing or the end."""
        assert self._form is not None
        closing = self._form.closing
        at = self._text.find(closing) if closing else -1
        if at < 0 and not final:
            return
        raw = self._take(at if at >= 0 else len(self._text))
        yield MalformedCall(
            text=self._form.opening + raw, reason=f"{self._form.opening} must be followed by a call as JSON"
        )
        self._calls = 1
        self._state = self._between

    def _enter_json(self) -> None:
        self._scan, self._state = _Scan(), self._json

    def _json(self, final: bool) -> Iterator[Event]:
        """An object, after `[` where it is the first of a list."""
        start = self._text.find("{")
        opening = self._text[: start if start >= 0 else len(self._text)]
        # Only a list of objects is a list of calls, and only an object with keys is a call.
        plain = start < 0 and (final or opening.strip() != "[")
        plain = plain or (start >= 0 and opening.strip() not in ("", "["))
        plain = plain or (start >= 0 and re.match(r"\{\s*[^\s\"']", self._text[start:]) is not None)
        if plain and not self._calls:
            self._state = self._otherwise()
            return
        if start < 0:
            return
        end = self._scan.end(self._text, start)
        if end is None and not final:
            return
        raw = self._text[start : end if end is not None else len(self._text)]
        sure = self._tagged or self._form is not None or self._calls > 0
        event = _read_json(raw, whole=end is not None, sure=sure)
        if event is None:
            self._state = self._otherwise() if not self._calls else self._words
            return
        self._take(start + len(raw))
        self._calls += 1
        self._state = self._between
        yield event

    def _otherwise(self) -> Callable[[bool], Iterator[Event]]:
        """What JSON that is no call may be, by what stands before it."""
        return self._code if self._tagged else self._unreadable if self._form is not None else self._words

    def _between(self, final: bool) -> Iterator[Event]:
        """After a call: another one, or words."""
        rest = self._text.lstrip(" \t\r\n;,")
        if rest.startswith(self._closings):
            closing = next(tag for tag in self._closings if rest.startswith(tag))
            self._take(len(self._text) - len(rest) + len(closing))
        elif rest.startswith(self._openings):
            self._take(len(self._text) - len(rest))
            self._state = self._words
        elif rest.startswith("]"):
            self._take(len(self._text) - len(rest) + 1)
        elif rest.startswith("{"):
            self._take(len(self._text) - len(rest))
            self._enter_json()
        elif final and not rest:
            self._take(len(self._text))
        elif final or (rest and _held(rest, self._tags) != len(rest)):
            self._state = self._words
        return iter(())

    def _function(self, final: bool) -> Iterator[Event]:
        """Behind `<function=`: a name, `>`, an object, and perhaps the closing tag."""
        close = self._text.find(">")
        if close < 0 and not final:
            return
        name = self._text[:close] if close >= 0 else self._text
        body = self._text[close + 1 :] if close >= 0 else ""
        if body and not body.isspace() and body.lstrip()[0] == "{" and CALL_NAME.fullmatch(name):
            start = self._text.index("{", close)
            end = self._scan.end(self._text, start)
            if end is None and not final:
                return
            raw = self._text[start : end if end is not None else len(self._text)]
            self._take(start + len(raw))
            yield _checked(name, *_load(raw), f"{FUNCTION}{name}>{raw}")
        else:
            if not final and (not body or body.isspace()) and CALL_NAME.fullmatch(name):
                return
            at = self._text.find(FUNCTION_END)
            if at < 0 and not final:
                return
            raw = self._take(at if at >= 0 else len(self._text))
            yield MalformedCall(text=FUNCTION + raw, reason="<function=NAME> must be followed by a JSON object")
        self._calls, self._tagged = 1, False
        self._state = self._between

    def _take(self, count: int) -> str:
        taken, self._text = self._text[:count], self._text[count:]
        return taken


class _Scan:
    """Finds the brace that closes an object, going on where the last chunk ended."""

    def __init__(self) -> None:
        self._at = self._depth = 0
        self._quoted = self._escaped = False

    def end(self, text: str, start: int) -> int | None:
        """The place behind the object that begins at `start`, or None while it is not complete."""
        for at in range(max(self._at, start), len(text)):
            character = text[at]
            self._at = at + 1
            if self._quoted:
                if self._escaped:
                    self._escaped = False
                elif character == "\\":
                    self._escaped = True
                elif character == '"':
                    self._quoted = False
            elif character == '"':
                self._quoted = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth <= 0:
                    return at + 1
        return None


def _held(text: str, tags: Sequence[str]) -> int:
    """How many characters at the end of `text` may be the beginning of a tag, or an end of the reply."""
    longest = 0
    for tag in tags:
        for n in range(min(len(text), len(tag)), 0, -1):
            if text.endswith(tag[:n]):
                longest = max(longest, n)
                break
    return longest


def _read_json(raw: str, *, whole: bool, sure: bool) -> ToolCall | MalformedCall | None:
    """A call; or why it is none; or None where it was never meant as one. `sure` where nothing else can stand."""
    value, reason = _load(raw)
    if reason is not None:
        reason = reason if whole else "it ends before its JSON is complete"
        meant = _CALLISH.search(raw) and (sure or _PARAMETERS.search(raw))
        return MalformedCall(text=raw, reason=reason) if meant else None
    arguments = value.get("parameters", value.get("arguments"))
    if "name" not in value:
        return None
    if not (sure or "parameters" in value or "arguments" in value or value.get("type") == "function"):
        return None
    name = value["name"]
    if not isinstance(name, str) or not CALL_NAME.fullmatch(name):
        return MalformedCall(text=raw, reason="its name is not the name of a function")
    return _checked(name, arguments, None, raw)


def _checked(name: str, arguments: Any, reason: str | None, raw: str) -> ToolCall | MalformedCall:
    if reason is None and not isinstance(arguments, dict):
        reason = "its parameters are no JSON object"
    return MalformedCall(text=raw, reason=reason) if reason else ToolCall(name=name, arguments=arguments)


def _load(raw: str) -> tuple[Any, str | None]:
    """The object that `raw` says, or why it says none."""

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands there twice")
        return found

    try:
        value = json.loads(raw, parse_constant=refuse, object_pairs_hook=once)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        return {}, f"it is no valid JSON ({error.msg} at character {error.pos})"
    except UnicodeEncodeError:
        return {}, "it holds half a character"
    except RecursionError:
        return {}, "it is nested too deeply"
    except ValueError as error:
        return {}, f"it is no valid JSON ({error})"
    return value, None


def _read_python(code: str) -> ToolCall | MalformedCall:
    """What stands behind the python tag: the call of a built-in tool, or code."""
    if not code.strip():
        return MalformedCall(text=PYTHON_TAG + code, reason=f"nothing follows {PYTHON_TAG}")
    if _BUILT_IN_CALL.match(code):
        try:
            tree = ast.parse(code.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return MalformedCall(text=PYTHON_TAG + code, reason="its arguments are no Python texts")
        if (
            isinstance(tree, ast.Call)
            and isinstance(tree.func, ast.Attribute)
            and isinstance(tree.func.value, ast.Name)
            and not tree.args
        ):
            given = {
                key.arg: key.value.value for key in tree.keywords if key.arg and isinstance(key.value, ast.Constant)
            }
            if len(given) == len(tree.keywords) and all(
                isinstance(v, str | int | float | None) for v in given.values()
            ):
                return ToolCall(name=tree.func.value.id, arguments=given)
    if reason := why_idle(code):
        return MalformedCall(text=PYTHON_TAG + code, reason=reason)
    return ToolCall(name=CODE_INTERPRETER, arguments={"code": code})
