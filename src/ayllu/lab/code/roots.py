"""Where the code of a function or a class stands: in a module's file, or in the cells of a notebook."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ayllu.lab.code.syntax import Module, read_module

HISTORY = re.compile(r"_+\w*__|_+\d*|_i+\d*|_oh|_dh|_ih|In|Out|get_ipython|exit|quit|open")
"""Names that a notebook keeps for itself."""


def symbols_of(root: object) -> Iterator[tuple[Module, str]]:
    """The top-level names that a function or class belongs to, those it wraps with it: of a nested one the one around.

    A lambda is taken by itself, with what it refers to.
    """
    for target in _inside(root, {}):
        code = getattr(target, "__code__", None)
        if code is not None:  # what `functools.wraps` copied is the wrapped function's name
            name, qualified = target.__globals__.get("__name__"), code.co_qualname  # type: ignore[attr-defined]
        else:
            owner = target if hasattr(target, "__qualname__") else type(target)
            name, qualified = owner.__module__, owner.__qualname__
        if module := _module_called(name):
            first = qualified.partition(".")[0]
            if code is not None and code.co_name == "<lambda>":
                first = _bind_lambda(module, code.co_firstlineno)
            if first in module.bound:
                yield module, first
                if qualified.count(".") == 1 and qualified != first:  # a method: nobody mentions its name
                    yield module, qualified
            elif module.path is not None:  # something in this file, and nobody can say what
                yield from ((module, part) for part in list(module.bound))


def _inside(root: object, found: dict[int, object]) -> list[object]:
    """A function or class, and those that it was made of: wrapped, bound to arguments, or held from around it."""
    root = getattr(root, "__func__", root)
    if id(root) in found:
        return []
    if isinstance(root, functools.partial):
        held: list[object] = [root.func, *root.args, *root.keywords.values()]
    else:
        found[id(root)] = root
        held = [getattr(root, "__wrapped__", None)]
        for cell in getattr(root, "__closure__", None) or ():
            with contextlib.suppress(ValueError):  # not filled yet
                held.append(cell.cell_contents)
    for item in held:
        if inspect.isroutine(item) or inspect.isclass(item) or isinstance(item, functools.partial):
            _inside(item, found)
    return list(found.values())


def _bind_lambda(module: Module, line: int) -> str:
    """Give the lambdas that begin in a line a name of their own in the module: that of what they stand in."""
    for name, nodes in list(module.bound.items()):
        found = [
            item for node in nodes for item in ast.walk(node) if isinstance(item, ast.Lambda) and item.lineno == line
        ]
        if found and not name.startswith("lambda in "):
            module.bound[f"lambda in {name}"] = [ast.Expr(item) for item in found]
            return f"lambda in {name}"
    return ""


def _module_called(name: str | None) -> Module | None:
    if name in (None, "builtins"):
        return None
    loaded = sys.modules.get(str(name))
    file, spec = getattr(loaded, "__file__", None), getattr(loaded, "__spec__", None)
    if file is None:
        return _session() if name == "__main__" else None
    # Run as `python -m package.module`, a module is called __main__ and imports its neighbours as what it is.
    return read_module(spec.name if name == "__main__" and spec else str(name), Path(file))


def _session() -> Module:
    """What has been typed in this session so far, as a module: a notebook has no file, but its cells have texts."""
    lines: list[str] = []
    imports: dict[str, tuple[str, ...]] = {}
    for name, value in vars(sys.modules["__main__"]).items():
        value = getattr(value, "work", value)  # a stage stands for its function
        if HISTORY.fullmatch(name):
            continue
        if inspect.ismodule(value):
            imports[name] = (value.__name__,)
        elif callable(value) and getattr(value, "__module__", None) not in (None, "__main__"):
            imports[name] = (f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}",)
        elif (text := _text_of(name, value)) is not None:
            lines.append(text)
    module = Module("__main__", "\n".join(lines))
    module.imports |= imports
    return module


def _text_of(name: str, value: Any) -> str | None:
    """What binds a name of the session to its value, as source; None where that cannot be told."""
    text = None
    with contextlib.suppress(OSError, TypeError):
        if inspect.isfunction(value):
            text = textwrap.dedent(inspect.getsource(value))
        elif inspect.isclass(value):
            text = _class_text(value)
        if text is not None and getattr(value, "__name__", name) != name:
            text = f"{name} = {value.__qualname__}"
    if text is None and not callable(value):
        text = f"{name} = {_literal(value)}"
    try:
        ast.parse(text or "?")
    except (SyntaxError, ValueError):
        return None
    return text


def _class_text(value: type) -> str:
    """A class typed in a cell: its attributes, and its methods from the cell's text."""
    lines = [f"class {value.__name__}({', '.join(base.__name__ for base in value.__bases__)}):", "    pass"]
    for name, item in vars(value).items():
        inner = getattr(item, "fget", None) or getattr(item, "__func__", item)
        if inspect.isfunction(inner):
            lines.append(textwrap.indent(textwrap.dedent(inspect.getsource(inner)), "    "))
        elif not name.startswith("__"):
            lines.append(f"    {name} = {_literal(item)}")
    return "\n".join(lines)


def _literal(value: Any) -> str:
    """A value as source: plain values and collections of them, functions and classes by their names."""
    if inspect.isfunction(value) or inspect.isclass(value):
        return value.__qualname__
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        return f"{type(value).__name__}([{', '.join(map(_literal, value))}])"
    return repr(value) if isinstance(value, str | int | float | bytes | None) else f"{type(value).__qualname__!r}"
