"""Which code made a result: everything that a stage reaches, function by function, read and never run.

A stage's own body is thin wiring, so its text says little about what it does. From the body the names are followed
through imports (also those inside functions), module by module, to the functions, classes, constants and packaged data
that they stand for, and on from there. Of a class the methods count whose names are mentioned somewhere on the way (all
of them where a library may call them: the class has a base from outside). What cannot be told this way, a name made at
run time, is not followed; a stage declares such code in `reaches`.

The lab itself does not count: it keeps results and makes none.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import hashlib
import importlib.util
import inspect
import site
import sys
import sysconfig
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ayllu.lab.syntax import DIGEST, Module, Scope, dotted_name, methods_of, part_of, read_module

PACKAGE = "ayllu"
LEFT_OUT = "ayllu.lab"
PLAIN_BASES = {
    "object",
    "Protocol",
    "Generic",
    "Exception",
    "NamedTuple",
    "TypedDict",
    "ABC",
    "Enum",
    "StrEnum",
    "IntEnum",
}
"""Bases from outside whose code calls no method that the class adds."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """What a stage reaches."""

    parts: Mapping[str, str]
    """Digest of each function, class, method, constant or file by its name, `package.module.name`."""
    libraries: Mapping[str, str]
    """Version of each library that is imported on the way."""

    @property
    def digest(self) -> str:
        """One digest for all of it."""
        lines = [f"{name} {value}" for name, value in sorted({**self.parts, **self.libraries}.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """As a manifest keeps it."""
        return {"digest": self.digest, "parts": dict(self.parts), "libraries": dict(self.libraries)}

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Code:
        """What `as_json` gave."""
        return cls(parts=value["parts"], libraries=value["libraries"])

    def changed(self, before: Code) -> list[str]:
        """Names of what differs from `before`: changed, new or gone. A part that only moved is none of them."""
        gone = {name: value for name, value in before.parts.items() if self.parts.get(name) != value}
        come = {name: value for name, value in self.parts.items() if before.parts.get(name) != value}
        for name, value in list(come.items()):
            last = name.rpartition(".")[2]
            for old, was in gone.items():
                if was == value and old.rpartition(".")[2] == last:
                    del gone[old], come[name]
                    break
        versions = [
            f"{name} {before.libraries.get(name, 'unused')} → {self.libraries.get(name, 'unused')}"
            for name in sorted({*self.libraries, *before.libraries})
            if self.libraries.get(name) != before.libraries.get(name)
        ]
        return sorted({*gone, *come}) + versions


def reached(*roots: object) -> Code:
    """The code that functions and classes reach. Raises nothing: what cannot be read is left out."""
    walk = _Walk()
    for root in roots:
        for found in _symbols_of(root):
            walk.visit(*found)
    return walk.code()


def _symbols_of(root: object) -> Iterator[tuple[Module, str]]:
    """The top-level name that a function or class belongs to: of a nested function the one around it."""
    target = inspect.unwrap(root) if callable(root) else type(root)
    target = getattr(target, "__func__", target)
    if not hasattr(target, "__qualname__"):
        target = type(target)
    if module := _module_of(target):
        yield module, target.__qualname__.partition(".")[0]


def _session() -> Module:
    """What has been typed in this session so far, as a module: a notebook has no file, but its cells have texts."""
    lines, imports = [], {}
    for name, value in vars(sys.modules["__main__"]).items():
        value = getattr(value, "work", value)  # a stage stands for its function
        if inspect.ismodule(value):
            imports[name] = value.__name__
        elif inspect.isfunction(value) or inspect.isclass(value):
            if value.__module__ != "__main__":
                imports[name] = f"{value.__module__}.{value.__qualname__}"
                continue
            with contextlib.suppress(OSError, TypeError):
                lines.append(textwrap.dedent(inspect.getsource(value)))
        elif isinstance(value, str | int | float | tuple | None) and not name.startswith("_"):
            lines.append(f"{name} = {value!r}")
    module = Module("__main__", "\n".join(line for line in lines if _parses(line)))
    module.imports |= imports
    return module


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _module_of(target: Any) -> Module | None:
    name = target.__module__
    if name in ("builtins", None):
        return None
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        return _session() if name == "__main__" else None
    return read_module(name, Path(file))


class _Walk:
    """Follows references until nothing new comes."""

    def __init__(self) -> None:
        self._parts: dict[str, str] = {}
        self._libraries: set[str] = set()
        self._mentions: set[str] = set()
        self._classes: list[tuple[Module, str]] = []

    def visit(self, module: Module, name: str) -> None:
        """Take in a part of a module and all that it reaches."""
        waiting = [(module, name)]
        while waiting:
            waiting.extend(self._take(*waiting.pop()))
            if not waiting:
                waiting.extend(self._methods_mentioned())

    def _take(self, module: Module, name: str) -> Iterator[tuple[Module, str]]:
        label = f"{module.name}.{name}" if name else f"{module.name} on import"
        part = part_of(module, name)
        if part is None or label in self._parts or f"{module.name}.".startswith(f"{LEFT_OUT}."):
            return
        self._parts[label] = part.digest
        self._mentions |= part.mentions
        if module.name != "__main__":  # what a program does is no part of the stages in it
            yield module, ""
        if methods := methods_of(module, name):
            self._classes.append((module, name))
            if _called_from_outside(module, name):
                yield from ((module, f"{name}.{method.name}") for method in methods)
        for dotted in part.names:
            own = dotted[1:].partition(".")[0] if dotted.startswith(".") else ""
            if own in module.bound:
                yield module, own
            else:
                yield from self._follow(module.absolute(dotted))

    def _methods_mentioned(self) -> Iterator[tuple[Module, str]]:
        for module, owner in self._classes:
            for method in methods_of(module, owner):
                if method.name in self._mentions and f"{module.name}.{owner}.{method.name}" not in self._parts:
                    yield module, f"{owner}.{method.name}"

    def _follow(self, dotted: str) -> Iterator[tuple[Module, str]]:
        """The part that a dotted name stands for, by way of modules that only pass a name on."""
        top = dotted.partition(".")[0]
        if _folder(top) is None:
            if top not in sys.stdlib_module_names and not hasattr(builtins, top):
                self._libraries.add(top)
            return
        module, rest = _deepest(dotted)
        if module is not None and rest:
            if rest[0] in module.bound:
                yield module, rest[0]
            elif rest[0] in module.imports and module.imports[rest[0]] != dotted:
                yield from self._follow(".".join([module.imports[rest[0]], *rest[1:]]))

    def code(self) -> Code:
        """All that was reached, with the packaged files that are named on the way."""
        files = {path: digest for name in self._mentions for path, digest in _packaged().get(name, ())}
        versions = {name: version for name in sorted(self._libraries) if (version := _version(name))}
        return Code(parts=dict(sorted({**self._parts, **files}.items())), libraries=versions)


def _called_from_outside(module: Module, owner: str) -> bool:
    """Whether a class has a base, at any depth, from a library, which may call what the class adds."""
    classes = [node for node in module.bound.get(owner, ()) if isinstance(node, ast.ClassDef)]
    for base in (base for node in classes for base in node.bases):
        plain = base.value if isinstance(base, ast.Subscript) else base
        dotted = module.absolute(dotted_name(plain, Scope(module.package)) or "")
        if dotted.rpartition(".")[2] in PLAIN_BASES or hasattr(builtins, dotted):
            continue
        found, rest = _deepest(dotted)
        if found is None or not rest or _called_from_outside(found, rest[0]):
            return True
    return False


@cache
def _folder(top: str) -> Path | None:
    """Where a top-level module lies that is somebody's own code: neither Python's nor an installed library's."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or spec.origin in (None, "built-in", "frozen"):
        return None
    path = Path(str(spec.origin)).resolve()
    installed = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("stdlib")]
    if top != PACKAGE and any(path.is_relative_to(Path(folder).resolve()) for folder in installed):
        return None
    return path.parent if path.name == "__init__.py" else path


