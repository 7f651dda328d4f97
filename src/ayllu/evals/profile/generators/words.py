"""Words that generators draw from, and near misses of right answers."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

PEOPLE = (
    *("Ana", "Ben", "Carla", "David", "Elena", "Felix", "Gina", "Hugo", "Irene", "Jonas", "Karin", "Luis"),
    *("Marta", "Nora", "Oscar", "Paula", "Rosa", "Simon", "Tania", "Umar", "Vera", "Walter", "Xenia", "Yusuf"),
    *("Zoe", "Adam", "Bella", "Carlos", "Diana", "Emil", "Frida", "Georg", "Hanna", "Ivan", "Julia", "Kevin"),
    *("Laura", "Mario", "Nina", "Otto", "Petra", "Ralf", "Sonia", "Tomas", "Ursula", "Victor", "Wanda", "Yara"),
)
THINGS = (
    *("key", "book", "lamp", "cup", "coin", "hat", "ring", "ball", "map", "pen", "bell", "rope"),
    *("box", "clock", "glove", "spoon", "candle", "basket", "mirror", "hammer", "whistle", "pillow"),
)
COLOURS = ("red", "blue", "green", "black", "white", "brown", "pink", "grey")
PLACES = ("kitchen", "garden", "library", "station", "market", "garage", "office", "cellar", "school", "harbour")
PLURALS = (("man", "men"), ("woman", "women"), ("dog", "dogs"), ("child", "children"), ("teacher", "teachers"))
VERBS = (("sees", "see"), ("likes", "like"), ("knows", "know"), ("hears", "hear"), ("helps", "help"))
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"


def invented(rng: Random, syllables: int) -> str:
    """A word of consonant and vowel in turn, two letters a syllable, which no language is meant by."""
    return "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(syllables))


def invented_words(rng: Random, count: int, syllables: int = 2) -> list[str]:
    """Different invented words."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[invented(rng, syllables)] = None
    return list(found)


def near_numbers(rng: Random, right: int, count: int = 3) -> list[str]:
    """Different whole numbers beside `right`, with as many digits where there are enough: one digit is another."""
    text, sign = str(abs(right)), "-" if right < 0 else ""
    found: dict[str, None] = {}
    while len(found) < count:
        place = rng.randrange(len(text))
        digit = rng.choice("123456789" if place == 0 and len(text) > 1 else "0123456789")
        other = text[:place] + digit + text[place + 1 :]
        if other != text and int(other) != 0:
            found[sign + other] = None
    return list(found)


def near_texts(rng: Random, right: str, alphabet: str = LETTERS, count: int = 3) -> list[str]:
    """Different texts of the same length: two neighbours changed places, or one letter is another."""
    found: dict[str, None] = {}
    for _ in range(40 * count):
        place = rng.randrange(len(right))
        if place + 1 < len(right) and rng.random() < 0.5:
            other = right[:place] + right[place + 1] + right[place] + right[place + 2 :]
        else:
            other = right[:place] + rng.choice(alphabet) + right[place + 1 :]
        if other != right:
            found[other] = None
        if len(found) == count:
            break
    return list(found)


def near_lists(rng: Random, right: Sequence[str], others: Sequence[str], count: int = 3) -> list[str]:
    """The list with one entry replaced or two neighbours changed, joined by spaces."""
    found: dict[str, None] = {}
    for _ in range(40 * count):
        entries, place = list(right), rng.randrange(len(right))
        if place + 1 < len(entries) and rng.random() < 0.5:
            entries[place], entries[place + 1] = entries[place + 1], entries[place]
        else:
            entries[place] = rng.choice(others)
        if entries != list(right):
            found[" ".join(entries)] = None
        if len(found) == count:
            break
    return list(found)
