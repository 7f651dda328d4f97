"""Source files as parts: what each top-level name is made of, and which names it refers to. Nothing is run."""

from __future__ import annotations

import ast
import builtins
import copy
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DIGEST = 16
"""Hexadecimal digits kept of a part's sha256: with a thousand parts two agree by chance once in 10^13."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of a module that has a digest."""

    digest: str
    """Of its syntax, without comments, docstrings, imports and its own name."""
    names: frozenset[tuple[str, str]]
    """What it refers to: as it is spelled, and `package.module.name` where an import inside says so, else `.name`."""
    mentions: frozenset[str]
    """Attributes that are asked of something, and the texts that may name one or a file."""
    loads: tuple[str, ...] = ()
    """What it imports when it runs, besides the names that it then uses."""


class Module:
    """A source file: its top-level names, what each imports, and what runs when it is imported."""

    def __init__(self, name: str, text: str, *, package: str = "", path: Path | None = None) -> None:
        self.name, self.package, self.path = name, package, path
        self.imports: dict[str, tuple[str, ...]] = {}
        self.stars: list[str] = []
        """Modules of which every name is taken."""
        self.loads: list[str] = []
        """What is imported when the module is, which is not what is imported for type checkers only."""
        self.bound: dict[str, list[ast.stmt]] = {}
        self.on_import: list[ast.stmt] = []
        self._read(ast.parse(text).body)

    def _read(self, body: Iterable[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                _merge(self.imports, imported(node, self.package))
                self.stars += [target[:-2] for target in self.imports.pop("*", ())]
                self.loads += loaded(node, self.package)
            elif isinstance(node, Definition):
                self.bound.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.If | ast.Try | ast.TryStar | ast.With):
                self._read_block(node)
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                self._bind(node, node.targets if isinstance(node, ast.Assign) else [node.target])
            elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                self.on_import.append(node)
                for name in _stored(node):
                    self.bound.setdefault(name, []).append(node)
                # A loop or a match: it runs on import, and its functions and imports are the module's.
                self._read(_definitions(node))

    def _read_block(self, node: ast.If | ast.Try | ast.TryStar | ast.With) -> None:
        """All branches count: which one is taken can depend on the machine."""
        if isinstance(node, ast.If):
            self.on_import.append(ast.Expr(node.test))
            for name in _stored(node.test):
                self.bound.setdefault(name, []).append(ast.Expr(node.test))
            before = list(self.loads)
            self._read(node.body)
            if ast.unparse(node.test).endswith("TYPE_CHECKING"):
                self.loads = before
            self._read(node.orelse)
        elif isinstance(node, ast.Try | ast.TryStar):
            handled = [item for handler in node.handlers for item in handler.body]
            self._read([*node.body, *handled, *node.orelse, *node.finalbody])
        else:
            self.on_import += [ast.Expr(item.context_expr) for item in node.items]
            for target in (item.optional_vars for item in node.items if item.optional_vars):
                self._bind(node, [target])
            self._read(node.body)

    def _bind(self, node: ast.stmt, targets: Sequence[ast.expr]) -> None:
        names = [name for target in targets for name in _stored(target)]
        for name in names:
            self.bound.setdefault(name, []).append(node)
        if not names or (isinstance(node, ast.AugAssign) and names[0] in self.imports):  # TABLE["key"] = value
            self.on_import.append(node)

    def absolute(self, name: str) -> list[str]:
        """`package.module.name` for what `.name` may stand for in this module, by its imports."""
        if not name.startswith("."):
            return [name]
        first, _, rest = name[1:].partition(".")
        own = first if hasattr(builtins, first) and first not in self.bound else f"{self.name}.{first}"
        found = [*self.imports.get(first, ()), *([own] if first in self.bound or first not in self.imports else [])]
        return [f"{target}.{rest}" if rest else target for target in found]


def read_module(name: str, path: Path) -> Module | None:
    """The module as its file is now; None where it cannot be read."""
    try:
        return _parse(name, path, path.stat().st_mtime_ns)
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


@cache
def _parse(name: str, path: Path, changed_ns: int) -> Module:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return Module(name, path.read_text(encoding="utf-8"), package=package, path=path)


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


def used_by_body(module: Module, owner: str) -> set[str]:
    """Methods that the body of a class hands on itself, as in `size = property(_size)`."""
    found = set()
    for node in module.bound.get(owner, ()):
        for item in node.body if isinstance(node, ast.ClassDef) else ():
            values = [*item.decorator_list] if isinstance(item, Definition) else [getattr(item, "value", None) or item]
            found |= {name.id for value in values for name in ast.walk(value) if isinstance(name, ast.Name)}
    return found


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Methods that somebody calls by name; those with underscores on both sides belong to the class's head.

    So do those that are entered into something of the class, as by `@shown.register`.
    """
    names = {item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
    return [
        item
        for item in node.body
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
        and not (item.name.startswith("__") and item.name.endswith("__"))
        and not {root_of(decorator) for decorator in item.decorator_list} & (names - {item.name})
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
    text = "\n".join(_dump(node, skip="name" if isinstance(node, Definition) else "") for node in nodes)
    return Part(
        digest=hashlib.sha256(text.encode()).hexdigest()[:DIGEST],
        names=frozenset(reader.names),
        mentions=frozenset(reader.mentions),
        loads=tuple(dict.fromkeys(reader.loads)),
    )


def _dump(node: Any, skip: str = "") -> str:
    """A syntax tree as text, without places, docstrings and imports: what a name stands for is followed instead."""
    if isinstance(node, list):
        return f"[{','.join(_dump(item) for item in node if not _says_nothing(item))}]"
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []) and name != skip)
        return f"{type(node).__name__}({','.join(f'{name}={_dump(value)}' for name, value in fields)})"
    return repr(node)


def _says_nothing(node: Any) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.Import | ast.ImportFrom)


def imported(node: ast.Import | ast.ImportFrom, package: str) -> dict[str, tuple[str, ...]]:
    """What each name of an import statement stands for."""
    if isinstance(node, ast.Import):
        tops = ((alias.asname, alias.name, alias.name.partition(".")[0]) for alias in node.names)
        return {asname or top: (name if asname else top,) for asname, name, top in tops}
    parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    module = ".".join([*parents, *([node.module] if node.module else [])])
    return {alias.asname or alias.name: (f"{module}.{alias.name}",) for alias in node.names}


def loaded(node: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    """All that an import statement may run: `import a.b` runs `a.b`, though it binds `a` alone."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [target.removesuffix(".*") for targets in imported(node, package).values() for target in targets]


def root_of(node: ast.expr) -> str:
    """The name that `a.b(c).d` begins with; nothing where it begins otherwise."""
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _definitions(node: ast.AST) -> list[ast.stmt]:
    """Functions, classes and imports of a statement at any depth, without what is inside functions and classes."""
    found: list[ast.stmt] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition | ast.Import | ast.ImportFrom):
            found.append(child)
        else:
            found += _definitions(child)
    return found


