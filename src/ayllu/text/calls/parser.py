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
    OPENING NAME BETWEEN {…} CLOSING                          anywhere, where the template writes the name outside
    <function=NAME><parameter=KEY>VALUE</parameter>…</function>   anywhere; and other tags, as the template has them
    [NAME(key="value"), NAME()]                      where the reply begins, or behind the python tag, for tools that
                                                     are known; behind an opening where the template writes that
    {'name': NAME, 'arguments': {…}}                 where the template prints calls as Python does

What looks like a call and is none is reported, never repaired: Meta's own reader replaces every ' by ", which damages
"it's", and stops at the first call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from ayllu.text.calls.pieces import CallPiece, CallPieces, Scan
from ayllu.text.calls.read import MalformedCall, called, checked, load, read_calls, read_python
from ayllu.text.calls.shape import FUNCTION_TAGS, ID, TOOL_CALL, CallForm, parts
from ayllu.text.calls.tags import TagScan, Unreadable
from ayllu.text.llama3_format import EOM, EOT, PYTHON_TAG
from ayllu.text.tool_calls import CALL_NAME, FUNCTION, FUNCTION_END, Tool, ToolCall

LONGEST_NAME = 128
"""Characters of a function's name: what goes on for longer is none."""
ENDS = (EOM, EOT, "<|im_end|>")
"""Ends of a reply. They count only where the reply ends: elsewhere they are characters."""
_LISTED = re.compile(r"\[\s*[\w.-]*\s*([^\s\w.-]?)")
"""What a list of calls as in Python begins with, up to the sign behind the first name."""

Event = str | ToolCall | MalformedCall | CallPiece
"""What a reply consists of: words, calls, and calls that cannot be read; pieces of calls where they are asked for."""


