"""One conversation of somebody's file, in whichever of the usual forms: what it says is learnt as meant, or refused.

{"messages": [{"role": "user", "content": "…"}, …], "tools": […]}             OpenAI, TRL
{"conversations": [{"from": "human", "value": "…"}, …], "system": "…"}       ShareGPT
{"instruction": "…", "input": "…", "output": "…", "history": [["…", "…"]]}   Alpaca
{"prompt": "…" or [messages], "completion": "…" or [messages]}               OpenAI, TRL
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ayllu.lab.visible import visible
from ayllu.text.chat import ROLES, Message
from ayllu.text.tool_calls import Tool, ToolCall

SPEAKERS = {"human": "user", "gpt": "assistant", "observation": "tool", "function_call": "assistant"}
"""ShareGPT's words for roles; its others are the same as everybody's."""
DEVELOPER = "developer"
"""OpenAI's newer word for the role `system`."""
ALPACA_INPUT = "{instruction}\n\n{input}"
"""How an instruction and its input become one message, as LlamaFactory and axolotl join them."""
LEARNT = ("weight", "train", "training", "trainable", "train_on_turn", "loss")
"""Fields of a turn that say whether it is to be learnt (OpenAI, axolotl, ms-swift and others)."""
READ = ("role", "from", "content", "value", "tool_calls", "tool_call_id", *LEARNT)
CALL_READ = frozenset(("id", "type", "index", "function", "name", "arguments"))
"""Fields of a call; `index` is its place among the others."""
UNHEARD = (
    *("reasoning_content", "reasoning", "reasoning_details", "thinking", "thought", "thoughts"),
    *("function_call", "audio", "images", "image", "refusal", "mask", "train_detail"),
)
"""Fields of a turn that mean something which is not learnt from: such a turn is refused, where they are not empty."""
BESIDE = (
    *("functions", "image", "images", "audio", "audios", "video", "videos", "documents", "mask"),
    *("weight", "chosen", "rejected", "label"),
)
"""The same of a row."""


class Chat(list[Message]):
    """A conversation: its messages, with the tools that the assistant has and the turns that are not learnt."""

    def __init__(
        self, messages: Iterable[Message], *, tools: Sequence[Tool] = (), unlearnt: Iterable[int] = ()
    ) -> None:
        super().__init__(messages)
        self.tools = tuple(tools)
        self.unlearnt = frozenset(unlearnt)


def read_chat(row: Mapping[str, Any], unread: Counter[str]) -> Chat:
    """The conversation of a row; `unread` counts fields that say nothing of it. Raises ValueError with one clause."""
    known, turns = _turns(row)
    refuse_beside(row, known)
    said_more = (name for name, value in row.items() if value not in (None, [], {}, ""))
    unread.update(name for name in said_more if name not in (*known, "tools", *BESIDE))
    messages, unlearnt = read_turns(turns, unread)
    check_answers(messages)
    said = [number for number, message in enumerate(messages) if message.role == "assistant"]
    if not said:
        raise ValueError("the assistant says nothing")
    if unlearnt.issuperset(said):
        raise ValueError("no turn of the assistant is to be learnt")
    return Chat(messages, tools=read_tools(row.get("tools")), unlearnt=unlearnt)


