"""The chat page in a real browser: what it does, what it asks for, and whether everyone can use it."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from typing import Any

import pytest

from ayllu.serve.gateway import PAGE
from support.parts import need_module
from support.serving.browser import Visit
from support.serving.server import Watched

axe = need_module("axe_playwright_python.sync_playwright", "axe-playwright-python is not installed")


def test_the_page_is_light() -> None:
    weight = sum(len(gzip.compress(path.read_bytes())) for path in PAGE.rglob("*") if path.is_file())
    assert weight < 150_000


def test_the_markdown_parser_is_the_published_file() -> None:
    digest = hashlib.sha256((PAGE / "markdown-it.js").read_bytes()).hexdigest()
    assert digest == "d5432491790141da046b1197353705db03264f40b5727f3b4b591f5aba193e30"  # of markdown-it 15.0.3


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


def shown(visit: Visit, text: str) -> str:
    script = """async (text) => {
        const { show } = await import("/static/markdown.js");
        const place = document.createElement("div");
        show(place, text);
        return place.innerHTML;
    }"""
    return visit.page.evaluate(script, text)


def test_markdown_is_shown_as_what_it_means(visit: Visit) -> None:
    assert shown(visit, "a **b** *c* `d*e*`") == "<p>a <strong>b</strong> <em>c</em> <code>d*e*</code></p>"
    assert shown(visit, "2 * 3 * 4 and snake_case_name") == "<p>2 * 3 * 4 and snake_case_name</p>"
    assert shown(visit, "# One\ntext") == "<h3>One</h3><p>text</p>"
    assert shown(visit, "3. c\n4. d\n   more") == '<ol start="3"><li>c</li><li>d\nmore</li></ol>'
    assert re.sub(r' (tabindex|title)="[^"]*"', "", shown(visit, "```py\n# no heading\n\n- no list")) == (
        "<pre><code># no heading\n\n- no list</code></pre>"
    )


MEANINGS = [
    ('```python title="a b"\nx = 1\n```\nafter', "<pre><code>x = 1</code></pre><p>after</p>"),
    ("````md\n```py\nx\n```\n````\nafter", "<pre><code>```py\nx\n```</code></pre><p>after</p>"),
    ("~~~\n# no\n~~~", "<pre><code># no</code></pre>"),
    ("- a\n  - b\n    1. c\n- d", "<ul><li>a<ul><li>b<ol><li>c</li></ol></li></ul></li><li>d</li></ul>"),
    ("1. a\n\n   ```\n   x\n   ```\n2. b", "<ol><li><p>a</p><pre><code>x</code></pre></li><li><p>b</p></li></ol>"),
    (r"\*no\* __bold__ _em_ ~~gone~~", "<p>*no* <strong>bold</strong> <em>em</em> <s>gone</s></p>"),
    ("> a\n> - b", "<blockquote><p>a</p><ul><li>b</li></ul></blockquote>"),
    ("a  \nb &amp; &lt;c&gt;", "<p>a<br>b &amp; &lt;c&gt;</p>"),
    ("see readme.md and mail@example.org", "<p>see readme.md and mail@example.org</p>"),
    ("|a|b|\n|-|-:|\n|`x\\|y`|2|", "<div><table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr>"
     "<td><code>x|y</code></td><td>2</td></tr></tbody></table></div>"),
]  # fmt: skip


def test_markdown_means_what_commonmark_and_github_say(visit: Visit) -> None:
    for text, html in MEANINGS:
        assert re.sub(r' (tabindex|title|class|style)="[^"]*"', "", shown(visit, text)) == html


def test_bare_addresses_are_links(visit: Visit) -> None:
    html = shown(visit, "see https://example.org/a_b_c. ![x](https://example.org/i.png)")
    assert re.findall('href="([^"]*)"', html) == ["https://example.org/a_b_c", "https://example.org/i.png"]


def test_a_chat_with_hard_lines_opens(visit: Visit) -> None:
    lines = ["# a" + " " * 50_000 + "b", "`" * 50_000, "|" * 50_000]
    messages = [{"role": "user", "content": "Go."}, {"role": "assistant", "content": "\n\n".join(lines)}]
    visit.page.evaluate("(text) => localStorage.setItem('ayllu.chat.hard', text)", json.dumps({"messages": messages}))
    visit.page.goto(f"{visit.address}/#hard")
    visit.page.reload()
    visit.page.wait_for_selector(".message.assistant")
    assert visit.page.locator(".message.assistant .text").inner_text().count("|") == 50_000


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
