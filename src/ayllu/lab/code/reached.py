"""Which code made a result: everything that a stage reaches, function by function, read and never run.

A stage's own body is thin wiring, so its text says little about what it does. From the body the names are followed
through imports (also those inside functions), module by module, to the functions, classes, constants and data files
that they stand for, and on from there. Of a class the methods count whose names are mentioned somewhere on the way (all
of them where a library may call them: the class has a base from outside). What cannot be told this way, such as a name
that is put together when the program runs, is not followed; a stage declares such code in `reaches`.

The lab itself does not count: it keeps results and makes none.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ayllu.lab.code.roots import symbols_of
from ayllu.lab.code.syntax import (
    DIGEST,
    Definition,
    Module,
    Part,
    Scope,
    dotted_names,
    methods_of,
    part_of,
    read_module,
)

PACKAGE = "ayllu"
LEFT_OUT = "ayllu.lab"
PLAIN_BASES = {"object", "Protocol", "Generic", "Exception", "TypedDict", "ABC"}
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
        """Names of what differs from `before`: changed, new or gone.

        A part that was moved or renamed is none of them: its old name is gone and its new one was not there.
        """
        differ = {name for name in {*self.parts, *before.parts} if self.parts.get(name) != before.parts.get(name)}
        gone = sorted(differ - self.parts.keys())
        for name in sorted(differ - before.parts.keys()):
            old = next((other for other in gone if before.parts[other] == self.parts[name]), None)
            if old is not None:
                gone.remove(old)
                differ -= {old, name}
        versions = [
            f"{name} {before.libraries.get(name, 'unused')} → {self.libraries.get(name, 'unused')}"
            for name in sorted({*self.libraries, *before.libraries})
            if self.libraries.get(name) != before.libraries.get(name)
        ]
        return sorted(differ) + versions


def reached(*roots: object) -> Code:
    """The code that functions, classes and classes of values reach. What cannot be read is left out."""
    found = [symbol for root in roots for symbol in symbols_of(root)]
    walk = _Walk({module.name.partition(".")[0] for module, _ in found})
    walk.visit(found)
    return walk.code()


class _Walk:
    """Follows references until nothing new comes."""

    def __init__(self, own: set[str]) -> None:
        self._own = own
        """Packages whose code counts although they are installed: those of the stages themselves."""
        self._parts: dict[str, str] = {}
        self._libraries: set[str] = set()
        self._mentions: set[str] = set()
        self._classes: list[tuple[Module, str]] = []
        self._session: Module | None = None
        self._imported: set[str] = set()

    def visit(self, roots: list[tuple[Module, str]]) -> None:
        """Take in parts of modules and all that they reach."""
        waiting = list(roots)
        self._session = next((module for module, _ in roots if module.name == "__main__"), None)
        while waiting:
            waiting.extend(self._take(*waiting.pop()))
            if not waiting:
                waiting.extend(self._methods_mentioned())

    def _take(self, module: Module, name: str) -> Iterator[tuple[Module, str]]:
        label = f"{module.name}.{name}" if name else f"{module.name} on import"
        if label in self._parts or f"{module.name}.".startswith(f"{LEFT_OUT}."):
            return
        part = part_of(module, name)
        if name:
            yield from self._on_import(module)
        if part is None:
            return
        self._parts[label] = hashlib.sha256(f"{part.digest}{self._meanings(module, part)}".encode()).hexdigest()[
            :DIGEST
        ]
        self._mentions |= part.mentions
        self._parts |= _files_beside(module, part.mentions)
        if methods := methods_of(module, name):
            self._classes.append((module, name))
            if self._called_from_outside(module, name):
                yield from ((module, f"{name}.{method.name}") for method in methods)
        for _, target in part.names:
            for dotted in module.absolute(target):
                yield from self._follow(dotted)

    def _on_import(self, module: Module) -> Iterator[tuple[Module, str]]:
        """What runs when the module is imported, and what its decorators may enter into a table."""
        # What a program does is no part of the stages in it.
        if module.name in self._imported or (module.name == "__main__" and module.path is not None):
            return
        self._imported.add(module.name)
        yield module, ""
        for name, nodes in module.bound.items():
            if any(_registers(module, node) for node in nodes):
                yield module, name
        for target in [*module.stars, *(target for targets in module.imports.values() for target in targets)]:
            found, rest = self._deepest(target)
            if found is not None and not rest and found is not module:
                yield found, ""

    def _meanings(self, module: Module, part: Part) -> str:
        """What names stand for where the code does not say it itself: another library's, or by another name."""
        lines = []
        for spelled, target in part.names:
            for dotted in module.absolute(target):
                own = self._folder(dotted.partition(".")[0]) is not None or dotted.startswith(f"{module.name}.")
                # Of own code its file does not count: what is moved has not changed.
                meant = ".".join(dotted.split(".")[-len(spelled.split(".")) :]) if own else dotted
                if meant != spelled and not hasattr(builtins, dotted):
                    lines.append(f"\n{spelled} is {meant}")
        return "".join(sorted(lines))

    def _methods_mentioned(self) -> Iterator[tuple[Module, str]]:
        for module, owner in self._classes:
            for method in methods_of(module, owner):
                if method.name in self._mentions and f"{module.name}.{owner}.{method.name}" not in self._parts:
                    yield module, f"{owner}.{method.name}"

    def _follow(self, dotted: str, passed: frozenset[str] = frozenset()) -> Iterator[tuple[Module, str]]:
        """The parts that a dotted name stands for, by way of modules that only pass a name on."""
        top = dotted.partition(".")[0]
        if self._folder(top) is None and not (self._session and top == self._session.name):
            if top and top not in sys.stdlib_module_names and not hasattr(builtins, top):
                self._libraries.add(top)
            return
        module, rest = self._deepest(dotted)
        if module is None or dotted in passed:
            return
        if not rest:  # a module that is handed on as a value: anything may be asked of it
            yield from ((module, name) for name in module.bound if not module.name.startswith(LEFT_OUT))
            return
        if rest[0] in module.bound:
            yield module, rest[0]
        targets = [*module.imports.get(rest[0], ())]
        if rest[0] not in module.bound and rest[0] not in module.imports:
            targets = [f"{star}.{rest[0]}" for star in module.stars]
            if "__getattr__" in module.bound:
                yield module, "__getattr__"
        for target in targets:
            yield from self._on_import(module)
            yield from self._follow(".".join([target, *rest[1:]]), passed | {dotted})

    def _called_from_outside(self, module: Module, owner: str, passed: frozenset[str] = frozenset()) -> bool:
        """Whether a class has a base, at any depth, from a library, which may call what the class adds."""
        classes = [node for node in module.bound.get(owner, ()) if isinstance(node, ast.ClassDef)]
        for base in (base for node in classes for base in node.bases):
            plain = base.value if isinstance(base, ast.Subscript) else base
            targets = [name for _, target in dotted_names(plain, Scope("")) for name in module.absolute(target)]
            for dotted in targets or [""]:
                if dotted.rpartition(".")[2] in PLAIN_BASES or hasattr(builtins, dotted) or dotted in passed:
                    continue
                found, rest = self._deepest(dotted)
                if found is None or not rest or self._called_from_outside(found, rest[0], passed | {dotted}):
                    return True
        return False

    def _folder(self, top: str) -> Path | None:
        """Where a top-level module lies that is somebody's own code: neither Python's nor another's library."""
        place, installed = _location(top)
        return None if installed and top not in self._own and top != PACKAGE else place

    def _deepest(self, dotted: str) -> tuple[Module | None, tuple[str, ...]]:
        """The deepest module of somebody's own code that a dotted name begins with, and what is left of the name."""
        first, _, rest_of_name = dotted.partition(".")
        if self._session is not None and first == self._session.name:
            return self._session, tuple(rest_of_name.split("."))
        place = self._folder(first)
        if place is None:
            return None, ()
        name, path, rest = _file_of(place, dotted)
        return read_module(name, path), rest

    def code(self) -> Code:
        """All that was reached, with the packaged files that are named on the way."""
        files = {path: digest for name in self._mentions for path, digest in _packaged().get(name, ())}
        versions = {name: version for name in sorted(self._libraries) if (version := _version(name))}
        return Code(parts=dict(sorted({**self._parts, **files}.items())), libraries=versions)


