"""Things that others can add without editing a table of ours: by a decorator, or an installed package's entry point."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from functools import lru_cache
from importlib import metadata
from typing import Generic, TypeVar

from ayllu.lab.error import UserError

T = TypeVar("T")


@lru_cache(maxsize=64)
def _entry_points(group: str, second: int) -> tuple[metadata.EntryPoint, ...]:
    """What installed packages bring, read once in a second: to read them takes milliseconds for each package."""
    return tuple(metadata.entry_points(group=group))


def _place(entry: metadata.EntryPoint) -> str:
    return f"{entry.value} of the package {entry.dist.name}" if entry.dist else entry.value


class Registry(Generic[T]):
    """Things of one kind by name. Nobody's module is imported before its name is asked for."""

    def __init__(self, kind: str, group: str, *, taken: Collection[str] = ()) -> None:
        """`kind` is what errors call such a thing; `group` is the entry-point group of packages that bring some.

        `taken` are names that stand for something else already.
        """
        self.kind, self.group, self._taken = kind, group, frozenset(taken)
        self._added: dict[str, T] = {}
        self._added_by: dict[str, str] = {}

    def add(self, name: str) -> Callable[[T], T]:
        """A decorator that adds a thing under `name`. Raises UserError where another module has added one."""
        module = sys._getframe(1).f_globals.get("__name__", "")

        def wrap(thing: T) -> T:
            # The module that added a name may do so again, as when a notebook's cell is run twice.
            # A package may give a name by both, its entry point and the decorator at what that points to.
            if theirs := [entry for entry in self._installed().get(name, []) if entry.module != module]:
                raise UserError(
                    f"{_place(theirs[0])} brings a {self.kind} {name!r}, and so does {module}; remove one of them, or "
                    "give it another name"
                )
            if name in self._taken or self._added_by.setdefault(name, module) != module:
                raise UserError(f"there is a {self.kind} {name!r} already; choose another name")
            self._added[name] = thing
            return thing

        return wrap

    def names(self) -> list[str]:
        """All names, own ones first."""
        return list(dict.fromkeys([*self._added, *self._installed()]))

    def find(self, name: str) -> T:
        """The thing called `name`. Raises UserError where there is none, or it cannot be loaded."""
        if name in self._added:
            return self._added[name]
        entries = self._installed().get(name, [])
        if not entries:
            raise UserError(f"there is no {self.kind} {name!r}; choose one of {', '.join(self.names())}")
        if len(entries) > 1:
            places = " and ".join(entry.value for entry in entries)
            raise UserError(f"two packages bring the {self.kind} {name!r} ({places}); remove one of them")
        (entry,) = entries
        try:
            found: T = entry.load()
        except Exception as error:
            raise UserError(f"the {self.kind} {name!r} cannot be loaded from {_place(entry)}: {error}") from error
        return found

    def _installed(self) -> dict[str, list[metadata.EntryPoint]]:
        """Entry points by name; those under a name of ours are left out, and `find` never loads them."""
        found: dict[str, list[metadata.EntryPoint]] = {}
        for entry in _entry_points(self.group, int(time.monotonic())):
            if entry.name not in self._taken and entry.name not in self._added_by:
                found.setdefault(entry.name, []).append(entry)
        return found
