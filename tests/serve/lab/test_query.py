"""Which rows the table shows: words, conditions, facets, order and pages, over a store of many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ayllu.lab.error import UserError
from ayllu.lab.shelf.index import Entry, entries
from ayllu.lab.store import Store
from ayllu.serve.lab.query import PAGE, answer, read_query
from support.shelf import many, put

COUNT = 300


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    return entries(many(Path(tmp_path_factory.mktemp("many")), COUNT))


def ask(rows: list[Entry], **asked: str) -> dict[str, Any]:
    return answer(read_query(asked), rows)


def test_pages_are_whole_and_do_not_overlap(rows: list[Entry]) -> None:
    pages = [ask(rows, **{"from": str(first)}) for first in range(0, COUNT, PAGE)]
    keys = [row["key"] for page in pages for row in page["rows"]]
    assert len(keys) == len(set(keys)) == COUNT == pages[0]["total"]
    assert keys == [row.key for row in rows]


def test_a_page_beyond_the_end_is_the_last(rows: list[Entry]) -> None:
    last = ask(rows, **{"from": "999999"})
    assert last["from"] == COUNT - PAGE and len(last["rows"]) == PAGE


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("seed<10", 10 * 2),
        ("seed<10 seed!=3", 9 * 2),
        ("lr=0.001 seed>=140", 10),
        ("lr=1e-3 seed>=140", 10),
        ("evaluate seed=7", 1),
        ("PRETRAIN", COUNT // 2),
        ("loss<3.6", 29),
        ("bits_per_byte:books<1.2", 58),
        ("nothing-is-called-this", 0),
        ("seed<many", 0),
    ],
)
def test_words_and_conditions(rows: list[Entry], words: str, expected: int) -> None:
    assert ask(rows, q=words)["matching"] == expected


def test_figures_order_as_figures_and_rows_without_one_come_last(rows: list[Entry]) -> None:
    up = ask(rows, sort="loss", dir="up", cols="loss")["rows"]
    values = [row["more"]["loss"] for row in up]
    assert values == sorted(values) and None not in values
    down = ask(rows, sort="loss", cols="loss", **{"from": "200"})["rows"]
    assert all(row["more"]["loss"] is None for row in down)


def test_facets_count_what_choosing_them_would_show(rows: list[Entry]) -> None:
    found = ask(rows, kind="model", q="seed<10")
    assert found["matching"] == 10
    assert dict(map(tuple, found["facets"]["kind"])) == {"model": 10, "scores": 10}
    assert dict(map(tuple, found["facets"]["stage"])) == {"pretrain": 10}
    both = ask(rows, kind="model,scores")
    assert both["matching"] == COUNT


@pytest.mark.parametrize(
    "asked",
    [
        {"colour": "red"},
        {"from": "-1"},
        {"from": "x"},
        {"dir": "left"},
        {"sort": "beauty"},
        {"cols": ",".join("abcdefghijklmn")},
    ],
)
def test_what_is_not_known_is_refused(rows: list[Entry], asked: dict[str, str]) -> None:
    with pytest.raises(UserError):
        ask(rows, **asked)


def test_a_figure_that_is_no_number_is_never_the_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    losses = (2.0, float("nan"), 1.0, 3.0, float("nan"), 0.5)
    for number, loss in enumerate(losses):
        put(store, "pretrain", number, record={"loss": loss}, arguments={"seed": number})
    found = entries(store)
    for way in ("up", "down"):
        order = [losses[row["more"]["seed"]] for row in ask(found, sort="loss", dir=way, cols="seed")["rows"]]
        assert order[:4] == sorted([0.5, 1.0, 2.0, 3.0], reverse=way == "down") and order[4] != order[4]