def parse(text: str, *, forms: Sequence[CallForm] = (), tools: Sequence[Tool] = ()) -> list[Event]:
    """Words and calls of a whole reply, in their order; neighbouring words are one text. `forms` are read too.

    Of `tools` are the names that are calls where they stand as in Python, and the types of what stands in tags.
    """
    parser = CallParser(forms=forms, tools=tools)
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

    With `pieces` a call's arguments also come as they are written, before the call itself, where its name stands first.
    """

    def __init__(self, *, forms: Sequence[CallForm] = (), tools: Sequence[Tool] = (), pieces: bool = False) -> None:
        self._parameters = {tool.name: tool.parameters for tool in tools}
        self._literal = any(form.literal for form in forms)
        self._forms = {form.opening: form for form in (TOOL_CALL, *forms) if form.opening}
        self._keys = [form.keys for form in forms if form.keys is not None]
        # Behind the first of two calls stands only a part of what stands behind the last.
        closings = dict.fromkeys(part for form in self._forms.values() for part in (form.closing, *parts(form.closing)))
        self._openings = (PYTHON_TAG, FUNCTION, *self._forms)
        self._closings = (FUNCTION_END, *filter(None, closings))
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
        self._scan = Scan()
        self._inside = TagScan(FUNCTION_TAGS)
        self._wanted, self._pieces = pieces, CallPieces()
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
        listed = _LISTED.match(rest) if self._parameters else None
        if listed and not listed[1] and listed.end() == len(rest) and not final:
            return iter(())
        if listed and listed[1] == "(" and listed[0][1:-1].strip() in self._parameters:
            self._scan, self._state = Scan(python=True), self._list
        elif rest[:1] in ("{", "[") and not rest.startswith(self._openings):
            self._calls, self._tagged, self._form = 0, False, None
            self._enter_json()
        elif rest or final:
            self._state = self._words
        return iter(())

    def _list(self, final: bool) -> Iterator[Event]:
        """A reply that begins with a list of calls as in Python: such calls, or words."""
        start = self._text.index("[")
        end = self._scan.end(self._text, start)
        if end is None and not final:
            return
        found = called(self._text[start:end], self._parameters) if end is not None else []
        if found:
            self._take(end or 0)
            self._calls, self._tagged = len(found), False
            yield from found
        self._state = self._between if found else self._words

    def _words(self, final: bool) -> Iterator[Event]:
        found = [(self._text.find(tag), tag) for tag in self._openings if tag in self._text]
        at, tag = min(found, default=(-1, ""))
        if at >= 0:
            if at:
                yield self._take(at)
            self._take(len(tag))
            self._enter(tag)
            return
        keep = 0 if final else _held(self._text, self._tags)
        if len(self._text) > keep:
            yield self._take(len(self._text) - keep)

    def _enter(self, tag: str) -> None:
        """Begin to read what stands behind a tag that opens a call."""
        form = self._form = self._forms.get(tag)
        self._state = {PYTHON_TAG: self._python, FUNCTION: self._function}.get(tag, self._block)
        if form is not None and form.tags is not None and tag != FUNCTION:
            self._inside, self._state = TagScan(form.tags), self._in_tags
        elif form is not None and form.called:
            self._state, self._looked = self._called, 0
        self._scan, self._pieces = Scan(python=self._literal), CallPieces()

    def _in_tags(self, final: bool) -> Iterator[Event]:
        """Behind the opening of a call whose arguments stand in tags."""
        opening = FUNCTION if self._form is None else self._form.opening
        try:
            end = self._inside.end(self._text, final=final)
            if end is None:
                return
            self._take(end)
            yield ToolCall(
                name=self._inside.name, arguments=self._inside.arguments(self._parameters.get(self._inside.name, {}))
            )
        except Unreadable as error:
            close = FUNCTION_TAGS.close if self._form is None or self._form.tags is None else self._form.tags.close
            at = self._text.find(close)
            if at < 0 and not final:
                return
            raw = self._take(at if at >= 0 else len(self._text))
            yield MalformedCall(text=opening + raw, reason=str(error))
        self._calls, self._tagged, self._state = 1, False, self._between

    def _called(self, final: bool) -> Iterator[Event]:
        """Behind the opening of calls as Python writes them, up to what closes them: in a text it does not."""
        assert self._form is not None
        closing = self._form.closing
        while (closing and (at := self._text.find(closing, self._looked)) >= 0) or final:
            end = at if closing and at >= 0 else len(self._text)
            if found := called(self._text[:end], None):
                self._take(end)
                yield from found
            elif end < len(self._text):
                self._looked = end + 1
                continue
            else:
                yield from self._unreadable(final)
                return
            self._calls, self._tagged, self._state, self._looked = 1, False, self._between, 0
            return

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
            if calls := called(code, self._parameters) if self._parameters else []:
                self._take(len(code))
                self._state, self._looked = self._words, 0
                yield from calls
                return
            found = read_python(code)
            if isinstance(found, MalformedCall) and at >= 0:
                self._looked = at + 1
                continue
            if isinstance(found, MalformedCall):
                code = code.partition(PYTHON_TAG)[0]
                found = read_python(code)
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
        elif self._form is not None and self._form.between is not None:
            self._state = self._named
        elif not final and (re.fullmatch(r"\[?\s*", rest) or any(tag.startswith(rest) for tag in self._openings)):
            pass
        elif rest.startswith(self._openings):
            self._take(len(self._text) - len(rest))
            self._state = self._words
        else:
            yield from self._unreadable(final)

    def _named(self, final: bool) -> Iterator[Event]:
        """Behind the opening of a form that has the name outside of the JSON: the name, what is between, an object."""
        assert self._form is not None
        assert self._form.between is not None
        start = self._text.find("{")
        head = self._text if start < 0 else self._text[:start]
        between = re.escape(self._form.between.strip()).replace(re.escape(ID), r"[\w.:-]+")
        between = re.sub(r"(?<=:)0\b", r"\\d+", between)  # Kimi K2 numbers the calls of a turn
        named = re.fullmatch(rf"\s*({CALL_NAME.pattern})\s*{between}\s*", head)
        if start < 0 and not final and len(head.strip()) <= LONGEST_NAME + len(between):
            return
        if start >= 0 and named:
            end = self._scan.end(self._text, start)
            name = named[1]
            yield from self._written(start, name)
            if end is None and not final:
                return
            raw = self._text[start:end]
            self._take(start + len(raw))
            yield checked(name, *load(raw, python=self._literal), f"{self._form.opening}{head}{raw}")
            self._calls, self._tagged = 1, False
            self._state = self._between
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
        wanted = "a call as JSON" if self._form.between is None else "a name and its arguments as JSON"
        yield MalformedCall(text=self._form.opening + raw, reason=f"{self._form.opening} must be followed by {wanted}")
        self._calls = 1
        self._state = self._between

    def _enter_json(self) -> None:
        self._scan, self._pieces, self._state = Scan(python=self._literal), CallPieces(), self._json

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
        yield from self._written(start)
        if end is None and not final:
            return
        raw = self._text[start:end]
        sure = self._tagged or self._form is not None or self._calls > 0
        events = read_calls(raw, self._keys, whole=end is not None, sure=sure, python=self._literal)
        if not events:
            self._state = self._otherwise() if not self._calls else self._words
            return
        self._take(start + len(raw))
        self._calls += 1
        self._state = self._between
        yield from events

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
        """Behind `<function=`: a name, `>`, an object or arguments in tags, and perhaps the closing tag."""
        close = self._text.find(">")
        if close < 0 and not final:
            return
        name = self._text[:close] if close >= 0 else self._text
        body = self._text[close + 1 :] if close >= 0 else ""
        if body and not body.isspace() and body.lstrip()[0] == "{" and CALL_NAME.fullmatch(name):
            start = self._text.index("{", close)
            end = self._scan.end(self._text, start)
            yield from self._written(start, name)
            if end is None and not final:
                return
            raw = self._text[start:end]
            self._take(start + len(raw))
            yield checked(name, *load(raw), f"{FUNCTION}{name}>{raw}")
        elif body.lstrip()[:1] == "<" and CALL_NAME.fullmatch(name):
            self._inside, self._state = TagScan(FUNCTION_TAGS), self._in_tags
            return
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

    def _written(self, start: int, name: str | None = None) -> Iterator[Event]:
        if self._wanted:
            yield from self._pieces.push(self._text, start, name)

    def _take(self, count: int) -> str:
        taken, self._text = self._text[:count], self._text[count:]
        return taken


def _held(text: str, tags: Sequence[str]) -> int:
    """How many characters at the end of `text` may be the beginning of a tag, or an end of the reply."""
    longest = 0
    for tag in tags:
        for n in range(min(len(text), len(tag)), 0, -1):
            if text.endswith(tag[:n]):
                longest = max(longest, n)
                break
    return longest