def _merge(into: dict[str, tuple[str, ...]], more: dict[str, tuple[str, ...]]) -> None:
    for name, targets in more.items():
        into[name] = tuple(dict.fromkeys([*into.get(name, ()), *targets]))


def _stored(node: ast.AST) -> list[str]:
    """Names that a statement binds around it: those of comprehensions stay inside them."""
    if isinstance(node, Definition | ast.Lambda):
        return []
    if isinstance(node, Comprehension):
        return [item.target.id for item in ast.walk(node) if isinstance(item, ast.NamedExpr)]
    found = [node.id] if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else []
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        found.append(node.name)
    return found + [name for child in ast.iter_child_nodes(node) for name in _stored(child)]


class Scope:
    """Names of one function, class or comprehension, and the scope around it."""

    def __init__(self, package: str, outer: Scope | None = None) -> None:
        self.package, self.outer = package, outer
        self.imports: dict[str, tuple[str, ...]] = {}
        self.local: set[str] = set()

    def find(self, name: str) -> tuple[str, ...]:
        """What a name may stand for: imports inside, `.name` where it is the module's, nothing where it is local."""
        scope: Scope | None = self
        while scope:
            if name in scope.imports:
                return scope.imports[name]
            if name in scope.local:
                return ()
            scope = scope.outer
        return (f".{name}",)

    def bind(self, node: ast.AST, elsewhere: set[str] | None = None) -> None:
        """Take in all names that the body of a function binds; not those of functions inside it."""
        outside = elsewhere if elsewhere is not None else set()
        for item in ast.iter_child_nodes(node):
            if isinstance(item, ast.Import | ast.ImportFrom):
                _merge(self.imports, imported(item, self.package))
            elif isinstance(item, ast.Global | ast.Nonlocal):
                outside.update(item.names)
            elif isinstance(item, Definition):
                self.local.add(item.name)
            elif isinstance(item, Comprehension):
                self.local.update(_stored(item))
            elif not isinstance(item, ast.Lambda):
                if isinstance(item, ast.arg):
                    self.local.add(item.arg)
                elif isinstance(item, ast.Name | ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
                    self.local.update(_stored(item) if not isinstance(item, ast.ExceptHandler) else [item.name or ""])
                self.bind(item, outside)
        if elsewhere is None:
            self.local -= outside


def dotted_names(node: ast.expr, scope: Scope) -> list[tuple[str, str]]:
    """What `a.b.c` may stand for, with how it is spelled; nothing where it begins with something local or computed."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return []
    rest = names[::-1]
    return [(".".join([node.id, *rest]), ".".join([target, *rest])) for target in scope.find(node.id)]


class _Reader(ast.NodeVisitor):
    """What a piece of code refers to."""

    def __init__(self, package: str) -> None:
        self.scope = Scope(package)
        self.names: set[tuple[str, str]] = set()
        self.mentions: set[str] = set()
        self.loads: list[str] = []

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for item in (*node.decorator_list, *([_annotation(node.returns)] if node.returns else [])):
            self.visit(item)
        self._function(node.args, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node.args, [node.body])

    def _function(self, arguments: ast.arguments, body: Sequence[ast.AST]) -> None:
        """Defaults and annotations belong to the scope outside, the rest to a new one."""
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        given = [argument for argument in every if argument]
        outside = [
            *arguments.defaults,
            *arguments.kw_defaults,
            *(argument.annotation and _annotation(argument.annotation) for argument in given),
        ]
        for item in filter(None, outside):
            self.visit(item)
        outer, self.scope = self.scope, Scope(self.scope.package, self.scope)
        # Lists as fields of a node, so that what binds at any depth is found from one root.
        self.scope.bind(ast.Module(body=[*given, *body], type_ignores=[]))  # type: ignore[list-item]
        for child in body:
            self.visit(child)
        self.scope = outer

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer, self.scope = self.scope, Scope(self.scope.package, self.scope)
        for item in node.body:
            if isinstance(item, ast.Import | ast.ImportFrom):
                _merge(self.scope.imports, imported(item, self.scope.package))
        self.generic_visit(node)
        self.scope = outer

    def _comprehension(self, node: Comprehension) -> None:
        outer, self.scope = self.scope, Scope(self.scope.package, self.scope)
        self.scope.local.update(name for part in node.generators for name in _stored(part.target))
        self.generic_visit(node)
        self.scope = outer
        self.visit(node.generators[0].iter)  # the first one is read outside: [row for row in row()]

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.mentions.add(node.attr)
        found = dotted_names(node, self.scope)
        self.names.update(found)
        inner: ast.expr = node.value
        while isinstance(inner, ast.Attribute):
            self.mentions.add(inner.attr)
            inner = inner.value
        if modules := self._loaded_by(inner):
            rest = ast.unparse(node)[len(ast.unparse(inner)) :]
            self.names.update((name + rest, name + rest) for name in modules)
            self.loads += modules
        elif not isinstance(inner, ast.Name):  # a bare name would stand for a whole module that is passed on as a value
            self.visit(inner)

    def visit_Call(self, node: ast.Call) -> None:
        if modules := self._loaded_by(node):
            self.names.update((name, name) for name in modules)
            self.loads += modules
        self.generic_visit(node)

    def _loaded_by(self, node: ast.expr) -> list[str]:
        """The module that `import_module("a.b")` gives, where its name stands there; of anything else nothing."""
        if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
            return []
        name = node.args[0].value
        if ast.unparse(node.func).rpartition(".")[2] not in ("import_module", "__import__") or not isinstance(
            name, str
        ):
            return []
        dots = len(name) - len(name.lstrip("."))
        parents = self.scope.package.split(".")[: len(self.scope.package.split(".")) - dots + 1] if dots else []
        return [".".join([*parents, name[dots:]])]

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.loads += loaded(node, self.scope.package)

    visit_Import = visit_ImportFrom = _import

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        for item in (node.target, _annotation(node.annotation), *([node.value] if node.value else [])):
            self.visit(item)

    def visit_Name(self, node: ast.Name) -> None:
        self.names.update(dotted_names(node, self.scope))

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):  # getattr(model, "forward"), attrgetter("a.b"), files(...) / "tools.txt"
            self.mentions.update((node.value, *node.value.split(".")))

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        self.mentions.update(node.kwd_attrs)
        self.generic_visit(node)


class _Unquoted(ast.NodeTransformer):
    """Reads what an annotation has in quotation marks."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return node if ast.unparse(node.value).endswith("Literal") else self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        try:
            return ast.parse(node.value, mode="eval").body if isinstance(node.value, str) else node
        except (SyntaxError, ValueError):
            return node


def _annotation(node: ast.expr) -> ast.expr:
    """A copy of an annotation, without quotation marks."""
    found: ast.expr = _Unquoted().visit(copy.deepcopy(node))
    return found
