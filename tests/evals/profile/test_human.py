"""A person takes a row in the page: over HTTP, in a real browser, and another day."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from ayllu.evals.profile.human.serve import HumanServer
from ayllu.evals.profile.human.session import Session
from ayllu.evals.profile.human.take import person_profile, take_row
from ayllu.evals.profile.item import SEED
from ayllu.evals.profile.kept import read_profile
from ayllu.lab.error import UserError
from support.parts import need, need_module


@contextmanager
def page(folder: Path, row: str = "mathematics") -> Iterator[tuple[HumanServer, Session]]:
    session = Session(row, "ana", each=1, seed=SEED, folder=folder)
    server = HumanServer(session)
    try:
        yield server, session
    finally:
        server.close()


def ask(address: str, path: str, body: Any = None, **headers: str) -> Any:
    data = None if body is None else json.dumps(body).encode()
    kind = {"content-type": "application/json"} if data is not None else {}
    request = urllib.request.Request(address + path, data=data, headers={**kind, **headers})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def solve(session: Session, item: dict) -> str:
    return next(each.answer for each in session.items if each.id == item["id"])


def test_a_person_answers_stops_and_goes_on_another_day(tmp_path: Path) -> None:
    with page(tmp_path) as (server, session):
        state = ask(server.address, "next")
        seen = []
        for _ in range(6):
            seen.append(state["item"]["id"])
            told = {"id": state["item"]["id"], "reply": solve(session, state["item"]), "seconds": 2.5}
            state = ask(server.address, "answer", told)
        assert state["done"] == 6
        assert {place.split("/")[2] for place in seen} == {"1", "2"}  # from easy to hard
        assert not server.wait(0)
        assert ask(server.address, "stop", {})["item"] is None
        assert server.wait(5)
    again = Session("mathematics", "ana", each=1, seed=SEED, folder=tmp_path)
    assert [item.id for item in again.order[:6]] == seen
    assert again.left[0].id == again.order[6].id
    assert [verdict.solved for verdict in again.verdicts()] == [True] * 6


def test_the_profile_of_a_person_is_that_of_all_rows_they_took(tmp_path: Path) -> None:
    able = {"habit": 30, "mathematics": 8}
    for row, level in able.items():

        def take(address: str, row: str = row, level: int = level) -> None:
            session = Session(row, "ana", each=1, seed=SEED, folder=tmp_path / "other")

            def answer() -> None:
                state = ask(address, "next")
                while state["item"] is not None:
                    item = next(each for each in session.items if each.id == state["item"]["id"])
                    reply = item.answer if item.level <= level else ""
                    state = ask(address, "answer", {"id": item.id, "reply": reply, "seconds": 1})

            threading.Thread(target=answer).start()

        found = take_row(row, "ana", folder=tmp_path / "ana", ready=take)
        assert found["answered"] == found["items"]
    kept = read_profile(str(tmp_path / "ana"), tmp_path)
    rows = {row["row"]: row for row in (*kept.profile["profile"], *kept.profile["further"])}
    assert [name for name, row in rows.items() if row["measured"]] == ["mathematics", "habit"]
    assert 8 <= rows["mathematics"]["d50"] <= 10
    assert rows["habit"]["censored"] == "above"
    assert kept.profile["about"]["kind"] == "person"
    # All is answered: the command shows the profile at once, and serves nothing.
    take_row("habit", "ana", folder=tmp_path / "ana", ready=lambda address: pytest.fail("it was served"))


def test_time_counts_where_the_row_is_speed(tmp_path: Path) -> None:
    began = time.monotonic()
    with page(tmp_path, "speed") as (server, session):
        state = ask(server.address, "next")
        told = {"id": state["item"]["id"], "reply": solve(session, state["item"]), "seconds": 9e9}
        ask(server.address, "answer", told)
        (verdict,) = session.verdicts()
    # The server knows that it cannot have taken that long.
    assert verdict.answer.seconds <= time.monotonic() - began
    assert verdict.solved


def test_other_sites_and_other_bodies_get_nothing(tmp_path: Path) -> None:
    with page(tmp_path) as (server, session):
        ask(server.address, "next")
        item = session.left[0]
        told = {"id": item.id, "reply": "1", "seconds": 1}
        base = f"http://{server.host}/"
        for address, path, body, headers, status in (
            (base, "", None, {}, 404),
            (base + "guess/", "next", None, {}, 404),
            (server.address, "next", None, {"host": "evil.example"}, 404),
            (server.address, "answer", told, {"origin": "https://evil.example"}, 404),
            (server.address, "answer", told, {"content-type": "text/plain"}, 404),
            (server.address, "answer", {**told, "id": "mathematics/addition/1/9"}, {}, 400),
            (server.address, "answer", {**told, "reply": 1}, {}, 400),
            (server.address, "answer", {**told, "reply": "1" * 70_000}, {}, 413),
            (server.address, "elsewhere", {}, {}, 404),
        ):
            with pytest.raises(HTTPError) as error:
                ask(address, path, body, **headers)
            assert error.value.code == status, (path, headers)
        assert not session.verdicts()
        with urllib.request.urlopen(server.address, timeout=10) as answer:
            policy, text = answer.headers["content-security-policy"], answer.read().decode()
        assert "default-src 'none'" in policy
        assert not re.search(r"(?:src|href)=", text)


def test_who_or_what_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    for row, person, words in (
        ("maths", "ana", "no row of the profile is called maths"),
        ("visual", "ana", "has no items that a person can take"),
        ("long_term_storage", "ana", "has no items that a person can take"),
        ("habit", "../ana", "cannot name a person"),
    ):
        with pytest.raises(UserError, match=words):
            take_row(row, person, folder=tmp_path, ready=lambda address: None)


def test_the_page_works_in_a_browser(tmp_path: Path) -> None:
    api = need_module("playwright.sync_api", "playwright is not installed (it is in the dev extra)")
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next((path for name in names if (path := shutil.which(name))), None)
    need(chromium is not None, "there is no Chromium on this machine")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with page(tmp_path, "correction") as (server, session), api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        tab = browser.new_page()
        complaints: list[str] = []
        tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(server.address)
        tab.click("#begin")
        tab.wait_for_selector(".said")
        first = session.left[0]
        assert first.question in tab.inner_text("#question")
        tab.screenshot(path=os.environ.get("AYLLU_SHOT", str(tmp_path / "page.png")))
        tab.fill("#answer", first.answer)
        tab.press("#answer", "Enter")
        tab.wait_for_selector("progress[value='1']")
        tab.click("#pass")
        tab.wait_for_selector("progress[value='2']")
        tab.click("#stop")
        tab.wait_for_selector("text=Thank you")
        browser.close()
        assert server.wait(5)
        assert [verdict.solved for verdict in session.verdicts()].count(True) == 1
        assert len(session.verdicts()) == 2
        # Browsers ask for an icon, which there is not.
        assert [told for told in complaints if "404" not in told] == []


def test_what_a_person_answered_is_never_lost(tmp_path: Path) -> None:
    """Another number of items, another row, another seed or another person leaves all answers where they are."""
    with page(tmp_path) as (server, session):
        for _ in range(3):
            item = ask(server.address, "next")["item"]
            ask(server.address, "answer", {"id": item["id"], "reply": solve(session, item), "seconds": 1})
    kept = (tmp_path / "mathematics.jsonl").read_text()
    longer = Session("mathematics", "ana", each=2, seed=SEED, folder=tmp_path)
    assert len(longer.verdicts()) == 3
    assert len(longer.left) == len(longer.items) - 3 == 2 * len(session.items) - 3
    assert len(person_profile("ana", tmp_path, each=2, seed=SEED)["scores"]) == 3
    other = Session("mathematics", "ana", each=1, seed="another", folder=tmp_path)
    assert not other.verdicts()
    with pytest.raises(UserError, match="holds answers of somebody else"):
        Session("mathematics", "bob", each=1, seed=SEED, folder=tmp_path)
    assert (tmp_path / "mathematics.jsonl").read_text() == kept


def test_answers_to_a_longer_row_count_when_a_shorter_one_is_asked_for(tmp_path: Path) -> None:
    longer = Session("habit", "ana", each=2, seed=SEED, folder=tmp_path)
    while longer.left:
        item = longer.items[longer.items.index(longer.left[0])]
        longer.state(show=True)
        longer.answer({"id": item.id, "reply": item.answer, "seconds": 1})
    again = Session("habit", "ana", each=1, seed=SEED, folder=tmp_path)
    assert len(again.verdicts()) == len(longer.items)


def test_answers_of_an_earlier_release_are_read(tmp_path: Path) -> None:
    session = Session("habit", "ana", each=1, seed=SEED, folder=tmp_path)
    session.state(show=True)
    session.answer({"id": session.left[0].id, "reply": "hot", "seconds": 1})
    path = tmp_path / "habit.jsonl"
    head, line = path.read_text().splitlines()
    path.write_text('{"items": "0123456789abcdef", "person": "ana"}\n' + line + "\n")
    assert len(Session("habit", "ana", each=1, seed=SEED, folder=tmp_path).verdicts()) == 1
    assert path.read_text().splitlines() == [head, line]
