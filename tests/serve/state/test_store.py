"""What the store keeps, over SQLite and over a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from ayllu.serve.state.database import Database
from ayllu.serve.state.items import Item, Missing, Page
from ayllu.serve.state.migrations import migrate
from ayllu.serve.state.store import LOST, KeptResponse, Locked, Store

Opener = Callable[[], Database]


class Clock:
    """A time that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(opener: Opener, clock: Clock) -> Store:
    return opened(opener, clock)


def opened(opener: Opener, clock: Clock, **options: Any) -> Store:
    database = opener()
    migrate(database)
    return Store(database, now=clock, **options)


def item(name: str, text: str = "") -> Item:
    return {"id": name, "type": "message", "content": text or name}


def response(name: str, **fields: Any) -> KeptResponse:
    return KeptResponse(**{"id": name, "created": 1, "status": "in_progress", "body": {"id": name}, **fields})


def said(store: Store, name: str, **fields: Any) -> None:
    """A response of one item that answers one."""
    kept = response(name, **fields)
    given, answer = [item(f"{name}_in")], [item(f"{name}_out")]
    store.begin(kept, given, server="a")
    assert store.finish(replace(kept, status="completed"), answer, said=[*given, *answer] if kept.conversation else ())


def ids(items: list[Item]) -> list[str]:
    return [one["id"] for one in items]


def test_a_response_comes_back_as_it_was_kept(store: Store) -> None:
    kept = response("r", background=True, request={"model": "m"}, body={"text": "añu \0 🦙", "n": [1.5, None]})
    store.begin(kept, [item("i", "\0 and 🦙")], server="a")
    assert store.response("r") == (kept, [])
    done = replace(kept, status="completed", body={"text": "done"})
    assert store.finish(done, [item("o")], events=b"\0\xff")
    assert store.response("r") == (done, [item("o")])
    assert store.input_page("r", Page()) == ([item("i", "\0 and 🦙")], False)
    assert store.events("r") == b"\0\xff"
    assert store.item("o") == item("o")
    assert store.response("other") is store.events("other") is store.item("other") is None


def test_a_chain_says_all_that_was_said_and_names_a_missing_link(store: Store) -> None:
    said(store, "first")
    said(store, "second", previous="first")
    said(store, "other", previous="first")
    said(store, "third", previous="second")
    assert ids(store.context("third")) == [
        "first_in",
        "first_out",
        "second_in",
        "second_out",
        "third_in",
        "third_out",
    ]
    assert store.delete("second") and not store.delete("second")
    with pytest.raises(Missing, match="second"):
        store.context("third")
    assert ids(store.context("other")) == ["first_in", "first_out", "other_in", "other_out"]
    assert store.item("second_out") is store.item("second_in") is None


def test_a_response_in_a_conversation_remembers_how_far_that_had_come(store: Store) -> None:
    store.create_conversation("c", 5, {"topic": "x"}, [item("c1")])
    said(store, "r1", conversation="c", conversation_place=1)
    said(store, "r2", conversation="c", conversation_place=3)
    assert ids(store.context("r1")) == ["c1", "r1_in", "r1_out"]
    items, place = store.conversation_items("c")
    assert (ids(items), place) == (["c1", "r1_in", "r1_out", "r2_in", "r2_out"], 5)


def test_conversations_are_changed_listed_and_deleted(store: Store) -> None:
    store.create_conversation("c", 5, {}, [item(f"i{n}") for n in range(5)])
    store.add_items("c", [item("i5")])
    assert store.describe_conversation("c", {"a": "b"}) == store.conversation("c") == (5, {"a": "b"})
    assert store.conversation_page("c", Page(limit=2)) == ([item("i5"), item("i4")], True)
    assert store.conversation_page("c", Page(limit=4, after="i4")) == ([item(f"i{n}") for n in (3, 2, 1, 0)], False)
    assert ids(store.conversation_page("c", Page(after="i2", newest_first=False))[0]) == ["i3", "i4", "i5"]
    with pytest.raises(Missing):
        store.conversation_page("c", Page(after="nothing"))
    assert store.delete_item("c", "i3") and not store.delete_item("c", "i3")
    assert store.conversation_item("c", "i3") is None and store.conversation_item("c", "i4") == item("i4")
    store.add_items("c", [item("i6")])
    assert ids(store.conversation_items("c")[0]) == ["i0", "i1", "i2", "i4", "i5", "i6"]
    assert store.delete_conversation("c") and not store.delete_conversation("c")
    assert store.conversation("c") is store.describe_conversation("c", {}) is None
    for ask in (store.conversation_items, lambda name: store.add_items(name, [])):
        with pytest.raises(Missing):
            ask("c")


