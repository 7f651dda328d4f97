"""Source files as parts: what each top-level name is made of, and which names it refers to. Nothing is run."""

from __future__ import annotations

import ast
import builtins
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DIGEST = 16
"""Hexadecimal digits kept of a part's sha256: with a thousand parts two agree by chance once in 10^13."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of a module that has a digest."""

    digest: str
    names: frozenset[str]
    """What it refers to: `package.module.name` where an import inside it says so, else `.name` of its own module."""
    mentions: frozenset[str]
    """Attributes that are asked of something, and the texts that may name a packaged file."""


class Module:
    """A source file: its top-level names, what each imports, and what runs when it is imported."""

    def __init__(self, name: str, text: str, *, package: str = "") -> None:
        self.name, self.package = name, package
        self.imports: dict[str, str] = {}
        self.bound: dict[str, list[ast.stmt]] = {}
        self.on_import: list[ast.stmt] = []
        self._read(ast.parse(text).body)

    def _read(self, body: Iterable[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.imports |= _imported(node, self.package)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.bound.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.If | ast.Try):  # if TYPE_CHECKING, and imports that may fail
                self._read([*node.body, *node.orelse])
            elif stored := {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}:
                for name in stored:
                    self.bound.setdefault(name, []).append(node)
            elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                self.on_import.append(node)

    def absolute(self, name: str) -> str:
        """`package.module.name` for what `.name` stands for in this module, by its imports."""
        if not name.startswith("."):
            return name
        first, _, rest = name[1:].partition(".")
        full = self.imports.get(first, first if hasattr(builtins, first) else f"{self.name}.{first}")
        return f"{full}.{rest}" if rest else full


def read_module(name: str, path: Path) -> Module | None:
    """The module as its file is now; None where it cannot be read."""
    try:
        return _parse(name, path, path.stat().st_mtime_ns)
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


@cache
def _parse(name: str, path: Path, changed_ns: int) -> Module:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return Module(name, path.read_text(encoding="utf-8"), package=package)


@cache
def part_of(module: Module, name: str) -> Part | None:
    """The part `name`, `Class` without its methods, `Class.method`, or with an empty name what runs on import."""
    owner, _, method = name.partition(".")
    if method:
        return _part([item for item in methods_of(module, owner) if item.name == method], module.package)
    nodes = module.bound.get(name, []) if name else module.on_import
    return _part([_head(node) if isinstance(node, ast.ClassDef) else node for node in nodes], module.package)


def methods_of(module: Module, owner: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Methods of a class, besides those that belong to its head; of anything else there are none."""
    return [m for node in module.bound.get(owner, ()) if isinstance(node, ast.ClassDef) for m in _methods(node)]


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Methods that somebody calls by name; those with underscores on both sides belong to the class's head."""
    return [
        item
        for item in node.body
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
        and not (item.name.startswith("__") and item.name.endswith("__"))
    ]


def _head(node: ast.ClassDef) -> ast.ClassDef:
    named = set(map(id, _methods(node)))
    return ast.ClassDef(
        **{name: getattr(node, name) for name in node._fields if name != "body"},
        body=[item for item in node.body if id(item) not in named],
    )


def _part(nodes: Sequence[ast.stmt], package: str) -> Part | None:
    if not nodes:
        return None
    reader = _Reader(package)
    for node in nodes:
        reader.visit(node)
    text = "\n".join(map(_dump, nodes))
    return Part(
        digest=hashlib.sha256(text.encode()).hexdigest()[:DIGEST],
        names=frozenset(reader.names),
        mentions=frozenset(reader.mentions),
    )


def _dump(node: Any) -> str:
    """A syntax tree as text, without places, docstrings and imports: what a name stands for is followed instead."""
    if isinstance(node, list):
        return f"[{','.join(_dump(item) for item in node if not _says_nothing(item))}]"
    if isinstance(node, ast.AST):
        fields = (f"{name}={_dump(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
        return f"{type(node).__name__}({','.join(fields)})"
    return repr(node)


def _says_nothing(node: Any) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.Import | ast.ImportFrom)


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> dict[str, str]:
    """What each name of an import statement stands for."""
    if isinstance(node, ast.Import):
        tops = ((alias.asname, alias.name, alias.name.partition(".")[0]) for alias in node.names)
        return {asname or top: name if asname else top for asname, name, top in tops}
    parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    module = ".".join([*parents, *([node.module] if node.module else [])])
    return {alias.asname or alias.name: f"{module}.{alias.name}" for alias in node.names}


class Scope:
    """Names of one function, and the scope around it."""

    def __init__(self, package: str, outer: Scope | None = None) -> None:
        self.package, self.outer = package, outer
        self._names: dict[str, str | None] = {}
        """What a name stands for: an import inside the function, or None for anything else that is local."""

    def find(self, name: str) -> str | None:
        """`package.module.name`, `.name` where it belongs to the module, or None where it is local."""
        scope: Scope | None = self
        while scope:
            if name in scope._names:
                return scope._names[name]
            scope = scope.outer
        return f".{name}"

    def bind(self, node: ast.AST) -> None:
        """Take in all names that the body of a function binds; not those of functions inside it."""
        for item in ast.iter_child_nodes(node):
            if isinstance(item, ast.Import | ast.ImportFrom):
                self._names |= _imported(item, self.package)
            elif isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self._names[item.name] = None
            elif not isinstance(item, ast.Lambda):
                if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store):
                    self._names.setdefault(item.id, None)
                elif isinstance(item, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and item.name:
                    self._names[item.name] = None
                elif isinstance(item, ast.arg):
                    self._names[item.arg] = None
                self.bind(item)


def dotted_name(node: ast.expr, scope: Scope) -> str | None:
    """What `a.b.c` stands for, or None where it begins with something local or computed."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    first = scope.find(node.id) if isinstance(node, ast.Name) else None
    return None if first is None else ".".join([first, *reversed(names)])


class _Reader(ast.NodeVisitor):
    """What a piece of code refers to."""

    def __init__(self, package: str) -> None:
        self.scope = Scope(package)
        self.names: set[str] = set()
        self.mentions: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for item in (*node.decorator_list, *([node.returns] if node.returns else [])):
            self.visit(item)
        self._function(node.args, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node.args, [node.body])

    def _function(self, arguments: ast.arguments, body: Sequence[ast.AST]) -> None:
        """Defaults and annotations belong to the scope outside, the rest to a new one."""
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        given = [argument for argument in every if argument]
        outside = [*arguments.defaults, *arguments.kw_defaults, *(argument.annotation for argument in given)]
        for item in filter(None, outside):
            self.visit(item)
        outer, self.scope = self.scope, Scope(self.scope.package, self.scope)
        # Lists as fields of a node, so that what binds at any depth is found from one root.
        self.scope.bind(ast.Module(body=[*given, *body], type_ignores=[]))  # type: ignore[list-item]
        for child in body:
            self.visit(child)
        self.scope = outer

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.mentions.add(node.attr)
        if name := dotted_name(node, self.scope):
            self.names.add(name)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if name := self.scope.find(node.id):
            self.names.add(name)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):  # getattr(model, "forward"), files(...) / "tools.txt"
            self.mentions.add(node.value)
