"""One call from its text: from JSON, from Python as literals and calls, and from the code behind the python tag."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ayllu.text.calls.shape import CallKeys
from ayllu.text.llama3_format import PYTHON_TAG
from ayllu.text.python_code import why_idle
from ayllu.text.tool_calls import CALL_NAME, CODE_INTERPRETER, ToolCall

_CALLISH = re.compile(r"""["']name["']\s*:""")
_PARAMETERS = re.compile(r"""["'](?:parameters|arguments)["']\s*:""")
_BUILT_IN_CALL = re.compile(r"\s*\w+\.call\(")


@dataclass(frozen=True, kw_only=True, slots=True)
class MalformedCall:
    """What was meant as a call and cannot be read."""

    text: str
    reason: str
    """For the model or the user: one clause."""


def read_calls(
    raw: str, keys: Sequence[CallKeys], *, whole: bool, sure: bool, python: bool = False
) -> list[ToolCall | MalformedCall]:
    """The calls that an object holds, under the usual keys or else under one of `keys`; none where it is no call.

    With `python` it may be what Python prints of one.
    """
    value, reason = load(raw, python=python)
    usual = _read_object(raw, value, reason, whole=whole, sure=sure)
    if usual is not None or not whole or not keys:
        return [] if usual is None else [usual]
    found = next((pairs for pairs in (list(each.find(value)) for each in keys) if pairs), [])
    return [_with_name(name, arguments, raw) for name, arguments in found]


def _read_object(
    raw: str, value: Any, reason: str | None, *, whole: bool, sure: bool
) -> ToolCall | MalformedCall | None:
    """A call; or why it is none; or None where it was never meant as one. `sure` where nothing else can stand."""
    if reason is not None:
        reason = reason if whole else "it ends before its JSON is complete"
        meant = _CALLISH.search(raw) and (sure or _PARAMETERS.search(raw))
        return MalformedCall(text=raw, reason=reason) if meant else None
    arguments = value.get("parameters", value.get("arguments"))
    if "name" not in value:
        return None
    if not (sure or "parameters" in value or "arguments" in value or value.get("type") == "function"):
        return None
    return _with_name(value["name"], arguments, raw)


def _with_name(name: Any, arguments: Any, raw: str) -> ToolCall | MalformedCall:
    if not isinstance(name, str) or not CALL_NAME.fullmatch(name):
        return MalformedCall(text=raw, reason="its name is not the name of a function")
    return checked(name, arguments, None, raw)


def checked(name: str, arguments: Any, reason: str | None, raw: str) -> ToolCall | MalformedCall:
    if reason is None and isinstance(arguments, str):
        # OpenAI's API has arguments as a text of JSON, and some templates write them so.
        inner, why = load(arguments)
        arguments = arguments if why else inner
    if reason is None and not isinstance(arguments, dict):
        reason = "its parameters are no JSON object"
    return MalformedCall(text=raw, reason=reason) if reason else ToolCall(name=name, arguments=arguments)


def load(raw: str, *, python: bool = False) -> tuple[Any, str | None]:
    """The value that `raw` says, or why it says none; with `python` also as Python prints it."""
    value, reason = _load_json(raw)
    if reason is not None and python and (found := literal(raw))[1] is None:
        return found
    return value, reason


def literal(raw: str) -> tuple[Any, str | None]:
    """The value that Python's literals in `raw` say, where JSON can say it too; or why there is none."""
    try:
        tree = ast.parse(raw.strip(), mode="eval").body
        for node in ast.walk(tree):
            keys = [ast.dump(key) for key in node.keys if key is not None] if isinstance(node, ast.Dict) else []
            if len(keys) != len(set(keys)):
                return {}, "a key stands there twice"
        value = ast.literal_eval(tree)
        if not _has_texts_as_keys(value):
            return {}, "a key is no text"
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
        written.encode()
        return json.loads(written), None
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return {}, "it is no literal of Python that JSON can say"


def _has_texts_as_keys(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _has_texts_as_keys(inner) for key, inner in value.items())
    return all(map(_has_texts_as_keys, value)) if isinstance(value, list | tuple) else True


def _load_json(raw: str) -> tuple[Any, str | None]:

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


def called(code: str, names: Collection[str] | None) -> list[ToolCall]:
    """The calls in `code`, [f(a=1), g()] or one a line, where it is nothing else; of `names` alone, where given.

    Nothing where an argument has no name, or is more than a literal.
    """
    try:
        statements = ast.parse(code.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found: list[ToolCall] = []
    for statement in statements:
        value = statement.value if isinstance(statement, ast.Expr) else None
        for node in value.elts if isinstance(value, ast.List | ast.Tuple) else [value]:
            call = _call_of(node) if isinstance(node, ast.Call) else None
            if call is None or (names is not None and call.name not in names):
                return []
            found.append(call)
    return found


def _call_of(node: ast.Call) -> ToolCall | None:
    name = ast.unparse(node.func)
    if node.args or not CALL_NAME.fullmatch(name):
        return None
    arguments: dict[str, Any] = {}
    for key in node.keywords:
        value, why = literal(ast.unparse(key.value))
        if key.arg is None or key.arg in arguments or why is not None:
            return None
        arguments[key.arg] = value
    return ToolCall(name=name, arguments=arguments)


def read_python(code: str) -> ToolCall | MalformedCall:
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
