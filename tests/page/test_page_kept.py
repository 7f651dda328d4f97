"""What the page keeps in the browser: nothing comes back, nothing is lost, whatever else changes it meanwhile."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ayllu.serve.engines.engine import TextChunk
from ayllu.serve.engines.torch_engine import TorchEngine
from support.serving.browser import Visit
from support.serving.server import Watched, serving

ASK = "**/v1/chat/completions"


def chats(visit: Visit) -> list[Any]:
    script = "Object.keys(localStorage).filter(k => k.startsWith('ayllu.chat.')).map(k => JSON.parse(localStorage[k]))"
    return visit.page.evaluate(script)


def growing(visit: Visit) -> None:
    """Wait until the answer has begun."""
    visit.until(lambda: len(visit.texts()) > 1 and len(visit.texts()[-1]) > 3)


def second_tab(visit: Visit) -> Visit:
    other = Visit(visit.page.context, visit.page.url)
    other.address = visit.address
    return other


@pytest.mark.parametrize("way", ["one", "all", "another tab"])
def test_a_chat_that_is_deleted_while_it_is_answered_stays_deleted(visit: Visit, watched: Watched, way: str) -> None:
    visit.page.on("dialog", lambda dialog: dialog.accept())
    visit.send("Talk for long.")
    growing(visit)
    if way == "all":
        visit.page.click("#open-settings")
        visit.page.click("#forget")
    elif way == "one":
        visit.page.hover("#chats li")
        visit.page.click('#chats [aria-label^="Delete"]')
    else:
        other = second_tab(visit)
        other.page.evaluate("Object.keys(localStorage).forEach(k => localStorage.removeItem(k))")
        visit.page.wait_for_selector("#notice >> text=deleted in another tab")
    visit.until(lambda: watched.running == 0)
    visit.page.wait_for_selector("#stop", state="hidden")
    visit.page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    assert chats(visit) == []
    assert visit.texts() == []


def test_two_tabs_keep_each_others_messages_and_settings(visit: Visit) -> None:
    visit.short()
    visit.send("First.")
    visit.finished()
    other = second_tab(visit)
    other.page.wait_for_selector(".message.assistant")
    # A tab that sleeps hears of no change: its own is made to what is stored all the same.
    other.page.evaluate("addEventListener('storage', (event) => event.stopImmediatePropagation(), true)")
    visit.send("Second.")
    visit.finished()
    other.send("Third.")
    other.finished()
    said = [m["content"] for m in chats(visit)[0]["messages"] if m["role"] == "user"]
    assert said == ["First.", "Second.", "Third."]
    asked = [m["content"] for m in other.asked()["messages"] if m["role"] == "user"]
    assert asked == said
    visit.until(lambda: "Third." in visit.texts())
    visit.page.click("#open-settings")
    visit.page.fill("#system", "Be kind.")
    other.page.click("#theme")
    settings = other.page.evaluate("JSON.parse(localStorage['ayllu.settings'])")
    assert (settings["system"], settings["theme"], settings["length"]) == ("Be kind.", "light", 32)


@pytest.mark.parametrize("way", ["stop", "reload"])
def test_an_answer_that_never_began_is_no_message(visit: Visit, way: str) -> None:
    visit.short()
    visit.page.route(ASK, lambda route: None)
    visit.send("Is anybody there?")
    visit.page.wait_for_selector("#stop", state="visible")
    if way == "stop":
        visit.page.click("#stop")
    else:
        visit.page.reload()
    visit.page.wait_for_selector("text=This has no answer yet.")
    assert visit.texts() == ["Is anybody there?"]
    visit.page.unroute(ASK)
    visit.send("Hello?")
    visit.finished()
    assert visit.asked()["messages"] == [
        {"role": "user", "content": "Is anybody there?"},
        {"role": "user", "content": "Hello?"},
    ]


def test_reloading_in_the_middle_of_an_answer_keeps_what_came(visit: Visit) -> None:
    visit.send("Talk for long.")
    growing(visit)
    came = visit.texts()[1]
    visit.page.reload()
    visit.page.wait_for_selector("text=Not finished.")
    assert visit.texts()[0] == "Talk for long."
    # A model that knows nothing says any character, and a browser shows a carriage return and spaces otherwise.
    kept = chats(visit)[0]["messages"][1]["content"]
    assert "".join(kept.split()).startswith("".join(came.split())[:3])


def test_a_browser_that_stores_no_more_is_said_to(visit: Visit) -> None:
    visit.page.on("dialog", lambda dialog: dialog.accept())
    visit.short()
    visit.page.evaluate(
        """() => { for (let size = 1 << 22; size; size >>= 1)
            try { localStorage.setItem("ayllu.chat.big" + size, JSON.stringify({messages:
                [{role: "user", content: "x".repeat(size)}]})); } catch {} }"""
    )
    visit.send("Hello")
    visit.finished()
    assert "storage of this browser is full" in visit.page.inner_text("#refusal")
    assert visit.texts()[0] == "Hello"
    visit.page.hover("#chats li:has-text('xxx')")
    visit.page.locator("#chats li:has-text('xxx') [aria-label^=Delete]").last.click()
    visit.page.locator("#chats li:has-text('xxx') [aria-label^=Delete]").first.click()
    visit.page.wait_for_selector("#refusal", state="hidden")
    assert "Hello" in [chat["messages"][0]["content"] for chat in chats(visit)]


def test_settings_that_are_nonsense_are_the_defaults(visit: Visit) -> None:
    wrong = '{"temperature": "hot", "length": -1, "theme": 5, "system": {}}'
    for settings in (wrong, "[]", "null", "5", '"x"', "{broken"):
        visit.page.evaluate("(text) => localStorage.setItem('ayllu.settings', text)", settings)
        visit.page.reload()
        visit.page.wait_for_selector("#facts >> text=parameters")
        assert visit.page.input_value("#temperature") == "0.6"  # what the model recommends
        assert visit.page.inner_text("#theme") == "Theme: system"
    visit.short()
    visit.send("Hello")
    visit.finished()
    assert visit.asked().get("temperature") is None


def test_chats_that_are_nonsense_are_left_out_and_the_rest_is_shown(visit: Visit) -> None:
    good = {"role": "user", "content": "Good."}
    stored = {
        "a": {"messages": [None, 5, {"role": "user", "content": 5}, {"role": "robot", "content": "x"}, good]},
        "b": {"messages": [good, {"role": "assistant", "content": ""}], "changed": "soon", "error": {}},
        "c": {"messages": "none"},
        "d": 5,
    }
    for name, value in stored.items():
        visit.page.evaluate("([k, v]) => localStorage.setItem('ayllu.chat.' + k, v)", [name, json.dumps(value)])
    visit.page.reload()
    visit.page.wait_for_selector("#facts >> text=parameters")
    assert visit.page.locator("#chats li").count() == 2
    for index in range(2):
        visit.page.click(f"#chats .chat >> nth={index}")
        assert visit.texts() == ["Good."]


def test_going_back_and_a_pasted_address_change_the_chat(visit: Visit) -> None:
    visit.short()
    addresses = []
    for text in ("One.", "Two."):
        visit.page.click("#new-chat")
        visit.send(text)
        visit.finished()
        addresses.append(visit.page.url)
    visit.page.click("#chats >> text=One.")
    visit.page.go_back()
    visit.until(lambda: visit.texts()[:1] == ["Two."])
    assert visit.page.url == addresses[1]
    visit.page.evaluate("(address) => { location.href = address; }", addresses[0])
    visit.until(lambda: visit.texts()[:1] == ["One."])
    visit.page.evaluate("location.hash = 'nowhere'")
    visit.page.wait_for_selector("#notice >> text=not kept in this browser")
    assert visit.texts() == []


def test_a_server_that_comes_back_with_another_model_is_believed(
    visit: Visit, folder: Path, engine: TorchEngine, tmp_path: Path
) -> None:
    shutil.copytree(folder, place := tmp_path / "other")
    visit.short()
    with serving(place, engine) as there:

        def pass_on(route: Any) -> None:
            path = route.request.url.removeprefix(visit.address)
            headers = {"Content-Type": "application/json"}
            data = {"post_data": route.request.post_data} if route.request.method == "POST" else {}
            route.fulfill(response=route.fetch(url=there + path, headers=headers, **data))

        visit.page.route("**/v1/**", pass_on)
        visit.send("Who are you?")
        visit.finished()
        visit.page.wait_for_selector("#model-name >> text=other")
    assert visit.page.locator(".message.assistant h2").text_content() == "other"


class Looping(Watched):
    """A model that says the same again and again."""

    def generate(self, *_: object) -> Iterator[TextChunk]:
        for _ in range(500):
            time.sleep(0.01)
            yield TextChunk(text="She walked into the market and bought a hat. ", tokens=1)
        yield TextChunk(text="", finish_reason="length")


def test_the_page_offers_to_stop_a_model_that_repeats_itself(browser: Any, folder: Path, engine: TorchEngine) -> None:
    context = browser.new_context()
    with serving(folder, Looping(engine)) as address:
        visit = Visit(context, address)
        visit.send("Tell me a story.")
        visit.page.click("text=Stop the answer")
        visit.page.wait_for_selector("text=Stopped.")
        visit.page.wait_for_selector("#loop", state="hidden")
        script = "async (text) => (await import('/static/loops.js')).loops(text)"
        assert visit.page.evaluate(script, "A story begins. " + "She walked into the market. " * 20)
        assert not visit.page.evaluate(script, " ".join(f"She bought {i} hats." for i in range(100)))
        assert not visit.page.evaluate(script, "ha ha ha ha")
        verse = " ".join(f"She bought {i} hats." for i in range(50))
        assert visit.page.evaluate(script, "A story begins. " + f"{verse} " * 3)
        assert not visit.page.evaluate(script, "A story begins. " + f"{verse} " * 2 + "Then she walked home.")
    context.close()
