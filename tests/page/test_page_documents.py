"""Documents on the chat page: put there, searched, cited by the answer, opened, and taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from support.parts import need_module
from support.serving.browser import Visit

from .conftest import Shop, calls

axe = need_module("axe_playwright_python.sync_playwright", "axe-playwright-python is not installed")
DOOR = b"The door code of the house is <b>4711</b>."
BOAT = b"The boat sails to Puno on every second Tuesday."


@pytest.fixture
def client(shop: Shop) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{shop.address}/v1", api_key="none", max_retries=0) as client:
        yield client
        for store in client.vector_stores.list():
            client.vector_stores.delete(store.id)
        for file in client.files.list():
            client.files.delete(file.id)


def put(visit: Visit, **files: bytes) -> None:
    """Choose files as a person does, and wait until the server has read them."""
    page = visit.page
    page.click("#open-tools")
    with page.expect_file_chooser() as chooser:
        page.click("#add-documents")
    given: Any = [
        {"name": name.replace("_", "."), "mimeType": "text/plain", "buffer": data} for name, data in files.items()
    ]
    chooser.value.set_files(given)
    visit.until(lambda: page.locator("#document-list li").count() >= len(files))
    visit.until(lambda: "Is being" not in page.inner_text("#document-list"))
    page.keyboard.press("Escape")


def told(visit: Visit) -> list[str]:
    entries = visit.page.locator("#document-list li > span").all()
    return [": ".join(entry.locator("> *").all_text_contents()) for entry in entries]


def ask(visit: Visit, shop: Shop, answer: str, question: str = "The door code?") -> None:
    shop.script(calls("file_search", query="door code"), answer)
    visit.send(question)
    visit.page.wait_for_selector("#stop", state="hidden")


def test_a_document_is_put_there_cited_opened_and_taken_back(
    visitors: Callable[..., Visit], shop: Shop, client: openai.OpenAI
) -> None:
    visit = visitors()
    page = visit.page
    put(visit, door_txt=DOOR, boat_txt=BOAT)
    assert told(visit) == ["door.txt: Ready", "boat.txt: Ready"]
    assert "Search in Documents" in str(page.locator("#tool-list").text_content())
    ask(visit, shop, "The door code is 4711. The boat sails every second Tuesday! Nobody knows why llamas laugh.")
    cited = page.locator(".text button")
    assert cited.all_inner_texts() == ["door.txt", "boat.txt"]
    words = "The door code is 4711.door.txt The boat sails every second Tuesday!boat.txt Nobody knows why llamas laugh."
    assert visit.texts()[-1] == words, "each stands behind the sentence that rests on it"
    assert cited.first.get_attribute("aria-label") == "Source: door.txt"
    page.focus("#scroller")
    names = []
    while "Source: door.txt" not in names:
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        assert len(names) < 20, names
    page.keyboard.press("Enter")
    assert page.locator("#passage").get_attribute("open") is not None
    assert "The door code of the house is <b>4711</b>." in page.inner_text("#passage")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Source: door.txt"
    page.reload()
    page.wait_for_selector(".text button")
    assert visit.texts()[-1] == words, "and after a reload"
    page.click("#open-tools")
    visit.until(lambda: len(told(visit)) == 2)
    page.click("[aria-label='Remove door.txt']")
    visit.until(lambda: told(visit) == ["boat.txt: Ready"])
    assert [file.filename for file in client.files.list()] == ["boat.txt"]
    [store] = client.vector_stores.list()
    found = client.vector_stores.search(store.id, query="door code").data
    assert {hit.filename for hit in found} == {"boat.txt"}, "what is removed is found no more"


def test_of_several_passages_that_which_says_it_is_opened(
    visitors: Callable[..., Visit], shop: Shop, client: openai.OpenAI
) -> None:
    visit = visitors()
    filler = "\n\n".join(f"Paragraph {number} is about nothing but wool and hay." for number in range(20))
    long = f"{filler}\n\nThe door code of the house is 4711.\n\n{filler}".encode()
    put(visit, long_txt=long)
    ask(visit, shop, "The door code of the house is 4711.")
    assert visit.page.locator(".card .made button").count() > 1
    visit.page.click(".text [aria-label='Source: long.txt']")
    assert "4711" in visit.page.inner_text("#passage-text")


def test_what_cannot_be_read_or_sent_is_told_and_another_tab_sees_the_rest(
    visitors: Callable[..., Visit], shop: Shop, client: openai.OpenAI
) -> None:
    visit = visitors()
    page = visit.page
    put(visit, picture_png=b"\x89PNG\r\n\x1a\n\0\0")
    assert told(visit)[0].startswith("picture.png: Cannot be read: ")
    refused = {"error": {"message": "the files of this server may have 5 bytes together"}}
    page.route("**/v1/files", lambda route: route.fulfill(status=413, json=refused))
    page.click("#open-tools")
    page.set_input_files("#document-files", {"name": "big.txt", "mimeType": "text/plain", "buffer": b"big"})
    page.wait_for_selector("#documents-wrong >> text=big.txt: The files of this server may have 5 bytes together.")
    assert len(told(visit)) == 1
    page.unroute("**/v1/files")
    page.route("**/v1/vector_stores/*/files", lambda route: route.fulfill(status=503, json=refused))
    page.set_input_files("#document-files", {"name": "late.txt", "mimeType": "text/plain", "buffer": b"late"})
    page.wait_for_selector("#documents-wrong >> text=late.txt")
    page.unroute("**/v1/vector_stores/*/files")
    assert "late.txt" not in {file.filename for file in client.files.list()}, "what is not searched is not left there"
    page.keyboard.press("Escape")
    put(visit, **{"<b>bold<b>_txt": DOOR})
    other = visitors()
    other.page.click("#open-tools")
    other.until(lambda: len(told(other)) == 2)
    assert told(other)[1] == "<b>bold<b>.txt: Ready" and other.page.locator("#document-list b b").count() == 0
    assert [store.name for store in client.vector_stores.list()] == ["Documents"]
    visit.complaints = [words for words in visit.complaints if "413" not in words and "503" not in words]


def test_a_model_writes_no_citation_and_marks_stand_where_they_are_meant(guest: Visit) -> None:
    script = """async ({ text, at }) => {
        const { cited, linker, settle } = await import('/static/tools/citations.js');
        const { show } = await import('/static/markdown.js');
        const sources = [{ key: 'a.txt', file: 'a.txt', page: '', passage: 'The door code is 4711', file_id: 'f' }];
        const cites = at.map((at) => ({ file_id: at < 0 ? 'g' : 'f', filename: 'a.txt', index: Math.abs(at) }));
        const place = document.createElement('div');
        const { written, places } = cited({ text, cites }, sources);
        show(place, written, linker(sources, places));
        settle(place, places);
        return [place.innerText, place.querySelectorAll('button').length, place.innerHTML.includes('\\ue000')];
    }"""

    def shown(text: str, *at: int) -> list[Any]:
        return list(guest.page.evaluate(script, {"text": text, "at": list(at)}))

    assert shown("\ue0000\ue000 It is 4711.") == ["\ufffd0\ufffd It is 4711.", 0, False]
    assert shown("🦙🦙 4711. Yes.", 8) == ["🦙🦙 4711.a.txt Yes.", 1, False], (
        "characters are counted as the server does"
    )
    assert shown("It is 4711.", 11, -11, 99) == ["It is 4711.a.txt", 1, False], "no file that was not found, no place"
    assert shown("It is 4711 [a.txt].", 19)[1:] == [1, False], "what the model has cited itself has one"
    code, count, left = shown("```\nit is 4711.\n```\n", 15)
    assert (code, count, left) == ("it is 4711.a.txt", 1, False), "no mark is left in code"
    link = shown("[It is 4711. So](https://example.org)", 12)
    assert link[1:] == [1, False] and "It is 4711. So" in link[0]
    table = shown("| a | b |\n|---|---|\n| door | 4711 |\n", 35)
    assert table == ["abdoor4711a.txt", 1, False], "in its cell, not in one of its own"


@pytest.mark.parametrize(("theme", "width"), [("light", 390), ("dark", 1200)])
def test_everyone_can_use_them(
    visitors: Callable[..., Visit], shop: Shop, client: openai.OpenAI, theme: str, width: int
) -> None:
    visit = visitors(color_scheme=theme, viewport={"width": width, "height": 800})
    put(visit, **{f"{'long-name-' * 12}_txt": DOOR, "picture_png": b"\x89PNG\r\n\x1a\n\0\0"})
    ask(visit, shop, "The door code of the house is 4711.")
    for where in (".text button", "#open-tools"):
        result = axe.Axe().run(visit.page, options={"resultTypes": ["violations"]})
        assert result.violations_count == 0, f"{where}: {result.generate_report()}"
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
        visit.page.click(where)
        result = axe.Axe().run(visit.page, options={"resultTypes": ["violations"]})
        assert result.violations_count == 0, f"in {where}: {result.generate_report()}"
        visit.page.keyboard.press("Escape")
    said = visit.page.locator("#announcer p").all_text_contents()
    assert any("picture.png could not be read." in words for words in said), said
