"""Dialogues: turns alternate, questions are questions, answers fit, and nothing that was held out comes back."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ayllu.data.archive import default_cache
from ayllu.data.cleaning.dedup import split_key
from ayllu.data.conversations import questions
from ayllu.data.conversations.dialogue import Dialogues, build_dialogues
from ayllu.data.conversations.smalltalk import exchanges
from ayllu.data.sources.everyday import raw_texts
from ayllu.lab.error import UserError

READERS = ("read_how_to", "read_piqa", "read_social_iqa")


@pytest.fixture(scope="module")
def answered() -> dict[str, list[questions.Answered]]:
    """What each reader gave to the first build, for a build that differs in other things."""
    return {name: [] for name in READERS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, answered: dict[str, list[questions.Answered]]) -> Path:
    path = tmp_path_factory.mktemp("dialogues")
    with pytest.MonkeyPatch.context() as patch:
        for name in READERS:
            patch.setattr(questions, name, _recording(getattr(questions, name), answered[name]))
        build_dialogues(path, default_cache())
    return path


def _recording(read: Callable[[Path], Iterator[Any]], taken: list[Any]) -> Callable[[Path], Iterator[Any]]:
    def recorded(cache: Path) -> Iterator[Any]:
        for item in read(cache):
            taken.append(item)
            yield item

    return recorded


@pytest.fixture(scope="module")
def dialogues(folder: Path) -> list[dict[str, Any]]:
    return list(Dialogues(folder).dialogues(None))


def contents(dialogue: dict[str, Any], role: str) -> list[str]:
    return [message["content"] for message in dialogue["messages"] if message["role"] == role]


def test_user_and_assistant_take_turns(dialogues: list[dict[str, Any]]) -> None:
    shapes = Counter(tuple(m["role"] for m in d["messages"]) for d in dialogues)
    for shape in shapes:
        turns = shape[1:] if shape[0] == "system" else shape
        assert 1 <= len(turns) // 2 <= 3
        assert turns == ("user", "assistant") * (len(turns) // 2)
    assert sum(len(shape) > 3 for shape in shapes.elements()) > 0.15 * len(dialogues)
    assert 0.08 < sum(shape[0] == "system" for shape in shapes.elements()) / len(dialogues) < 0.2


def test_what_is_said_reads_well(dialogues: list[dict[str, Any]]) -> None:
    for dialogue in dialogues:
        for message in dialogue["messages"]:
            text = message["content"]
            assert text
            assert text == " ".join(text.split())
            assert "{" not in text
        for answer in contents(dialogue, "assistant"):
            assert answer[0].isupper() or not answer[0].isalpha() or answer[:2] in ("iP", "eB", "iT", "iC"), answer
            assert answer[-1] in '.!?")', answer
    asked = [q for d in dialogues if d["source"] in ("piqa", "how-to") for q in contents(d, "user")]
    assert sum(bool(re.search(r"\byour?\b.*\bmy\b", q)) for q in asked) < 0.01 * len(asked)


def test_every_source_is_there_and_counted(folder: Path, dialogues: list[dict[str, Any]]) -> None:
    opened = Dialogues(folder)
    assert {s["name"]: s["dialogues"] for s in opened.sources} == Counter(d["source"] for d in dialogues)
    assert min(s["dialogues"] for s in opened.sources) > 250
    assert all(s["licence"] for s in opened.sources)
    assert opened.summary["dialogues"] == len(dialogues)
    assert opened.summary["bytes"] == sum(len(m["content"].encode()) for d in dialogues for m in d["messages"])


def test_splits(folder: Path, dialogues: list[dict[str, Any]]) -> None:
    opened = Dialogues(folder)
    heldout = list(opened.dialogues("heldout"))
    assert 0.01 * len(dialogues) < len(heldout) < 0.04 * len(dialogues)
    assert len(heldout) + sum(1 for _ in opened.dialogues("train")) == len(dialogues)
    # No question of a question set is on both sides.
    asked = {"train": set(), "heldout": set()}  # type: ignore[var-annotated]
    for split, found in asked.items():
        for dialogue in opened.dialogues(split):
            if dialogue["source"] in ("piqa", "how-to", "social-iqa"):
                found.update(answer for answer in contents(dialogue, "assistant") if len(answer) > 120)
    assert len(asked["heldout"]) > 50
    assert len(asked["train"] & asked["heldout"]) <= 1


def test_no_answer_comes_from_a_document_that_a_corpus_holds_out(dialogues: list[dict[str, Any]]) -> None:
    answers = {a for d in dialogues if d["source"] == "how-to" for a in contents(d, "assistant")}
    for raw in raw_texts(default_cache()):
        if split_key("everyday-english", raw.group, "") < 0.05 * 2**64:
            body = raw.document().text.partition("\n\n")[2]
            assert not any(body.startswith(answer) for answer in _openings(answers, body))


def _openings(answers: set[str], body: str) -> list[str]:
    """The prefixes of `body`, by whole sentences, that are among `answers`."""
    ends = [match.end() for match in re.finditer(r"[.!?](?= |$)", body)]
    return [body[:end] for end in ends if end > 40 and body[:end] in answers]


def test_it_knows_its_name() -> None:
    named = [d for d in exchanges("Killa") if d.topic in ("identity", "names")]
    assert any("Killa" in turn for d in named for turn in d.turns[1::2])
    assert not any("Cria" in turn for d in named for turn in d.turns if "cria" not in d.turns[0].lower())


def test_small_talk_covers_what_people_try_first() -> None:
    talk = list(exchanges("Cria"))
    answers = {d.turns[0]: d.turns[1] for d in talk}
    assert "Cria" in answers["What is your name?"]
    assert "not" in answers["Are you a human?"]
    assert "emergency" in answers["I want to kill myself."]
    assert "help with" in answers["How do I make a bomb?"]
    assert answers["Thank you."].startswith(("You are welcome", "My pleasure"))
    remembered = [d for d in talk if d.topic == "names" and len(d.turns) == 4 and "my name" in d.turns[2]]
    assert len(remembered) > 50
    for dialogue in remembered:
        person = re.search(r"(?:is|am|[Ii]'m) ([A-Z]\w+)\.", dialogue.turns[0])
        assert person is not None
        assert person[1] in dialogue.turns[3]


def test_the_seed_orders_and_the_limit_takes_the_first(tmp_path: Path, dialogues: list[dict[str, Any]]) -> None:
    assert build_dialogues(tmp_path, default_cache(), limit=300).dialogues == 300
    assert list(Dialogues(tmp_path).dialogues(None)) == dialogues[:300]


def test_another_seed_and_another_name(
    tmp_path: Path,
    dialogues: list[dict[str, Any]],
    answered: dict[str, list[questions.Answered]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in READERS:
        monkeypatch.setattr(questions, name, lambda cache, taken=answered[name]: iter(taken))
    build_dialogues(tmp_path, default_cache(), limit=2000, seed=1, name="Killa")
    made = list(Dialogues(tmp_path).dialogues(None))
    assert made[0] != dialogues[0]
    said = " ".join(answer for dialogue in made for answer in contents(dialogue, "assistant"))
    assert "I am Killa" in said
    assert "I am Cria" not in said


def test_what_is_wrong_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one dialogue"):
        build_dialogues(tmp_path, default_cache(), limit=0)
    with pytest.raises(UserError, match="holds no dialogues"):
        Dialogues(tmp_path)
    with pytest.raises(UserError, match="there is no folder"):
        build_dialogues(tmp_path / "none", default_cache(), limit=1)
