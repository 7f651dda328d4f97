"""Which code made a result: everything that a stage reaches, function by function, read and never run.

A stage's own body is thin wiring, so its text says little about what it does. From the body the names are followed
through imports (also those inside functions), module by module, to the functions, classes, constants and data files
that they stand for, and on from there. Of a class the methods count whose names are mentioned somewhere on the way
(all of them where a library may call them: the class has a base from outside). What a module does when it is imported
counts, and so does what it enters into a table by then. Beside the digest of each part stands one of what the names in
it stand for, so that an import of something else is told where both were reached before. What cannot be told this way,
such as a name that is put together when the program runs or a method that only a library calls, is not followed; a
stage declares such code in `reaches`.

The lab itself does not count: it keeps results and makes none.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib.util
import re
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ayllu.lab.code.files import PACKAGE, files_near, packaged
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
    root_of,
    used_by_body,
)

MEANT = 8
"""Hexadecimal digits kept of what the names in a part stand for, beside the digest of the part."""
NAME = re.compile(r"\w+(\.\w+)*")
LEFT_OUT = "ayllu.lab"
Place = tuple[Module | None, str]
"""A top-level name, method or "" (what runs on import) of a module; of no module: a library's name in full."""
PLAIN_BASES = {"object", "Protocol", "Generic", "Exception", "TypedDict", "ABC"}
"""Bases from outside whose code calls no method that the class adds."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """What a stage reaches."""

    parts: Mapping[str, str]
    """Digest of each function, class, method, constant or file by its name, `package.module.name`."""
    libraries: Mapping[str, str]
    """Version of each library that is imported on the way."""
    meant: Mapping[str, str] | None = None
    """Digest of what the names in each part stand for, where they stand for something; None in older records."""

    @property
    def digest(self) -> str:
        """One digest for all of it."""
        lines = [f"{name} {value}" for name, value in sorted({**self.parts, **self.libraries}.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """As a manifest keeps it."""
        meant = {"meant": dict(self.meant)} if self.meant is not None else {}
        return {"digest": self.digest, "parts": dict(self.parts), "libraries": dict(self.libraries), **meant}

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Code:
        """What `as_json` gave."""
        return cls(parts=value["parts"], libraries=value["libraries"], meant=value.get("meant"))

    def changed(self, before: Code) -> list[str]:
        """Names of what differs from `before`: changed, new or gone.

        A part that was moved or renamed is none of them: its old name is gone and its new one was not there. Where no
        part differs, a name in one may stand for another of them now.
        """
        differ = {name for name in {*self.parts, *before.parts} if self.parts.get(name) != before.parts.get(name)}
        if not differ and self.meant is not None and before.meant is not None:
            differ = {name for name in self.parts if self.meant.get(name) != before.meant.get(name)}
            return sorted(differ) + self._versions(before)
        gone = sorted(differ - self.parts.keys())
        for name in sorted(differ - before.parts.keys()):
            old = next((other for other in gone if before.parts[other] == self.parts[name]), None)
            if old is not None:
                gone.remove(old)
                differ -= {old, name}
        if before.meant is None:
            # Records from before names' meanings were kept saw less: what is merely new to them has not changed.
            differ &= before.parts.keys()
        return sorted(differ) + self._versions(before)

    def _versions(self, before: Code) -> list[str]:
        return [
            f"{name} {before.libraries.get(name, 'unused')} → {self.libraries.get(name, 'unused')}"
            for name in sorted({*self.libraries, *before.libraries} if before.meant is not None else before.libraries)
            if self.libraries.get(name) != before.libraries.get(name)
        ]


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
        self._imported: dict[str, Module] = {}
        self._folders: dict[Path, str] = {}
        """Folders of modules of others on the way, which may have files beside them, and what to call each."""
        self._meant: dict[str, list[tuple[str, list[str]]]] = {}
        """What each name in a part stands for."""

    def visit(self, roots: list[tuple[Module, str]]) -> None:
        """Take in parts of modules and all that they reach."""
        waiting = list(roots)
        self._session = next((module for module, _ in roots if module.name == "__main__"), None)
        while waiting:
            waiting.extend(self._take(*waiting.pop()))
            if not waiting:
                waiting.extend(self._methods_mentioned())
            if not waiting:
                waiting.extend(self._subclasses())

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
        if module.path is not None and not f"{module.name}.".startswith(f"{PACKAGE}."):
            self._folders[module.path.parent] = module.package or module.name
        if methods := methods_of(module, name):
            self._classes.append((module, name))
            self._mentions |= used_by_body(module, name)
            if self._called_from_outside(module, name):
                yield from ((module, f"{name}.{method.name}") for method in methods)
        lines = []
        for spelled, target in part.names:
            places = [place for dotted in module.absolute(target) for place in self._follow(dotted)]
            yield from ((found, rest) for found, rest in places if found is not None)
            lines.append((spelled, [_label(found, rest) for found, rest in places]))
        self._meant[label] = sorted(lines)
        for target in part.loads:
            yield from self._load(target)

    def _load(self, target: str) -> Iterator[tuple[Module, str]]:
        """What runs when a module is imported: the packages around it first."""
        names = target.split(".")
        for count in range(1, len(names) + 1):
            module, rest = self._deepest(".".join(names[:count]))
            if module is not None and not rest:
                yield from self._on_import(module)

    def _on_import(self, module: Module) -> Iterator[tuple[Module, str]]:
        """What runs when the module is imported, and what it may enter into a table on the way."""
        # What a program does is no part of the stages in it.
        if module.name in self._imported:
            return
        self._imported[module.name] = module
        if module.name != "__main__" or module.path is None:
            yield module, ""
        for name, nodes in module.bound.items():
            if any(self._registers(module, node) for node in nodes):
                yield module, name
        if f"{module.name}.".startswith(f"{PACKAGE}."):  # tables of ours are Registries, or filled where they stand
            for target in [*module.stars, *(target for targets in module.imports.values() for target in targets)]:
                found, rest = self._deepest(target)
                if found is not None and not rest and found is not module:
                    yield found, ""
            return
        for target in [module.name, *module.loads]:
            yield from self._load(target)

    def _registers(self, module: Module, node: ast.stmt) -> bool:
        """Whether a definition may be entered into a table that others look into, by code that is somebody's own.

        The tables of `ayllu.lab.plugins` are left out: they are looked into by a name, and a stage says by which.
        """
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):  # _ = add("name")(function)
            given = [module.bound.get(item.id, ()) for item in node.value.args if isinstance(item, ast.Name)]
            handed = any(isinstance(found, Definition) for nodes in given for found in nodes)
            return handed and self._is_own(module, root_of(node.value.func))
        if isinstance(node, ast.ClassDef) and self._told_of_subclasses(module, node):
            return True
        return isinstance(node, Definition) and any(
            self._is_own(module, root_of(decorator)) for decorator in node.decorator_list
        )

    def _is_own(self, module: Module, name: str) -> bool:
        """Whether a name that is called stands for somebody's own code, and no table of `ayllu.lab.plugins`."""
        if not name or (name not in module.bound and f"{module.name}.".startswith(f"{PACKAGE}.")):
            return False
        places = [place for dotted in module.absolute(f".{name}") for place in self._follow(dotted, notes=False)]
        return any(
            found is not None
            and not f"{found.name}.".startswith(f"{LEFT_OUT}.")
            and not any("Registry" in ast.unparse(item) for item in found.bound.get(rest, ()))
            for found, rest in places
        )

    def _told_of_subclasses(self, module: Module, node: ast.ClassDef) -> bool:
        """Whether a base of a class, at any depth, or a class of its classes is told of each that is made."""
        return any(
            "__init_subclass__" in {item.name for item in parent.body if isinstance(item, Definition)}
            or parent.keywords
            for _, parent in self._bases(module, node)
        )

    def _bases(self, module: Module, node: ast.ClassDef) -> Iterator[tuple[Module, ast.ClassDef]]:
        """Bases of a class, at any depth, that are somebody's own code."""
        waiting, seen = [(module, node)], {id(node)}
        while waiting:
            here, child = waiting.pop()
            plain = [item.value if isinstance(item, ast.Subscript) else item for item in child.bases]
            names = [target for base in plain for _, target in dotted_names(base, Scope(""))]
            for dotted in (name for target in names for name in here.absolute(target)):
                for found, rest in self._follow(dotted, notes=False):
                    for parent in found.bound.get(rest, ()) if found else ():
                        if found and isinstance(parent, ast.ClassDef) and id(parent) not in seen:
                            seen.add(id(parent))
                            waiting.append((found, parent))
                            yield found, parent

    def _subclasses(self) -> Iterator[tuple[Module, str]]:
        """Classes that a base on the way may ask for by `__subclasses__()`."""
        for module in list(self._imported.values()) if "__subclasses__" in self._mentions else ():
            for name, nodes in module.bound.items():
                for node in nodes:
                    if f"{module.name}.{name}" not in self._parts and isinstance(node, ast.ClassDef):
                        bases = (f"{found.name}.{parent.name}" for found, parent in self._bases(module, node))
                        if any(base in self._parts for base in bases):
                            yield module, name

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

    def _follow(self, dotted: str, passed: frozenset[str] = frozenset(), *, notes: bool = True) -> Iterator[Place]:
        """The parts that a dotted name stands for, by way of modules that only pass a name on."""
        top = dotted.partition(".")[0]
        if self._folder(top) is None and not (self._session and top == self._session.name):
            if notes and top and top not in sys.stdlib_module_names and not hasattr(builtins, top):
                self._libraries.add(top)
            yield None, dotted
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
                targets += [f"{place}.{rest[0]}" for place in self._named_modules(module)]
        for target in targets:
            yield from self._follow(".".join([target, *rest[1:]]), passed | {dotted}, notes=notes)

    def _named_modules(self, module: Module) -> list[str]:
        """Modules that the texts of one name, as in a table from which its `__getattr__` imports."""
        nodes = [node for found in module.bound.values() for node in found]
        texts = {item.value for node in nodes for item in ast.walk(node) if isinstance(item, ast.Constant)}
        names = [f"{module.package}{text}" if text.startswith(".") else text for text in texts if isinstance(text, str)]
        own = [name for name in names if NAME.fullmatch(name) and self._folder(name.partition(".")[0]) is not None]
        return sorted(name for name in own if not self._deepest(name)[1])

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
        files = {**packaged(self._mentions), **files_near(self._folders, self._mentions)}
        versions = {name: version for name in sorted(self._libraries) if (version := _version(name))}
        parts = dict(sorted({**self._parts, **files}.items()))
        meant = {name: digest for name in parts if (digest := self._meaning(name))}
        return Code(parts=parts, libraries=versions, meant=meant)

    def _meaning(self, label: str) -> str:
        """One digest for what the names in a part stand for: by what is there, for what is moved has not changed."""
        lines = [
            f"{name} {[self._parts.get(place, place) for place in places]}"
            for name, places in self._meant.get(label, ())
        ]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:MEANT] if lines else ""


def _label(module: Module | None, name: str) -> str:
    """What stands for a place in a digest of meanings: of the lab, whose code does not count, the name alone."""
    return f"{module.name}.{name}" if module and not f"{module.name}.".startswith(f"{LEFT_OUT}.") else name


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
def _version(top: str) -> str | None:
    """The version of the distribution that a top-level module comes from; None where nothing says it."""
    try:
        return metadata.version(top)
    except metadata.PackageNotFoundError:
        return next((metadata.version(name) for name in _distributions().get(top, ())), None)


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()