def test_a_conversation_is_used_by_one_response_at_a_time(store: Store, clock: Clock) -> None:
    store.create_conversation("c", 5, {}, [])
    store.begin(response("r1", conversation="c"), [], server="a")
    with pytest.raises(Locked):
        store.begin(response("r2", conversation="c"), [], server="b")
    with pytest.raises(Missing):
        store.begin(response("r3", conversation="none"), [], server="b")
    assert store.response("r2") is None
    clock.now += 100  # nobody has heard of server a since
    store.begin(response("r2", conversation="c"), [], server="b")


def test_a_cancelled_or_deleted_response_is_not_written_over(store: Store) -> None:
    kept = response("r")
    store.begin(kept, [], server="a")
    store.begin(response("d"), [], server="a")
    assert store.beat("a", ["r", "d"]) == set()
    assert store.cancel("r") == "in_progress" and store.delete("d")
    assert store.beat("a", ["r", "d"]) == {"r", "d"}
    assert not store.finish(replace(kept, status="completed"), [item("o")])
    found = store.response("r")
    assert found is not None and found[0].status == found[0].body["status"] == "cancelled" and found[1] == []
    assert store.cancel("r") == "cancelled" and store.cancel("none") is None


def test_what_a_dead_server_computed_is_taken_over_or_has_failed(opener: Opener, clock: Clock) -> None:
    first, second = opened(opener, clock), opened(opener, clock)
    store, late = response("shown"), response("late", background=True)
    first.begin(store, [], server="a")
    first.begin(late, [item("i")], server="a")
    assert second.adopt("b") == []
    clock.now += 20
    first.beat("a", [])
    clock.now += 20
    assert second.adopt("b") == []  # it has been heard of meanwhile
    clock.now += 20
    assert second.adopt("b") == [(late, [item("i")])]
    assert second.adopt("c") == []
    found = second.response("shown")
    assert found is not None and found[0].status == "failed" and found[0].body["error"] == LOST
    second.leave("b")
    assert [kept.id for kept, _ in first.adopt("c")] == ["late"]


def test_what_a_kept_response_stands_on_is_kept_as_long(opener: Opener, clock: Clock) -> None:
    store = opened(opener, clock, keep_seconds=100)
    said(store, "first")
    said(store, "alone")
    clock.now += 60
    said(store, "second", previous="first")
    clock.now += 50
    assert store.response("alone") is None
    with pytest.raises(Missing):
        store.context("alone")
    assert store.expire() == 1
    assert ids(store.context("second"))[0] == "first_in"
    clock.now += 60
    assert store.expire() == 2
    for_ever = opened(opener, clock, keep_seconds=None)
    said(for_ever, "x")
    clock.now += 1e9
    assert for_ever.expire() == 0 and for_ever.response("x") is not None


def test_threads_and_servers_add_to_one_conversation_without_a_loss(opener: Opener, clock: Clock) -> None:
    stores = [opened(opener, clock), opened(opener, clock)]
    stores[0].create_conversation("c", 1, {}, [])

    def add(number: int) -> None:
        for turn in range(10):
            stores[number % 2].add_items("c", [item(f"i{number}.{turn}.{part}") for part in "ab"])

    threads = [threading.Thread(target=add, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = ids(stores[1].conversation_items("c")[0])
    assert sorted(found) == sorted(f"i{n}.{turn}.{part}" for n in range(4) for turn in range(10) for part in "ab")
    assert all(found[n][:-1] == found[n + 1][:-1] for n in range(0, 80, 2))


def test_the_first_answers_of_a_server_begin_at_once(store: Store) -> None:
    """Each of them says that the server lives."""
    together = threading.Barrier(8)

    def begin(number: int, turn: int) -> int:
        together.wait(30)
        store.begin(response(f"r{turn}.{number}"), [], server=f"server {turn}")
        return number

    with ThreadPoolExecutor(8) as threads:
        for turn in range(10):
            assert list(threads.map(begin, range(8), [turn] * 8)) == list(range(8))


def test_nobody_is_told_of_what_belongs_to_another(store: Store) -> None:
    said(store, "r", owner="ana")
    store.create_conversation("c", 1, {}, [item("i")], owner="ana")
    assert store.response("r", owner="ben") is store.item("r_out", owner="ben") is store.item("i", owner="ben") is None
    assert store.conversation("c", owner="ben") is None
    with pytest.raises(Missing):
        store.context("r", owner="ben")
    with pytest.raises(Missing):
        store.conversation_items("c", owner="ben")
    assert ids(store.context("r", owner="ana")) == ["r_in", "r_out"]
    assert store.item("i", owner="ana") == item("i")
