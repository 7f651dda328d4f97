"""Questions and answers in everyday words, made from question sets: what to do, how to do it, how people feel.

PIQA (Bisk et al. 2020) gives goals with solutions, WikiHow articles give titles with first steps, SocialIQA (Sap et al.
2019) gives situations with a question. Each becomes what a person would type and what one would answer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ayllu.data.cleaning.dedup import split_key
from ayllu.data.sources.detokenize import truecase
from ayllu.data.sources.everyday import RawText, olmo_items, raw_texts


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """A question with its answer."""

    question: str
    answer: str
    group: str
    """What it is about: the same goal, title or situation stays on one side of the held-out split."""


SOCIAL = "socialiqa/train_mc_5shot"

ANSWER_MAX = 400
"""Characters of an answer; a longer one ends with the last sentence before."""

HELD_BACK = 0.05
"""Share of the WikiHow articles that no dialogue is made from: those that a corpus holds out at up to 5 percent."""

_HOW = (
    "How do I {}?",
    "How can I {}?",
    "How do you {}?",
    "How to {}?",
    "What is a good way to {}?",
    "What is the best way to {}?",
    "Can you tell me how to {}?",
    "Please tell me how to {}.",
    "I want to {}. What should I do?",
    "I would like to {}. How do I do that?",
    "What should I do to {}?",
    "Give me a tip: how can I {}?",
)
_UNSUITABLE_WORDS = (
    r"sex\w* porn\w* erotic\w* nude nudis\w* naked stripper\w* striptease orgasm\w* masturbat\w* ejaculat\w* penis "
    r"vagin\w* breasts? boobs? fetish\w* prostitut\w* fart\w* poop\w* guns? rifles? weapons? bombs? explosives? "
    r"grenades? ammo marijuana weed cannabis cocaine heroin drugs? meth lsd drunk hangover hack\w* hotwire crack\w* "
    r"steal\w* shoplift\w* counterfeit\w* fake\w* cheat\w* spy stalk\w* revenge suicid\w* poison\w*"
)
UNSUITABLE = re.compile(rf"\b(?:{'|'.join(_UNSUITABLE_WORDS.split())})\b", re.IGNORECASE)
"""Goals that a small assistant should not give recipes for, harmless as most of the articles are."""
_MINE = (("yourself", "myself"), ("your", "my"), ("yours", "mine"))
_QUESTION_START = re.compile(
    r"(?:how|what|where|when|which|who|why|can|could|do|does|is|are|should|will)\b", re.IGNORECASE
)
_WHEN = re.compile(r"(when|if|after|before|while) (.+?),? (?:you can|you should)$", re.IGNORECASE)
_OPEN_END = re.compile(
    r",? ?(?:you can|you should|you need to|you must|you could|you may|just|simply|try to)?[ ,.:;!?]*$", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"(])")


def read_piqa(cache: Path) -> Iterator[Answered]:
    """PIQA-train: goals as questions, gold solutions as answers, in a fixed shuffled order.

    Goals that name only a thing are left out.
    """
    items = list(olmo_items(cache, "piqa/train_mc_5shot"))
    verbs = _verbs(item["goal"] for item in items)
    for item in sorted(items, key=lambda item: hash_below(item["goal"], 1 << 62)):
        goal = _spaced(item["goal"])
        answer = _answer(item["sol2" if item["gold"] else "sol1"])
        question = _goal_question(goal, verbs)
        if question and len(answer.split()) >= 4 and not UNSUITABLE.search(question):
            yield Answered(question=truecase(question), answer=truecase(answer), group=goal.lower())


def read_how_to(cache: Path) -> Iterator[Answered]:
    """WikiHow articles of the source everyday-english: titles as questions, first sentences as answers.

    In a fixed shuffled order, without those that a corpus may hold out of the source and without their twins.
    """
    articles = [raw for raw in raw_texts(cache) if raw.is_article and '"' not in raw.title]
    held_back = {_beginning(raw) for raw in articles if _held_back(raw)}
    for raw in articles:
        if UNSUITABLE.search(raw.title) or _held_back(raw) or _beginning(raw) in held_back:
            continue
        title, _, body = raw.document().text.partition("\n\n")
        answer = _shorten(body)
        if len(answer.split()) >= 12 and ": " not in answer:
            yield Answered(question=_ask(title.removeprefix("How to ")), answer=answer, group=raw.group)


def _held_back(raw: RawText) -> bool:
    return split_key("everyday-english", raw.group, "") < HELD_BACK * 2**64


def _beginning(raw: RawText) -> str:
    return raw.body[:80].lower()


def read_social_iqa(cache: Path) -> Iterator[Answered]:
    """SocialIQA-train: a situation and a question about it, answered in a sentence where the answer fits into one.

    In a fixed shuffled order.
    """
    items = [(item, _spaced(item["answer" + "ABC"[item["gold"]]])) for item in olmo_items(cache, SOCIAL)]
    wishes = Counter(_first_word(answer) for item, answer in items if "want to do next" in item["question"])
    # A word that often opens the answer to `what will X want to do` is a verb in its base form.
    verbs = frozenset(word for word, times in wishes.items() if times >= 8 and not word.endswith(("ed", "ing", "ful")))
    for item, gold in sorted(items, key=lambda pair: hash_below(pair[0]["context"], 1 << 62)):
        answer = _social_answer(item["question"], gold.strip(" ."), verbs)
        context = _spaced(item["context"])
        if answer and context.endswith(".") and context.count(" ") >= 4:
            question = re.sub(r"\bOthers\b", "the others", item["question"])
            yield Answered(question=f"{context} {question}", answer=as_sentence(answer), group=context.lower())


def _goal_question(goal: str, verbs: frozenset[str]) -> str | None:
    """What a person would ask who has this goal; None where the goal is only a thing."""
    if len(goal.split()) < 3:
        return None
    if goal.lower().startswith("how to "):
        return _ask(_OPEN_END.sub("", goal[7:]))
    if _QUESTION_START.match(goal) and not _WHEN.match(goal):
        return as_sentence(goal.rstrip(" .?!,"), end="?")
    if match := _WHEN.match(goal):
        return f"What should I do {match[1].lower()} {_my(match[2])}?"
    plain = re.sub(r"^(?:in order )?to ", "", _OPEN_END.sub("", goal), flags=re.IGNORECASE)
    if _first_word(plain) in verbs and "?" not in plain and ". " not in plain:
        return _ask(plain)
    return None


def _ask(phrase: str) -> str:
    """A question for a verb phrase such as `peel a mango`, in one of a dozen wordings chosen by its hash."""
    phrase = phrase.strip(" .?!,;:")
    if phrase[:2] != phrase[:2].upper():
        phrase = phrase[:1].lower() + phrase[1:]
    wording = _HOW[hash_below(phrase, len(_HOW))]
    if "I" in wording.split() or " I " in wording:
        phrase = _my(phrase)
    return wording.format(phrase)


def _my(phrase: str) -> str:
    for yours, mine in _MINE:
        phrase = re.sub(rf"\b{yours}\b", mine, phrase)
    return re.sub(r"\byou are\b", "I am", re.sub(r"\byou\b(?! are)", "I", phrase))


def _verbs(goals: Iterator[str]) -> frozenset[str]:
    """Words that follow `how to` or `to` at the start of several goals."""
    starts = (re.match(r"(?:how )?to (\w+)", goal.strip(), re.IGNORECASE) for goal in goals)
    counts = Counter(match[1].lower() for match in starts if match)
    return frozenset(word for word, times in counts.items() if times >= 2)


def _social_answer(question: str, answer: str, verbs: frozenset[str]) -> str | None:
    """A sentence for an answer that is a fragment; None where its form does not fit the question."""
    if not answer or len(answer.split()) > 14:
        return None
    answer = re.sub(r"^(?:to|will|would|wants? to|wanted to) ", "", answer)
    first = _first_word(answer)
    is_verb = first in verbs
    if is_verb:
        answer = answer[:1].lower() + answer[1:]
    who = question.rstrip("?").split()
    if match := re.match(r"How would (\w+) feel", question):
        return None if is_verb or first.endswith("s") else f"{_name(match[1])} would feel {answer}"
    if match := re.match(r"How would you describe (\w+)", question):
        return None if is_verb else f"I would say that {match[1]} is {answer}"
    if match := re.match(r"What will (\w+) want to do next", question):
        return f"{_name(match[1])} will want to {answer}" if is_verb else None
    if match := re.match(r"What does (\w+) need to do before", question):
        return f"{match[1]} needs to {answer} first" if is_verb else None
    if match := re.match(r"What will happen to (\w+)", question):
        return f"{_name(match[1])} will {answer}" if is_verb else None
    if re.match(r"Why did (\w+) do this", question) and len(who) == 5:
        return f"{who[2]} wanted to {answer}" if is_verb else None
    return None


def _name(word: str) -> str:
    return "the others" if word == "Others" else word


def _first_word(text: str) -> str:
    match = re.match(r"\W*(\w+)", text)
    return match[1].lower() if match else ""


def _answer(text: str) -> str:
    """A solution as an answer: gaps in lists become commas, sentences get their capitals and full stop."""
    text = re.sub(r" {3,}", ", ", text.replace("\r", " ").strip(" ,;"))
    text = re.sub(r"(?<=[a-z])\.(?=[A-Z])", ". ", _spaced(text))
    return _shorten(as_sentence(text))


def _spaced(text: str) -> str:
    text = re.sub(r" +([,.;:!?])", r"\1", " ".join(text.split()))
    return re.sub(r"\bi\b(?=[ ']|$)", "I", text)


def as_sentence(text: str, end: str = ".") -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?", '."', ".)")) else text.rstrip(",;: ") + end


def _shorten(text: str) -> str:
    """The sentences that fit into `ANSWER_MAX` characters, at least one."""
    kept = ""
    for sentence in _SENTENCE.split(text):
        if kept and len(kept) + len(sentence) >= ANSWER_MAX:
            break
        kept = f"{kept} {sentence}".strip()
    return kept


def hash_below(text: str, count: int) -> int:
    """A number below `count` that depends on the text alone."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) % count