def _deepest(dotted: str) -> tuple[Module | None, tuple[str, ...]]:
    """The deepest module of somebody's own code that a dotted name begins with, and what is left of the name."""
    name, path, rest = _file_of(dotted)
    return (read_module(name, path) if path else None), rest


@cache
def _file_of(dotted: str) -> tuple[str, Path | None, tuple[str, ...]]:
    first, *names = dotted.split(".")
    place = _folder(first)
    if place is None or place.is_file():
        return first, place, tuple(names)
    used = [first]
    while names:
        if (place / names[0]).is_dir():
            place /= names[0]
        elif (file := place / f"{names[0]}.py").is_file():
            return ".".join([*used, names[0]]), file, tuple(names[1:])
        else:
            break
        used.append(names.pop(0))
    return ".".join(used), place / "__init__.py", tuple(names)


@cache
def _packaged() -> dict[str, list[tuple[str, str]]]:
    """Path and digest of each file in the package that is no code, by its name."""
    found: dict[str, list[tuple[str, str]]] = {}
    root = Path(__file__).parent.parent
    for path in root.rglob("*"):
        if path.suffix not in ("", ".py", ".pyc") and path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:DIGEST]
            found.setdefault(path.name, []).append((f"{PACKAGE}/{path.relative_to(root).as_posix()}", digest))
    return found


@cache
def _version(top: str) -> str | None:
    """The version of the distribution that a top-level module comes from; None where nothing says it."""
    try:
        return metadata.version(top)
    except metadata.PackageNotFoundError:
        return next((metadata.version(name) for name in _distributions().get(top, ())), None)


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()
