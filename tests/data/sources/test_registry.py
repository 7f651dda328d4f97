"""The named sources: each gives what the licence page says it does, in natural text, out of the pinned archive."""

import re
from functools import cache

import pytest

from ayllu.data.document import Document
from ayllu.data.sources.everyday import OLMO, raw_texts
from ayllu.data.sources.registry import SOURCES, find_source
from ayllu.lab.error import UserError
from support.archives import cache_with


@cache
def documents(name: str) -> list[Document]:
    source = find_source(name)
    return list(source.read(cache_with(*source.archives)))


def test_everyday_english_is_whole_articles_and_scenes(everyday: list[Document]) -> None:
    assert len({d.id for d in everyday}) == len(everyday)
    articles = [d for d in everyday if d.id.startswith("article-")]
    scenes = [d for d in everyday if d.id.startswith("scene-")]
    # A fair sample: about three articles for a scene.
    assert 2 < len(articles) / len(scenes) < 4
    for d in everyday:
        title, body = d.text.split("\n\n")
        assert title[0].isupper()
        assert len(body.split()) >= 5
    assert all(d.text.startswith("How to ") for d in articles)
    # An article's body starts a sentence, and does not start with the title again.
    assert sum(d.text.split("\n\n")[1][0].isupper() for d in articles) > 0.97 * len(articles)


def test_scenes_do_not_repeat_their_neighbours() -> None:
    scenes = [raw for raw in raw_texts(cache_with(OLMO)) if not raw.is_article]
    sentences: dict[tuple[str, str], int] = {}
    for scene in scenes:
        for sentence in set(re.split(r"(?<=\.) ", scene.body)):
            if len(sentence) > 60:
                sentences[scene.group, sentence] = sentences.get((scene.group, sentence), 0) + 1
    repeated = sum(count > 1 for count in sentences.values())
    assert 8000 < len(scenes) < 10_000
    assert repeated < 0.02 * len(sentences)


@pytest.mark.parametrize(
    ("name", "count", "phrase"),
    [
        ("sotu", 3503, "Fellow-Citizens of the Senate and House of Representatives"),
        ("moby-dick", 372, "Call me Ishmael. Some years ago—never mind how long precisely"),
        ("austen", 1254, "It is a truth universally acknowledged, that a single man in possession of a good fortune"),
        ("world-english-bible", 1911, "In the beginning, God created the heavens and the earth."),
        ("wordnet", 9806, "Dog, domestic dog, Canis familiaris (noun): a member of the genus Canis"),
        ("boolq-passages", 7929, "Persian language\n\nPersian, also known by its endonym Farsi"),
    ],
)
def test_the_other_sources(name: str, count: int, phrase: str) -> None:
    found = documents(name)
    assert abs(len(found) - count) <= count // 100
    assert len({d.id for d in found}) == len(found)
    assert any(phrase in d.text for d in found)
    markup = re.compile(r"<[a-z/][^>]*>|strong:|osisID|``|\x00|_[a-z]+_|\|\s*[a-z]")
    assert sum(bool(markup.search(d.text)) for d in found) <= 0.002 * len(found)
    # Books come by the chapter in pieces, not as one giant document.
    assert max(len(d.text) for d in found) < 12_000


def test_austen_is_six_novels_by_chapter() -> None:
    chapters = {d.group for d in documents("austen")}
    assert len(chapters) == 269
    assert {c.rsplit("-", 1)[0] for c in chapters} == {
        "emma", "mansfield-park", "northanger-abbey", "persuasion", "pride-and-prejudice", "sense-and-sensibility",
    }  # fmt: skip


def test_bible_verses_read_in_order() -> None:
    genesis = next(d.text for d in documents("world-english-bible") if d.id == "Gen.1-1")
    assert genesis.startswith("In the beginning, God created")
    assert genesis.index("God called the light") < genesis.index("second day") < genesis.index("third day")
    matthew = next(d.text for d in documents("world-english-bible") if d.id == "Matt.1-1")
    assert matthew.startswith("The book of the genealogy of Jesus Christ, the son of David, the son of Abraham.")


def test_every_source_says_its_licence_and_what_it_needs() -> None:
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.licence
        assert source.description.endswith(".")
        assert all(re.fullmatch(r"[0-9a-f]{64}", archive.sha256) for archive in source.archives)
    assert [name for name, source in SOURCES.items() if source.required] == ["everyday-english"]


def test_an_unknown_source_names_the_known_ones() -> None:
    with pytest.raises(
        UserError, match=r"no source is called poems: choose among everyday-english, .* or say folder:PATH"
    ):
        find_source("poems")
