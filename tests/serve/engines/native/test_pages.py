"""Pages: what is shared is the same beginning, what is promised is there, and nothing is lost."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ayllu.serve.engines.native.pages import PAGE, Held, PagePool

COUNT = 12


class Pages(RuleBasedStateMachine):
    """Sequences over two letters, so that beginnings meet often; `content` is what each page was last filled with."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(COUNT)
        self.live: list[tuple[Held, list[int], int]] = []
        self.content: dict[int, tuple[int, ...]] = {}

    @rule(
        blocks=st.lists(st.integers(0, 1), min_size=1, max_size=4), rest=st.integers(1, PAGE), more=st.integers(0, 60)
    )
    def begin(self, blocks: list[int], rest: int, more: int) -> None:
        ids = [letter for letter in blocks for _ in range(PAGE)][: (len(blocks) - 1) * PAGE + rest]
        before = self.pool.available
        held = self.pool.begin(ids, len(ids) + more)
        if held is None:
            assert self.pool.available == before
            assert before < -(-(len(ids) + more) // PAGE)
            return
        for number, page in enumerate(held.pages):
            assert self.content[page] == tuple(ids[: (number + 1) * PAGE]), "a shared page holds just this beginning"
        assert len(held.pages) * PAGE < len(ids), "somebody has to compute what follows"
        self.live.append((held, ids, len(ids) + more))

    @rule(which=st.integers(0, 9), by=st.integers(1, 80))
    def grow(self, which: int, by: int) -> None:
        if not self.live:
            return
        held, ids, most = self.live[which % len(self.live)]
        had = len(held.pages)
        ids += [2 + which] * max(0, min(by, most - len(ids)))
        self.pool.grow(held, len(ids))
        for number in range(had, len(held.pages)):
            others = [page for other, _, _ in self.live if other is not held for page in other.pages]
            assert held.pages[number] not in others, "a fresh page is nobody else's"
        for number, page in enumerate(held.pages):
            self.content[page] = tuple(ids[: (number + 1) * PAGE])
        self.pool.learn(held, ids)

    @rule(which=st.integers(0, 9))
    def end(self, which: int) -> None:
        if self.live:
            held, _, _ = self.live.pop(which % len(self.live))
            self.pool.end(held)

    @invariant()
    def nothing_is_lost(self) -> None:
        used = {page for held, _, _ in self.live for page in held.pages}
        promised = sum(held.reserved for held, _, _ in self.live)
        assert self.pool.available == COUNT - len(used) - promised >= 0


Pages.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestPages = Pages.TestCase


def test_an_equal_beginning_is_found_and_the_least_used_goes_first() -> None:
    pool = PagePool(4)
    ids = list(range(2 * PAGE + 1))
    first = pool.begin(ids, len(ids))
    assert first is not None
    pool.grow(first, len(ids))
    pool.learn(first, ids)
    pages = first.pages
    pool.end(first)
    again = pool.begin(ids, len(ids))
    assert again is not None and again.pages == pages[:2]
    pool.end(again)
    other = pool.begin([7] * 3 * PAGE, 3 * PAGE)
    assert other is not None
    pool.grow(other, 3 * PAGE)
    pool.end(other)
    # Room was made at the end of the old beginning: its first page is still there.
    half = pool.begin(ids, len(ids))
    assert half is not None and half.pages == pages[:1]
