"""The chat page in a real browser: what it does, what it asks for, and whether everyone can use it."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.gateway import PAGE
from support.parts import need, need_module
from support.server import Watched, serving

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

need(CHROMIUM, "no Chromium is installed (Debian: apt-get install chromium)")
api = need_module("playwright.sync_api", "the package playwright is not installed")
axe = need_module("axe_playwright_python.sync_playwright", "axe-playwright-python is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if root else [])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def watched(engine: TorchEngine) -> Watched:
    return Watched(engine, seconds=0.01)


@pytest.fixture(scope="module")
def address(folder: Path, watched: Watched) -> Iterator[str]:
    with serving(folder, watched) as url:
        yield url


class Visit:
    """A fresh visitor's tab, and what it did behind the scenes."""

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(15_000)
        self.address = address
        self.requests: list[Any] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        self.page.goto(address)
        self.page.wait_for_selector("#facts >> text=parameters")

    def send(self, text: str) -> None:
        self.page.fill("#prompt", text)
        self.page.press("#prompt", "Enter")

    def finished(self) -> None:
        self.page.wait_for_selector(".message.assistant:last-child .rate, .message:last-child .note")
        self.page.wait_for_selector("#stop", state="hidden")

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait here: the page's policy forbids the evaluation that Playwright's own waiting needs."""
        for _ in range(3000):
            if condition():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError("it never happened")

    def texts(self) -> list[str]:
        return self.page.locator(".said, .message .text").all_inner_texts()

    def asked(self) -> dict[str, Any]:
        return [r.post_data_json for r in self.requests if r.url.endswith("/v1/chat/completions")][-1]

    def short(self) -> None:
        """Set the longest answer to 32 tokens, through the settings as a visitor would."""
        self.page.click("#open-settings")
        self.page.select_option("#length", "32")
        self.page.press("#settings", "Escape")


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    visit = Visit(context, address)
    yield visit
    assert visit.complaints == []
    assert [r.url for r in visit.requests if not r.url.startswith(address)] == []
    context.close()


def test_the_page_is_light() -> None:
    weight = sum(len(gzip.compress(path.read_bytes())) for path in PAGE.iterdir())
    assert weight < 150_000


def test_a_conversation_streams_and_is_still_there_after_reloading(visit: Visit) -> None:
    assert visit.page.inner_text("#model-name") == "tiny"
    assert "38k parameters" in visit.page.inner_text("#facts")
    visit.short()
    visit.send("Hello, who are you?")
    visit.page.wait_for_selector(".message.assistant")
    visit.finished()
    visit.send("And now?")
    visit.finished()
    before = visit.texts()
    assert before[::2] == ["Hello, who are you?", "And now?"]
    assert all(text.strip() for text in before)
    roles = [message["role"] for message in visit.asked()["messages"]]
    assert roles == ["user", "assistant", "user"]
    visit.page.reload()
    visit.page.wait_for_selector(".message.assistant")
    assert visit.texts() == before
    assert "Hello, who are you?" in visit.page.title()
    visit.page.click("#new-chat")
    assert visit.texts() == []
    visit.page.click("#chats >> text=Hello, who are you?")
    assert visit.texts() == before


def test_enter_sends_and_shift_enter_does_not(visit: Visit) -> None:
    visit.short()
    visit.page.fill("#prompt", "one")
    visit.page.press("#prompt", "Shift+Enter")
    visit.page.type("#prompt", "two")
    assert visit.texts() == []
    visit.page.press("#prompt", "Enter")
    visit.finished()
    assert visit.texts()[0] == "one\ntwo"
    assert visit.page.input_value("#prompt") == ""


@pytest.mark.parametrize("way", ["button", "escape"])
def test_stopping_stops_the_server_too(visit: Visit, watched: Watched, way: str) -> None:
    visit.send("Talk for long.")
    visit.until(lambda: len(visit.texts()) == 2 and len(visit.texts()[1]) > 3)
    assert watched.running == 1
    if way == "button":
        visit.page.click("#stop")
    else:
        visit.page.keyboard.press("Escape")
    visit.page.wait_for_selector("text=Stopped.")
    assert visit.page.evaluate("document.activeElement.id") == "prompt"
    visit.until(lambda: watched.running == 0)
    assert visit.texts()[1]


def test_editing_and_answering_again(visit: Visit) -> None:
    visit.short()
    visit.send("First.")
    visit.finished()
    visit.send("Second.")
    visit.finished()
    first = visit.texts()
    visit.page.click('.message:last-child [aria-label="Answer again"]')
    visit.page.wait_for_selector("#stop", state="visible")
    visit.finished()
    again = visit.texts()
    assert again[:3] == first[:3]
    assert again[3] != first[3]
    visit.page.hover(".message.user >> nth=0")
    visit.page.click('.message.user >> nth=0 >> [aria-label="Edit"]')
    visit.page.keyboard.press("Escape")
    assert visit.texts() == again
    visit.page.hover(".message.user >> nth=0")
    visit.page.click('.message.user >> nth=0 >> [aria-label="Edit"]')
    visit.page.fill(".editor textarea", "Better.")
    visit.page.press(".editor textarea", "Enter")
    visit.finished()
    assert len(visit.texts()) == 2
    assert visit.texts()[0] == "Better."
    assert visit.asked()["messages"] == [{"role": "user", "content": "Better."}]


def test_settings_reach_the_model_and_stay(visit: Visit) -> None:
    visit.page.click("#open-settings")
    visit.page.fill("#system", "Speak like a llama.")
    visit.page.locator("#temperature").fill("1.3")
    visit.page.select_option("#length", "32")
    visit.page.click("text=Done")
    visit.page.reload()
    visit.send("Hi")
    visit.finished()
    asked = visit.asked()
    assert asked["messages"][0] == {"role": "system", "content": "Speak like a llama."}
    assert (asked["temperature"], asked["max_tokens"]) == (1.3, 32)


def test_copying_gives_the_text_as_the_model_wrote_it(visit: Visit) -> None:
    visit.short()
    visit.send("Hi")
    visit.finished()
    visit.page.click('.message:last-child [aria-label="Copy"]')
    visit.page.wait_for_selector("#announcer >> text=Copied.", state="attached")
    stored = visit.page.evaluate("JSON.parse(localStorage[Object.keys(localStorage).find(k => k.includes('chat.'))])")
    assert visit.page.evaluate("navigator.clipboard.readText()") == stored["messages"][1]["content"]


def test_deleting_chats(visit: Visit) -> None:
    visit.page.on("dialog", lambda dialog: dialog.accept())
    visit.short()
    visit.send("Forget me.")
    visit.finished()
    visit.page.hover("#chats li")
    visit.page.click('#chats [aria-label^="Delete"]')
    assert visit.texts() == []
    assert visit.page.locator("#chats li").count() == 0
    visit.page.reload()
    assert visit.texts() == []


def test_what_the_model_writes_is_never_markup(visit: Visit) -> None:
    nasty = (
        "<img src=x onerror=alert(1)> <script>alert(2)</script>\n\n[go](javascript:alert(3)) [ok](https://example.org/)"
        "\n\n```html\n<b>bold</b>\n```\n\n- **<i>item</i>**\n\n| a | <u>b</u> |\n|---|---|\n| `<s>` | 2 |"
    )
    found = visit.page.evaluate(
        """async (text) => {
            const { show } = await import("/static/markdown.js");
            const place = document.createElement("div");
            for (let end = 1; end <= text.length; end++) show(place, text.slice(0, end));
            const whole = document.createElement("div");
            show(whole, text);
            return {
                tags: [...new Set([...place.querySelectorAll("*")].map((e) => e.tagName))],
                links: [...place.querySelectorAll("a")].map((a) => a.href),
                text: place.textContent,
                same: place.innerHTML === whole.innerHTML,
            };
        }""",
        nasty,
    )
    assert set(found["tags"]) <= {
        "P",
        "A",
        "PRE",
        "CODE",
        "UL",
        "LI",
        "STRONG",
        "DIV",
        "TABLE",
        "THEAD",
        "TBODY",
        "TR",
        "TH",
        "TD",
    }
    assert found["links"] == ["https://example.org/"]
    assert "<img src=x onerror=alert(1)>" in found["text"]
    assert "<b>bold</b>" in found["text"]
    assert found["same"]


def test_markdown_is_shown_as_what_it_means(visit: Visit) -> None:
    def shown(text: str) -> str:
        script = """async (text) => {
            const { show } = await import("/static/markdown.js");
            const place = document.createElement("div");
            show(place, text);
            return place.innerHTML;
        }"""
        return visit.page.evaluate(script, text)

    assert shown("a **b** *c* `d*e*`") == "<p>a <strong>b</strong> <em>c</em> <code>d*e*</code></p>"
    assert shown("2 * 3 * 4 and snake_case_name") == "<p>2 * 3 * 4 and snake_case_name</p>"
    assert shown("# One\ntext") == "<h3>One</h3><p>text</p>"
    assert shown("3. c\n4. d\n   more") == '<ol start="3"><li>c</li><li>d\nmore</li></ol>'
    assert re.sub(r' (tabindex|title)="[^"]*"', "", shown("```py\n# no heading\n\n- no list")) == (
        "<pre><code># no heading\n\n- no list</code></pre>"
    )


def test_a_server_that_is_gone_is_said_and_can_be_tried_again(visit: Visit) -> None:
    visit.short()
    visit.page.route("**/v1/chat/completions", lambda route: route.abort())
    visit.send("Are you there?")
    visit.page.wait_for_selector("text=The server cannot be reached. Is it still running?")
    visit.page.unroute("**/v1/chat/completions")
    visit.page.click("text=Try again")
    visit.finished()
    assert len(visit.texts()) == 2
    visit.complaints = [words for words in visit.complaints if "ERR_FAILED" not in words]


def test_a_message_that_is_too_long_is_explained(visit: Visit) -> None:
    visit.send("word " * 600)
    visit.page.wait_for_selector("text=/The last message.*shorten it/")
    visit.complaints = [words for words in visit.complaints if "400" not in words]


def test_answers_are_read_aloud_in_sentences(visit: Visit) -> None:
    said = visit.page.evaluate(
        """async () => {
            const { Reader } = await import("/static/view.js");
            const reader = new Reader();
            const text = "Hello there. How are you? I am fi";
            for (let end = 1; end <= text.length; end++) reader.push(text.slice(0, end));
            reader.end(text + "ne");
            return [...document.querySelectorAll("#announcer p")].map((p) => p.textContent);
        }"""
    )
    assert said == ["Hello there.", "How are you?", "I am fine"]
    announcer = visit.page.locator("#announcer")
    assert (announcer.get_attribute("role"), announcer.get_attribute("aria-live")) == ("log", "polite")


@pytest.mark.parametrize(("theme", "width"), [("light", 390), ("dark", 1200)])
def test_everyone_can_use_it(browser: Any, address: str, theme: str, width: int) -> None:
    context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 800})
    visit = Visit(context, address)
    page = visit.page

    def check(where: str) -> None:
        result = axe.Axe().run(page, options={"resultTypes": ["violations"]})
        assert result.violations_count == 0, f"{where}: {result.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{where}: wider than the screen"

    check("welcome")
    if width < 500:
        page.click("#open-menu")
        page.wait_for_timeout(300)
        check("menu")
    visit.page.click("#open-settings")
    page.select_option("#length", "32")
    check("settings")
    page.keyboard.press("Escape")
    page.click("#open-about")
    check("about")
    page.keyboard.press("Escape")
    visit.send("Hello")
    visit.finished()
    page.wait_for_timeout(200)
    check("conversation")
    context.close()


def test_the_keyboard_is_enough(visit: Visit) -> None:
    visit.short()
    visit.page.reload()
    visit.page.wait_for_selector("#facts >> text=parameters")
    assert visit.page.evaluate("document.activeElement.id") == "prompt"
    visit.page.keyboard.type("Hello")
    visit.page.keyboard.press("Enter")
    visit.finished()
    reached = set()
    for _ in range(25):
        visit.page.keyboard.press("Shift+Tab")
        reached.add(
            visit.page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.id")
        )
    assert {"Copy", "Edit", "Answer again", "Conversation", "About this model", "new-chat"} <= reached
