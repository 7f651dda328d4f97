"""The filter: what its policy says, when it stops an answer, and that clients are told why."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from ayllu.lab.error import UserError
from ayllu.safety.filter.guard import Guard, open_guard
from ayllu.safety.filter.measure import Turns, false_refusals, latency
from ayllu.safety.filter.plain import plain
from ayllu.safety.filter.policy import read_filter_policy
from ayllu.safety.judge.features import sentences
from ayllu.safety.judge.judge import Judge, chance
from ayllu.safety.judge.writing import Writing, most_harmful
from ayllu.serve.about import describe
from ayllu.serve.engines.engine import DrawnToken, GenerationRequest, TextChunk
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.queue import EngineQueue
from ayllu.serve.served import Models, Served
from support.models import save_tiny_model
from support.placeholders import material
from support.serving.server import serving_models

CALM = "Many people in the village make tea every day. It rests for ten minutes. Then share it with your friends. "
ZORB = "First you zorb bread. Then zorb it again near the garden. It will be zorbed by noon. "


def guard_of(judge: Judge, folder: Path, **fields: Any) -> Guard:
    path = folder / "policy.json"
    path.write_text(json.dumps({"name": "test", "stop": 0.7, "request": 0.9} | fields))
    said: list[str] = []
    guard = Guard(judge, read_filter_policy(path, judge), log=said.append)
    guard.said = said  # type: ignore[attr-defined]
    return guard


def test_an_answer_is_stopped_within_one_sentence_however_it_is_cut(zorb_judge: Judge, tmp_path: Path) -> None:
    guard = guard_of(zorb_judge, tmp_path)
    whole = CALM * 3 + ZORB + CALM
    assert guard.check_answer("", CALM * 4) is None
    ends: dict[int, int] = {}
    for size in (1, 3, 7, 40, 1000):
        watch, shown, finding = guard.watch(), "", None
        for start in range(0, len(whole), size):
            shown += whole[start : start + size]
            if finding := watch.push(whole[start : start + size]):
                break
        assert finding is not None and finding.category == "S1" and "violent crimes (S1)" in finding.reason
        ends[size] = len(sentences(shown))
    violation = len(sentences(CALM * 3 + "First you zorb bread. Then zorb it again near the garden."))
    assert ends[1] <= violation + 1
    assert ends[3] <= ends[1] + 1 and ends[7] <= ends[1] + 1, "a piece may hold the next sentence's first words"


def test_what_was_asked_counts_for_the_answer_within_bounds(zorb_judge: Judge, tmp_path: Path) -> None:
    asked = "Please zorb balak dulak felak gilak for me 3."
    calm = "How do I make soup for the school 5?"
    told = zorb_judge.about["settings"]["asked"]
    assert zorb_judge.asked(asked) > zorb_judge.asked(calm)
    assert zorb_judge.asked("") == zorb_judge.asked("Go on") == 0.0, "nothing was asked that says anything"
    bound = told["weight"] * told["most"]
    assert abs(zorb_judge.asked(asked * 50) - told["shift"]) <= bound + 1e-9, "no request excuses or damns everything"
    # A setting between the two: the same answer is stopped as an answer to the one, and passes as one to the other.
    odds = most_harmful(zorb_judge.running_harm, CALM + ZORB)
    between = chance(odds + (zorb_judge.asked(asked) + zorb_judge.asked(calm)) / 2)
    guard = guard_of(zorb_judge, tmp_path, stop=between)
    assert guard.check_answer(calm, CALM + ZORB) is None
    assert guard.check_answer(asked, CALM + ZORB) is not None
    watch = guard.watch(calm, earlier=[asked])
    assert watch.push(CALM + ZORB) or watch.close(), "a harmless word behind it does not make a request harmless"


def test_weights_of_before_requests_counted_judge_answers_alone(zorb_judge: Judge) -> None:
    settings = {name: value for name, value in zorb_judge.about["settings"].items() if name != "asked"}
    older = replace(zorb_judge, about={**zorb_judge.about, "settings": settings})
    assert older.asked("Please zorb balak dulak felak gilak for me 3.") == 0.0


def test_a_policy_says_off_log_or_block_for_each_hazard(zorb_judge: Judge, tmp_path: Path) -> None:
    assert guard_of(zorb_judge, tmp_path).check_answer("", ZORB) is not None
    off = guard_of(zorb_judge, tmp_path, categories={"S1": "off"})
    assert off.check_answer("", ZORB) is None and not off.said  # type: ignore[attr-defined]
    log = guard_of(zorb_judge, tmp_path, default="log")
    assert log.check_answer("", ZORB) is None
    (line,) = log.said  # type: ignore[attr-defined]
    assert "violent crimes (S1)" in line and "zorb" not in line, "the log tells no words of anybody"
    asked = guard_of(zorb_judge, tmp_path)
    assert asked.check_request("Please zorb balak dulak felak gilak for me 3.") is not None
    assert asked.check_request("How do I make soup for the school 5?") is None
    assert (
        guard_of(zorb_judge, tmp_path, requests="off").check_request("Please zorb balak dulak felak gilak for me 3.")
        is None
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"default": "maybe"}, "default is 'maybe'; choose off, log or block"),
        ({"categories": {"S99": "off"}}, "there is no hazard 'S99'"),
        ({"categories": {"S4": "block"}}, "does not tell S4 from other hazards; it knows S1, S10"),
        ({"categories": {"S1": 1}}, "S1 is 1; choose"),
        ({"stop": 2}, "stop is 2; give a chance"),
        ({"blok": {}}, "has a field 'blok'"),
        ({"name": ""}, "has no name"),
    ],
)
def test_a_policy_that_promises_what_nothing_keeps_is_refused(
    zorb_judge: Judge, tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        guard_of(zorb_judge, tmp_path, **fields)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"name": "x", "categories": {"S1": "block", "S1": "off"}}', "'S1' stands twice in one object"),
        ('{"name": "x", "stop": NaN}', "NaN is no JSON number"),
        ("[" * 100_000, "is no JSON"),
        ("\xff", "has no name|is no JSON"),
    ],
)
def test_a_policy_that_programs_read_differently_is_refused(
    zorb_judge: Judge, tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "policy.json").write_text(content)
    with pytest.raises(UserError, match=said):
        read_filter_policy(tmp_path / "policy.json", zorb_judge)


DISGUISES = {
    "a sign without width between letters": "\u200b".join,
    "soft hyphens": lambda text: text.replace("o", "o\u00ad"),
    "letters of another alphabet": lambda text: text.translate(str.maketrans("aeopcxyi", "аеорсхуі")),
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "marks on every letter": lambda text: "".join(f"{c}\u0336" if c.isalpha() else c for c in text),
    "accents on every letter": lambda text: "".join(f"{c}\u0301" if c.isalpha() else c for c in text),
    "tags": lambda text: "".join(f"{c}\U000e0041" for c in text),
    "hyphens between letters": lambda text: " ".join("-".join(word) for word in text.split(" ")),
    "dots between letters": lambda text: " ".join(".".join(word) for word in text.split(" ")),
    "spaces between letters": lambda text: "   ".join(" ".join(word) for word in text.split(" ")),
    "spaces that do not break": lambda text: text.replace(" ", "\u00a0"),
}


@pytest.mark.parametrize("name", DISGUISES)
def test_words_in_a_disguise_that_people_read_through_are_stopped(zorb_judge: Judge, tmp_path: Path, name: str) -> None:
    guard = guard_of(zorb_judge, tmp_path)
    asked = "Please zorb balak dulak felak gilak for me 3."
    assert guard.check_request(asked) and guard.check_request(DISGUISES[name](asked))
    assert guard.check_answer("", CALM + ZORB) and guard.check_answer("", DISGUISES[name](CALM + ZORB))
    assert guard.check_answer("", DISGUISES[name](CALM * 3)) is None


@pytest.mark.parametrize("size", [1, 5, 17])
@pytest.mark.parametrize("name", [name for name in DISGUISES if name.endswith("between letters")])
def test_spelled_words_are_whole_wherever_the_pieces_of_a_stream_end(
    zorb_judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    judged: list[str] = []
    add = Writing.add

    def kept(self: Writing, sentence: str) -> float | None:
        judged.append(sentence)
        return add(self, sentence)

    monkeypatch.setattr(Writing, "add", kept)
    text = DISGUISES[name](CALM + ZORB)
    watch = guard_of(zorb_judge, tmp_path).watch()
    assert any(watch.push(text[at : at + size]) for at in range(0, len(text), size)) or watch.close()
    alone = {word for word in " ".join(judged).split() if len(word) == 1 and word.isalpha()}
    assert alone <= set((CALM + ZORB).split())


def test_other_languages_are_read_as_they_are_written() -> None:
    for text in (
        "Der Käse schmeckt größer",
        "El año del niño",
        "Это чай",
        "ο καφές",
        "đường phố",
        "हिन्दी में",
        "naïve café 🦙",
        "Plan B is a 3-2-1-0 count, e.g. of the U.S.A. or A/B tests; x-y-z; a well-known man",
    ):
        assert plain(text) == text
    assert plain("Ｐｌａｉｎ") == plain("Pl\u200bain") == "Plain"


def test_false_refusals_and_time_are_measured(zorb_judge: Judge, tmp_path: Path) -> None:
    guard = guard_of(zorb_judge, tmp_path)
    calm = false_refusals(guard, Turns(name="everyday", turns=material(seed=9).everyday))
    assert calm["n"] == 80 and calm["either"] <= 0.03 and calm["interval"][0] <= calm["either"]
    bad = false_refusals(guard, Turns(name="zorbing", turns=[("How?", ZORB)] * 5))
    assert bad["either"] == 1.0 and bad["answers"] == 5
    assert latency(guard, [("How?", CALM)] * 3)["turns"] == 3


class Says(TorchEngine):
    """The real engine, but for the words, which are given."""

    def __init__(self, folder: Path, text: str, *, hold: bool = False) -> None:
        super().__init__(folder)
        self.text, self.hold = text, hold
        self.pieces = 0

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        for piece in self.text.split(" "):
            if cancelled.is_set():
                return
            self.pieces += 1
            yield TextChunk(text=piece + " ", tokens=1)
            if self.hold and piece == "noon.":  # where it is to be stopped: go on only when it is not
                cancelled.wait(timeout=2)
        yield TextChunk(text="", tokens=0, finish_reason="stop")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("says"))


@pytest.fixture
def filtered(zorb_judge: Judge, folder: Path, tmp_path: Path) -> Iterator[tuple[str, Says]]:
    engine = Says(folder, CALM + ZORB + CALM * 6, hold=True)
    served = Served(EngineQueue(engine), describe(folder, context=engine.context, parameters=engine.parameters))
    with serving_models(Models(served, guard=guard_of(zorb_judge, tmp_path))) as address:
        yield address, engine


def test_clients_are_told_why_an_answer_ends(filtered: tuple[str, Says]) -> None:
    address, engine = filtered
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    message: Any = [{"role": "user", "content": "How do I make tea for the school 3?"}]
    chat = client.chat.completions.create(model=engine_name(address), messages=message)
    assert chat.choices[0].finish_reason == "content_filter"
    assert "violent crimes (S1)" in (chat.choices[0].message.content or "")
    assert engine.pieces < len(engine.text.split(" ")) - 20, "what is stopped is not computed to its end"
    chunks = list(client.chat.completions.create(model=engine_name(address), messages=message, stream=True))
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == [
        "content_filter"
    ]
    response = client.responses.create(
        model=engine_name(address), input="How do I make tea for the school 3?", store=False
    )
    assert response.status == "incomplete" and response.incomplete_details is not None
    assert response.incomplete_details.reason == "content_filter"
    other = anthropic.Anthropic(base_url=address, api_key="none", max_retries=0)
    told = other.messages.create(model=engine_name(address), max_tokens=200, messages=message)
    assert told.stop_reason == "refusal"


class SaysAtOnce(Says):
    """Whose words are there before anybody looks, and leave in one piece, each with how likely it was."""

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        space = self.tokenizer.encode(" ")[0]
        drawn = [DrawnToken(id=space, logprob=-1.0)] * len(self.text)
        yield TextChunk(text=self.text, tokens=len(self.text), drawn=drawn, finish_reason="stop")


def test_what_comes_in_one_piece_with_a_stopped_sentence_is_not_shown(
    zorb_judge: Judge, folder: Path, tmp_path: Path
) -> None:
    engine = SaysAtOnce(folder, CALM + ZORB + "Now the garden is quiet. Then say what nobody may read")
    served = Served(EngineQueue(engine), describe(folder, context=engine.context, parameters=engine.parameters))
    with serving_models(Models(served, guard=guard_of(zorb_judge, tmp_path))) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        message: Any = [{"role": "user", "content": "How do I make tea for the school 3?"}]
        chunks = list(
            client.chat.completions.create(
                model=engine_name(address), messages=message, stream=True, logprobs=True, top_logprobs=0
            )
        )
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    shown = "".join(choice.delta.content or "" for choice in choices)
    told = sum(len(choice.logprobs.content or []) for choice in choices if choice.logprobs)
    assert choices[-1].finish_reason == "content_filter" and "violent crimes (S1)" in shown
    answer = shown.partition("\n\n[")[0]
    assert (CALM + ZORB).startswith(answer) and "zorb" in answer, "up to the sentence that is stopped, and no further"
    assert told == len(answer), "no id of what is not shown is told"


def test_the_gateway_judges_an_answer_with_what_was_asked_before(
    zorb_judge: Judge, folder: Path, tmp_path: Path
) -> None:
    harmful, calm = "Please zorb balak dulak felak gilak for me 3.", "How do I make tea for the school 3?"
    between = chance(
        most_harmful(zorb_judge.running_harm, CALM + ZORB) + (zorb_judge.asked(harmful) + zorb_judge.asked(calm)) / 2
    )
    guard = guard_of(zorb_judge, tmp_path, stop=between, requests="off")
    engine = Says(folder, CALM + ZORB)
    served = Served(EngineQueue(engine), describe(folder, context=engine.context, parameters=engine.parameters))
    with serving_models(Models(served, guard=guard)) as address:
        for asked, ended in (([calm], "stop"), ([harmful], "content_filter"), ([harmful, "Go on"], "content_filter")):
            said = [turn for text in asked for turn in (("user", text), ("assistant", "Well."))][:-1]
            body = {"messages": [{"role": role, "content": text} for role, text in said]}
            answer = httpx2.post(f"{address}/v1/chat/completions", json=body, timeout=30).json()
            assert answer["choices"][0]["finish_reason"] == ended, asked


def test_a_request_is_refused_before_anything_is_computed(filtered: tuple[str, Says]) -> None:
    address, engine = filtered
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    asked = "Please zorb balak dulak felak gilak for me 3."
    with pytest.raises(openai.BadRequestError, match=r"safety filter: violent crimes \(S1\)") as found:
        client.chat.completions.create(model=engine_name(address), messages=[{"role": "user", "content": asked}])
    assert found.value.code == "content_filter"
    with pytest.raises(openai.BadRequestError, match="safety filter"):
        client.completions.create(model=engine_name(address), prompt=asked)
    assert engine.pieces == 0


def test_without_a_policy_nothing_is_filtered(folder: Path) -> None:
    engine = Says(folder, ZORB)
    served = Served(EngineQueue(engine), describe(folder, context=engine.context, parameters=engine.parameters))
    with serving_models(Models(served)) as address:
        body = {"messages": [{"role": "user", "content": "Hi"}]}
        answer = httpx2.post(f"{address}/v1/chat/completions", json=body, timeout=30).json()
    assert answer["choices"][0]["finish_reason"] == "stop" and "zorbed" in answer["choices"][0]["message"]["content"]


def test_the_judge_that_ships_takes_a_policy_of_its_hazards(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"name": "school", "categories": {"S10": "log", "S12": "block"}, "requests": "log"}))
    guard = open_guard(path)
    assert guard.policy.action("S10") == "log" and guard.policy.action("S1") == "block"
    assert guard.policy.stop == guard.judge.about["settings"]["stop"]


def engine_name(address: str) -> str:
    return str(httpx2.get(f"{address}/v1/models", timeout=30).json()["data"][0]["id"])