def _registers(module: Module, node: ast.stmt) -> bool:
    """Whether a decorator of the module's own code may enter a definition into a table that others look into.

    The tables of `ayllu.lab.plugins` are left out: they are looked into by a name, and a stage says by which.
    """
    if not isinstance(node, Definition):
        return False
    for decorator in node.decorator_list:
        root: ast.expr = decorator.func if isinstance(decorator, ast.Call) else decorator
        while isinstance(root, ast.Attribute):
            root = root.value
        name = root.id if isinstance(root, ast.Name) else ""
        if any("Registry" in ast.unparse(item) for item in module.bound.get(name, ())):
            continue
        if name in module.bound:
            return True
    return False


def _files_beside(module: Module, mentions: frozenset[str]) -> dict[str, str]:
    """Digests of files beside a module that its texts name: data of somebody's own package."""
    if module.path is None or module.name.startswith(f"{PACKAGE}."):
        return {}
    found = {}
    for name in mentions:
        if "." in name and len(name) < 100 and "\0" not in name and not name.endswith(".py"):
            path = module.path.parent / name
            if path.is_file():
                label = f"{module.package or module.name}/{name}"
                found[label] = hashlib.sha256(path.read_bytes()).hexdigest()[:DIGEST]
    return found


@cache
def _location(top: str) -> tuple[Path | None, bool]:
    """The folder or file of a top-level module, and whether it is installed; None for what belongs to Python."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None, False
    if spec is None or spec.origin in ("built-in", "frozen") or top in sys.stdlib_module_names:
        return None, False
    folders = list(spec.submodule_search_locations or ())
    if spec.origin is None and not folders:
        return None, False
    path = Path(str(spec.origin or Path(folders[0]) / "__init__.py")).resolve()
    installed = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("stdlib")]
    place = path.parent if path.name == "__init__.py" else path
    return place, any(path.is_relative_to(Path(folder).resolve()) for folder in installed)


@cache
def _file_of(place: Path, dotted: str) -> tuple[str, Path, tuple[str, ...]]:
    """Name and file of the deepest module at or below `place` that a dotted name begins with, and the rest of it."""
    first, *names = dotted.split(".")
    if place.is_file():
        return first, place, tuple(names)
    used = [first]
    while names:
        if (place / names[0] / "__init__.py").is_file():
            place /= names[0]
        elif (file := place / f"{names[0]}.py").is_file():
            return ".".join([*used, names[0]]), file, tuple(names[1:])
        elif (place / names[0]).is_dir():
            place /= names[0]
        else:
            break
        used.append(names.pop(0))
    return ".".join(used), place / "__init__.py", tuple(names)


@cache
def _packaged() -> dict[str, list[tuple[str, str]]]:
    """Path and digest of each file in the package that is no code, by its name."""
    found: dict[str, list[tuple[str, str]]] = {}
    root = Path(__file__).parents[2]
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
