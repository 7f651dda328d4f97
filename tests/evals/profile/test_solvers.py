"""Programs that read a question and nothing else find the answer that its generator states."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable

import pytest

from ayllu.evals.profile.check import is_right
from ayllu.evals.profile.generators.facts import CAPITALS, ELEMENTS
from ayllu.evals.profile.item import ProfileItem, make_item
from ayllu.evals.profile.rows import ROWS

EACH = 8
"""Items of each level; 150 of them, 2,100 of each generator, were solved too."""
SYMBOLS, NAMES = dict(ELEMENTS), [name for name, _ in ELEMENTS]


def items(row: str, generator: str, seed: str = "solved") -> list[ProfileItem]:
    function, shared = ROWS[row].generators[generator], ROWS[row].shared
    return [
        make_item(row, generator, function, level, number, seed, shared=shared)
        for level in ROWS[row].levels
        for number in range(EACH)
    ]


def numbers(text: str) -> list[int]:
    return [int(found) for found in re.findall(r"-?\d+", text)]


def expression(item: ProfileItem) -> str:
    text = item.question.removeprefix("What is ").partition("?")[0]
    assert re.fullmatch(r"[\d+×() -]+", text)
    return str(eval(text.replace("×", "*")))


def capitals(item: ProfileItem) -> str:
    known = dict(CAPITALS)
    if found := re.match(r"What is the capital of (.+)\?", item.question):
        return known[found[1]]
    return "".join(known[each][-1] for each in item.question.partition("order: ")[2].partition(".")[0].split(", "))


def elements(item: ProfileItem) -> str:
    if found := re.search(r"symbol of (\w+)\?", item.question):
        return SYMBOLS[found[1]]
    named = re.findall(r"[a-z]+", item.question.partition("of ")[2].removeprefix("the atomic numbers of "))
    return str(sum(NAMES.index(name) + 1 for name in named if name in NAMES))


def story(item: ProfileItem) -> str:
    owner: dict[str, str] = {}
    for sentence in item.question.split(". "):
        if found := re.match(r"(\w+) (?:has|gives) the (\w+)(?: to (\w+))?$", sentence):
            assert found[3] is None or owner[found[2]] == found[1]
            owner[found[2]] = found[3] or found[1]
    return owner[re.search(r"Who has the (\w+) now", item.question)[1]]


def agreement(item: ProfileItem) -> str:
    singular, plural = re.search(r'"(\w+)" or "(\w+)"', item.question).groups()
    words = re.search(r'"([^"]+) \.\.\."', item.question)[1].lower().split()
    nouns = [after for before, after in itertools.pairwise(words) if before == "the"]
    open_nouns = nouns[: len(nouns) - (len(words) - (3 * len(nouns) - 1))]
    return plural if open_nouns[-1] in ("men", "women", "dogs", "children", "teachers") else singular


def series(item: ProfileItem) -> str:
    """Of each number of interleaved series the lowest degree that explains all that is shown."""
    shown = numbers(item.question.partition("?")[2].partition("...")[0])
    found = set()
    for count in range(1, 6):
        run = shown[-count::-count][::-1]
        differences = [run]
        while len(differences[-1]) > 2 and len(set(differences[-1])) > 1:
            differences.append([b - a for a, b in itertools.pairwise(differences[-1])])
        if len(set(differences[-1])) == 1 and len(differences[-1]) > 2:
            found.add(str(sum(row[-1] for row in differences)))
    return item.answer if item.answer in found else ""


def matrix(item: ProfileItem) -> str:
    rows = [line.split(" | ") for line in item.question.split("\n")[1:4]]
    answer = ""
    for place in range(len(rows[0][0])):
        (a, b, c), (d, e, f), (g, h) = [[int(cell[place]) for cell in row if cell != "?"] for row in rows]
        fits = set()
        if a == b == c and d == e == f and g == h:
            fits.add(h)
        if (b - a) % 10 == (c - b) % 10 == (e - d) % 10 == (f - e) % 10 == (h - g) % 10:
            fits.add((h + h - g) % 10)
        if [d, e, f] == [b, c, a] and [g, h] == [c, a]:
            fits.add(b)
        if (a + b) % 10 == c and (d + e) % 10 == f:
            fits.add((g + h) % 10)
        wanted = int(item.answer[place])
        answer += str(wanted if wanted in fits else "?")
    return answer


def updating(item: ProfileItem) -> str:
    values: dict[str, int] = {}
    for sentence in item.question.split(". "):
        if found := re.match(r"(\w) is (\d+)$", sentence):
            values[found[1]] = int(found[2])
        elif found := re.match(r"(\w) goes (up|down) by (\d+)$", sentence):
            values[found[1]] += int(found[3]) * (1 if found[2] == "up" else -1)
    return str(values[re.search(r"What is (\w) now", item.question)[1]])


def told_signs(item: ProfileItem) -> list[str]:
    return item.question.partition(": ")[2].partition(".")[0].split()


def told_value(item: ProfileItem) -> str:
    key = re.search(r"What does (\w+) mean", item.question)[1]
    return re.search(rf"\b{key} means (\w+)\.", item.question)[1]


def password(item: ProfileItem) -> str:
    person = re.search(r"password of (\w+)\?", item.question)[1]
    return re.search(rf"password of {person} is (\w+)\.", item.before)[1]


def place(item: ProfileItem) -> str:
    person = re.search(r"Where is (\w+)\?", item.question)[1]
    found = re.search(rf"\b{person} is in the (\w+)\.", item.question)
    return found[1] if found else "unknown"


def corrected(item: ProfileItem) -> str:
    thing = re.search(r"number of the (\w+)\?", item.question)[1]
    told = [re.search(rf"number of the {thing} is (\d+)", text) for role, text in item.turns if role == "user"]
    return [found[1] for found in told if found][-1]


def corrected_often(item: ProfileItem) -> str:
    said = [text for role, text in item.turns if role == "user"]
    return re.search(r"in the (\w+)\.$", said[-1])[1]


def renamed(item: ProfileItem) -> str:
    meaning = {int(a): int(b) for a, b in re.findall(r"(\d) means (\d)", item.question)}
    return str(sum(meaning[term] for term in numbers(item.question.partition("What is ")[2])))


def swapped(item: ProfileItem) -> str:
    """What the thing is known to be, in the words of the game."""
    known = {"ice": "cold", "fire": "hot", "an elephant": "big", "an ant": "small", "a baby": "young"}
    known |= {"a grandmother": "old", "the sea": "wet", "a desert": "dry"}
    thing = re.search(r"is ((?:an? |the )?\w+) \w+ or \w+\?", item.question)[1]
    return dict(re.findall(r'"(\w+)" means (\w+)', item.question))[known[thing]]


SOLVERS: dict[str, Callable[[ProfileItem], str]] = {
    "mathematics/addition": expression,
    "mathematics/multiplication": expression,
    "mathematics/expression": expression,
    "knowledge/capitals": capitals,
    "knowledge/elements": elements,
    "reading_writing/story": story,
    "reading_writing/agreement": agreement,
    "reading_writing/backwards": lambda item: re.search(r'"(\w+)"', item.question)[1][::-1],
    "on_the_spot_reasoning/series": series,
    "on_the_spot_reasoning/matrix": matrix,
    "working_memory/digits_backwards": lambda item: " ".join(reversed(told_signs(item))),
    "working_memory/updating": updating,
    "working_memory/sorting": lambda item: " ".join(sorted(told_signs(item))),
    "long_term_storage/told_before": password,
    "long_term_retrieval/associates": told_value,
    "speed/larger": lambda item: str(max(numbers(item.question))),
    "speed/same": lambda item: "yes" if len(set(re.findall(r'"(\w+)"', item.question))) == 1 else "no",
    "speed/copying": lambda item: re.search(r"letter (\w)\.", item.question)[1],
    "knowing_limits/unanswerable": place,
    "correction/told_correction": corrected,
    "correction/corrected_often": corrected_often,
    "habit/swapped_words": swapped,
    "habit/renamed_digits": renamed,
}


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_finds_every_answer(name: str) -> None:
    for item in items(*name.split("/")):
        assert SOLVERS[name](item) == item.answer, item
        assert is_right(item, item.answer)
        assert len(set(item.choices)) == len(item.choices)
        assert not item.choices or item.choices[item.gold] == item.answer


@pytest.mark.parametrize("name", [f"{row}/{generator}" for row in ROWS for generator in ROWS[row].generators])
def test_the_place_of_the_right_choice_tells_nothing(name: str) -> None:
    places = Counter((len(item.choices), item.gold) for item in items(*name.split("/")) if item.choices)
    for count in {count for count, _ in places}:
        total = sum(found for (size, _), found in places.items() if size == count)
        off = sum((places[count, gold] - total / count) ** 2 for gold in range(count)) / (total / count)
        assert off < 25  # chi-square of three degrees of freedom, p of 0.00002