def refuse_beside(row: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raises ValueError where a row says something beside the fields `known` that changes what it means."""
    if refused := [name for name in BESIDE if name not in known and row.get(name) not in (None, [], {}, "")]:
        raise ValueError(f"it has {refused[0]!r}, which is not learnt from: take it out")


def check_answers(messages: Sequence[Message]) -> None:
    """Raises ValueError where a turn answers another call than the one whose turn it is.

    Most formats write no ids: what answers what is said by the order alone.
    """
    waiting: list[str | None] = []
    for number, message in enumerate(messages, start=1):
        if message.tool_calls:
            waiting = [call.id for call in message.tool_calls]
            if len(named := [i for i in waiting if i is not None]) != len(set(named)):
                raise ValueError(f"turn {number} has two calls of one id")
        if message.role != "tool":
            continue
        answered, due = message.tool_call_id, waiting.pop(0) if waiting else None
        if answered in (None, due) or (due is None and waiting == [None] * len(waiting) and not _has_ids(messages)):
            continue
        shown = visible(repr(answered), longest=60)
        if answered in waiting:
            raise ValueError(f"turn {number} answers the call {shown} before another: keep the order of the calls")
        raise ValueError(f"turn {number} answers the call {shown}, which does not wait for an answer")


def _has_ids(messages: Sequence[Message]) -> bool:
    return any(call.id is not None for message in messages for call in message.tool_calls)


def _turns(row: Mapping[str, Any]) -> tuple[tuple[str, ...], list[Any]]:
    """The fields that the conversation stands in, and its turns. Raises ValueError where two forms say two things."""
    forms = list(_forms(row))
    if not forms:
        raise ValueError("'messages' is missing or empty")
    (known, turns), *others = forms
    for fields, more in others:
        if read_turns(more, Counter())[0] != read_turns(turns, Counter())[0]:
            raise ValueError(f"it has {known[0]!r} and {fields[0]!r}, which say different things: keep one")
    return tuple(name for fields, _ in forms for name in fields), turns


def _forms(row: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    """Each form that a row has: its fields, the telling one first, and the turns."""
    for name in ("messages", "conversations"):
        if isinstance(row.get(name), list) and row[name]:
            yield (name, "system"), [*system_turns(row), *row[name]]
    if row.get("instruction") is not None and row.get("messages") != []:
        yield ("instruction", "input", "output", "system", "history"), _alpaca(row)
    if row.get("completion") is not None and row.get("messages") != []:
        asked, answer = (
            side if isinstance(side, list) else [{"role": role, "content": side}]
            for side, role in ((row.get("prompt"), "user"), (row["completion"], "assistant"))
        )
        yield ("completion", "prompt", "system"), [*system_turns(row), *asked, *answer]


def system_turns(row: Mapping[str, Any]) -> list[Any]:
    """What the assistant is told, where it stands beside the turns."""
    return [{"role": "system", "content": row["system"]}] if row.get("system") else []


def _alpaca(row: Mapping[str, Any]) -> list[Any]:
    asked, given = row["instruction"], row.get("input")
    if given:
        if not isinstance(asked, str) or not isinstance(given, str):
            raise ValueError("'instruction' and 'input' are no texts")
        asked = ALPACA_INPUT.format(instruction=asked, input=given) if asked else given
    turns = system_turns(row)
    for pair in row.get("history") or []:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError("'history' is no list of pairs of a question and an answer")
        turns += [{"role": role, "content": said} for role, said in zip(("user", "assistant"), pair, strict=True)]
    return [*turns, {"role": "user", "content": asked}, {"role": "assistant", "content": row.get("output")}]


def read_turns(turns: Sequence[Any], unread: Counter[str]) -> tuple[list[Message], frozenset[int]]:
    """Messages, and the numbers, from 0, of those that are not to be learnt. Raises ValueError."""
    messages, unlearnt = [], set()
    for number, turn in enumerate(turns, start=1):
        spoken = turn.get("role", turn.get("from")) if isinstance(turn, Mapping) else turn
        role = SPEAKERS.get(spoken, spoken) if isinstance(spoken, str) and "from" in turn else spoken
        role = "system" if role == DEVELOPER else role
        if not isinstance(turn, Mapping) or role not in ROLES:
            raise ValueError(f"turn {number} has the unknown role {visible(repr(spoken), longest=60)}")
        try:
            messages.append(_message(turn, str(role), called=spoken == "function_call"))
            if not _is_learnt(turn):
                unlearnt.add(number - 1)
        except ValueError as error:
            raise ValueError(f"turn {number} {error}") from None
        unread.update(f"{name} of a turn" for name in turn if name not in (*READ, *UNHEARD))
    return messages, frozenset(unlearnt)


def _message(turn: Mapping[str, Any], role: str, *, called: bool) -> Message:
    """Raises ValueError that reads on from `turn 3`."""
    if refused := next((name for name in UNHEARD if turn.get(name) not in (None, [], {}, "")), None):
        raise ValueError(f"has {refused!r}, which is not learnt from: write it into its content, or take it out")
    for one, other in (("content", "value"), ("role", "from")):
        said = SPEAKERS.get(str(turn.get(other)), turn.get(other))
        if None not in (turn.get(one), said) and turn[one] != said:
            raise ValueError(f"has {one!r} and {other!r}, which say different things")
    content = _text(turn.get("content", turn.get("value")))
    if called:
        return Message(role=role, tool_calls=tuple(_calls(json_of(content, "its call"))))
    calls = tuple(_calls(turn["tool_calls"])) if turn.get("tool_calls") else ()
    if calls and role != "assistant":
        raise ValueError(f"has calls, but is of the role {role!r}")
    if not content.strip() and not calls:
        raise ValueError("is empty")
    return Message(role=role, content=content, tool_calls=calls, tool_call_id=_id(turn.get("tool_call_id")))


def _text(value: Any) -> str:
    """Words, or a list of parts that are words."""
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, list):
        raise ValueError("has content that is neither a text nor a list of parts")
    for part in value:
        kind = part.get("type", "text") if isinstance(part, Mapping) else type(part).__name__
        if kind != "text" or not isinstance(part.get("text"), str):
            raise ValueError(f"has a part of the type {kind!r}; only parts of text are learnt from")
    return "".join(part["text"] for part in value)


def _calls(value: Any) -> Iterable[ToolCall]:
    for call in value if isinstance(value, list) else [value]:
        function = call.get("function", call) if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise ValueError("has a call without the name of a function")
        if strange := sorted((call.keys() | function.keys()) - CALL_READ):
            raise ValueError(f"has a call with {visible(repr(strange[0]), longest=60)}, which is not learnt from")
        if call.get("type") not in (None, "function"):
            raise ValueError(f"has a call of the type {visible(repr(call['type']), longest=60)}, not 'function'")
        arguments = json_of(function.get("arguments", {}), "the arguments of a call")
        if not isinstance(arguments, Mapping):
            raise ValueError("has a call whose arguments are no JSON object")
        try:
            yield ToolCall(name=function["name"], arguments=arguments, id=_id(call.get("id")))
        except ValueError as error:
            raise ValueError(f"has a call, but {error}") from None


def _id(value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise ValueError(f"has the id of a call {visible(repr(value), longest=60)}, which is no text")
    return value or None


def _is_learnt(turn: Mapping[str, Any]) -> bool:
    said = {name: turn[name] for name in LEARNT if turn.get(name) is not None}
    for name, value in said.items():
        if value not in (0, 1):
            raise ValueError(f"has the {name} {value!r}; only 0 and 1 can be learnt with")
    return all(said.values())


def read_tools(value: Any) -> list[Tool]:
    """Definitions of functions, as OpenAI's API has them; a text of JSON too. Raises ValueError."""
    found = []
    listed = json_of(value, "'tools'") if value else []
    for entry in listed if isinstance(listed, list) else [listed]:
        function = entry.get("function", entry) if isinstance(entry, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise ValueError("'tools' holds something that is no function with a name")
        schema = function.get("parameters") or {"type": "object", "properties": {}}
        if not isinstance(schema, Mapping):
            raise ValueError(f"the parameters of the tool {function['name']!r} are no JSON Schema")
        whole = dict(entry) if "function" in entry else {"type": "function", "function": dict(function)}
        description = str(function.get("description") or "")
        found.append(Tool(name=function["name"], description=description, parameters=schema, whole=whole))
    return found


def json_of(value: Any, what: str) -> Any:
    """`value`, or what it says where it is a text of JSON."""
    if not isinstance(value, str):
        return value
    try:
        return strict_json(value)
    except ValueError:
        raise ValueError(f"has no valid JSON as {what}" if what[0] != "'" else f"{what} is no valid JSON") from None


def strict_json(text: str) -> Any:
    """What `text` says. Raises ValueError with one clause where it is no JSON, or says one thing twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = Counter(name for name, _ in pairs)
            raise ValueError(f"the key {visible(names.most_common(1)[0][0], longest=60)!r} stands there twice")
        return found

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValueError(error.msg) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        # The library's own words on a number of thousands of digits tell of Python.
        raise ValueError("a number is too long" if "digits" in str(error) else str(error)) from None
