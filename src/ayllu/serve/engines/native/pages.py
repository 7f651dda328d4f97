"""Which pages of keys and values hold what: free ones, those of answers under way, beginnings that others may share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

PAGE = 32
"""Positions of a page, as in attention.h."""
_START = 0
"""Serial number before the first page of a sequence without an adapter; with adapter n it is -1 - n."""

Key = tuple[int, tuple[int, ...]]
"""Serial number of the page before, and a page's ids: what tells a beginning from all others."""


@dataclass(kw_only=True)
class Held:
    """The pages of one sequence."""

    pages: list[int] = field(default_factory=list)
    serial: int = _START
    """Serial number of the last of its pages that is full and known by its content."""
    known: int = 0
    """How many are, from the first on."""
    reserved: int = 0
    """How many it has yet to take of those promised to it."""


class PagePool:
    """`count` pages. A full page is known by all ids up to its end, and kept while nobody needs its room."""

    def __init__(self, count: int) -> None:
        self._free = list(range(count))[::-1]
        self._users: dict[int, int] = {}
        self._known: dict[Key, tuple[int, int]] = {}
        """Page and serial number."""
        self._key_of: dict[int, Key] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        """Known pages that nobody uses, the one to go first at the front."""
        self._promised = 0
        self._serial = _START

    @property
    def available(self) -> int:
        """Pages that are free or could be, less those promised."""
        return len(self._free) + len(self._idle) - self._promised

    def begin(self, ids: Sequence[int], most: int, *, shared: bool = True, adapter: int = -1) -> Held | None:
        """Room for a sequence that begins with `ids` and grows to at most `most`; None while there is not enough.

        Its first pages are those that hold the same beginning already, computed with the same adapter, where that may
        be `shared`. The last of `ids` is never among them: somebody has to compute what follows it.
        """
        found, serial = [], _START - 1 - adapter
        for start in range(0, (len(ids) - 1) // PAGE * PAGE if shared else 0, PAGE):
            key = (serial, tuple(ids[start : start + PAGE]))
            if key not in self._known:
                break
            page, serial = self._known[key]
            found.append(page)
        needed = -(-most // PAGE) - len(found)
        waking = sum(page in self._idle for page in found)
        if needed > self.available - waking:
            return None
        for page in found:
            self._idle.pop(page, None)
            self._users[page] = self._users.get(page, 0) + 1
        self._promised += needed
        return Held(pages=found, serial=serial, known=len(found), reserved=needed)

    def grow(self, held: Held, positions: int) -> None:
        """Give `held` pages for so many positions, out of what it was promised."""
        while len(held.pages) * PAGE < positions:
            page = self._free.pop() if self._free else self._evict()
            self._users[page] = 1
            held.pages.append(page)
            held.reserved -= 1
            self._promised -= 1

    def learn(self, held: Held, ids: Sequence[int]) -> None:
        """Make the full pages known by their content; `ids` are those whose keys and values are computed."""
        while (held.known + 1) * PAGE <= len(ids):
            start = held.known * PAGE
            key = (held.serial, tuple(ids[start : start + PAGE]))
            if key in self._known:
                # Somebody else computed the same meanwhile; what follows is known behind their page.
                held.serial = self._known[key][1]
            else:
                self._serial += 1
                page = held.pages[held.known]
                self._known[key] = (page, self._serial)
                self._key_of[page] = key
                held.serial = self._serial
            held.known += 1

    def end(self, held: Held) -> None:
        """Give back what `held` has; the last pages of a beginning go before its first ones."""
        self._promised -= held.reserved
        for page in reversed(held.pages):
            self._users[page] -= 1
            if self._users[page]:
                continue
            del self._users[page]
            if page in self._key_of:
                self._idle[page] = None
            else:
                self._free.append(page)

    def _evict(self) -> int:
        page, _ = self._idle.popitem(last=False)
        del self._known[self._key_of.pop(page)]
        return page
