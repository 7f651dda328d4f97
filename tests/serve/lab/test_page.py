"""The lab's page in a real browser: what it shows, and what the address keeps."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ayllu.lab.shelf import storage
from ayllu.lab.shelf.find import find
from ayllu.lab.shelf.index import entries
from ayllu.lab.store import Store
from ayllu.serve.lab.app import PAGE
from support.lab import Lab, course, going_on, showing, small_lab
from support.shelf import put

ROWS = "#runs tbody tr"


def until(page: Any, condition: Callable[[], bool]) -> None:
    """Wait here: the page's policy forbids the evaluation that Playwright's own waiting needs."""
    for _ in range(4000):
        if condition():
            return
        page.wait_for_timeout(20)
    raise AssertionError("it never happened")


def rows(page: Any, count: int) -> None:
    until(page, lambda: page.locator(ROWS).count() == count)


def test_the_page_is_light_and_asks_nobody_else() -> None:
    files = {path.name: path.read_bytes() for path in PAGE.iterdir()}
    assert sum(len(gzip.compress(content)) for content in files.values()) < 40_000
    for name, content in files.items():
        text = content.decode()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), name
        assert "innerHTML" not in text and "eval(" not in text and not re.search(r"<script>|\son\w+=\"", text), name


def test_the_address_keeps_what_is_looked_for(visit: Any) -> None:
    page = visit()
    page.fill("#search", "small.train lr>0.002 seed=1 lr<1e-2")
    rows(page, 1)
    assert "lr" in page.url
    page.click(".chip[data-value=model]")
    until(page, lambda: "kind=model" in page.url)
    page.click(".columns summary")
    page.check(".menu input[value=seed]")
    until(page, lambda: page.locator("thead th", has_text="seed").count() == 1)
    page.keyboard.press("Escape")
    assert not page.locator(".menu").is_visible()
    page.click("thead button:has-text('Size')")
    page.wait_for_selector("th[aria-sort]:has-text('Size')")
    assert "sort=bytes" in page.url
    before = page.locator(f"{ROWS} th.name a, thead th").all_inner_texts()
    address = page.url
    page.reload()
    assert page.url == address
    rows(page, 1)
    until(page, lambda: page.locator(f"{ROWS} th.name a, thead th").all_inner_texts() == before)
    assert page.input_value("#search") == "small.train lr>0.002 seed=1 lr<1e-2"
    assert page.get_attribute(".chip[data-value=model]", "aria-pressed") == "true"
    page.fill("#search", "")
    rows(page, 6)


def test_two_chosen_rows_are_compared(visit: Any, lab: Lab) -> None:
    page = visit("/?kind=model")
    rows(page, 6)
    for key in (lab.good, lab.bad):
        page.check(f"tr:has(td[data-key='{key}']) input")
    assert "2 chosen" in page.inner_text("#tray")
    page.click("#tray-compare")
    page.wait_for_selector("h2:has-text('Settings')")
    assert re.search(r"/compare\?of=[0-9a-f]{12},[0-9a-f]{12}$", page.url)
    told = page.inner_text("main")
    assert "0.003" in told and "0.001" in told and "bits_per_byte books (2)" in told
    assert page.locator(".plot path.line").count() == 2
    page.select_option(".curves select", "flop")
    until(page, lambda: "by=flop" in page.url and "FLOPs" in page.inner_text(".plot"))
    first = page.locator(".side a").all_inner_texts()
    page.click(".side button")
    until(page, lambda: page.locator(".side a").all_inner_texts() == first[::-1])
    page.reload()
    page.wait_for_selector("h2:has-text('Settings')")
    assert page.input_value(".curves select") == "flop"
    page.locator(".plot svg").focus()
    page.keyboard.press("ArrowRight")
    until(page, lambda: "FLOPs" in page.inner_text(".readout") and "small.train" in page.inner_text(".readout"))


def test_a_running_training_is_live(visit: Any, tmp_path: Path) -> None:
    lab = small_lab(tmp_path)
    with showing(lab.store) as address:
        page = visit("/", at=address)
        until(page, lambda: page.locator(ROWS).count() > 5)
        assert page.inner_text("#live") == ""
        with going_on(lab.store) as metrics:
            page.wait_for_selector("tr.running .spark")
            assert page.inner_text("#live") == "1 running"
            before = page.get_attribute("tr.running .spark path", "d")
            with metrics.open("a") as file:
                file.writelines(json.dumps(line) + "\n" for line in course(0.002, 3, 60)[5:])
            until(page, lambda: page.get_attribute("tr.running .spark path", "d") != before)
        until(page, lambda: page.inner_text("#live") == "")


def model(store: Store, number: int, **more: Any) -> str:
    return put(store, "pretrain", number, files={"config.json": "{}", "model.safetensors": "x"}, **more)


def test_a_training_that_came_to_nothing_hides_no_other(visit: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    keys = [model(store, n, record={"loss": loss}) for n, loss in enumerate((2.5, math.nan, -math.inf))]
    with showing(store) as address:
        page = visit("/", at=address)
        rows(page, 3)
        assert sorted(page.locator(f"{ROWS} td.score").all_inner_texts()) == [
            "2.500loss",
            "no numberloss",
            "no numberloss",
        ]
        page.click(f"tr:has(td[data-key='{keys[1]}']) a")
        page.wait_for_selector("h2:has-text('Scores')")
        page.click("a:has-text('Lineage')")
        page.wait_for_selector(".graph .node")


def test_what_is_removed_while_it_is_shown_stays_told(visit: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept, gone = model(store, 1), model(store, 2)
    with showing(store) as address:
        page = visit(f"/record/{gone[:16]}", at=address)
        page.wait_for_selector("h1:has-text('pretrain')")
        for address_of in (None, f"/compare?of={kept[:12]},{gone[:12]}"):
            if address_of:
                page.goto(f"{address}{address_of}")
            else:
                rows_now = entries(store)
                storage.remove(store, storage.one(store, find(store, gone, rows_now), rows_now))
            page.wait_for_selector("#trouble:has-text('may have been removed since')")
            page.wait_for_timeout(5000)
            assert page.locator("#trouble").is_visible()
        storage.restore(store)
        page.wait_for_selector("h2:has-text('Settings')")
        assert not page.locator("#trouble").is_visible()
