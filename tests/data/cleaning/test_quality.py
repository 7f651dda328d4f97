"""Quality rules: real everyday English passes, each kind of bad page is named for what it is."""

import pytest

from ayllu.data.cleaning.quality import CleanRules, broken_rule, language_judge
from ayllu.data.document import Document

RULES = CleanRules()
SENTENCE = "The old farmer walked to the market with three brown horses and a cart full of apples. "


THINGS = ("apples", "pears", "stones", "books", "shoes", "lamps", "coins", "maps", "hats", "bells", "ropes", "jars")
VERBS = ("carried", "sold", "found", "painted", "washed", "hid", "lost", "moved", "kept", "bought", "threw", "made")


def varied(count: int) -> str:
    """Sentences that do not repeat one another."""
    return " ".join(
        f"On day {i * 7 + 3} the {VERBS[i % 12]}ing woman {VERBS[(i * 5 + 1) % 12]} {i + 2} {THINGS[(i * 7) % 12]} of "
        f"number {i * i + 1}, and {THINGS[(i * 3 + 2) % 12]} that {VERBS[(i * 11 + 4) % 12]} well."
        for i in range(count)
    )


def test_almost_all_of_everyday_english_passes(everyday: list[Document]) -> None:
    judge = language_judge(RULES)
    dropped = [d for d in everyday if judge(d.text) or broken_rule(d.text, RULES)]
    assert len(dropped) < 0.02 * len(everyday)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("too few words", "Hello there, world."),
        ("odd word length", "of it to a in be on at we to is or it by my so up do me no us he"),
        ("odd word length", "incomprehensibilities " * 2 + "counterrevolutionaries institutionalisations " * 8),
        ("too many symbols", "#one #two #three of the many #four #five words that have #six #seven #eight marks"),
        ("mostly bullets", "\n".join(f"- item {i} of the shopping list that we need" for i in range(12))),
        (
            "lines cut short",
            "The story of the old town begins with a farmer and...\n" + varied(8) + "\nHe had to leave and...",
        ),
        (
            "too few letters",
            "Accumulated yearly precipitation: 1214 1517 1922 2527 3133 3641 1234 5678 9876 5432 1357 millimeters",
        ),
        ("no stop words", "word salad green tomato cucumber onion pepper radish " * 8),
        ("repeated lines", ("Read more about this story on our page today.\n" * 6) + varied(4)),
        ("one 2-gram over and over", "buy now " * 10 + "the of a house and garden, that is to be"),
        ("repeated 5-grams", varied(3) + " " + varied(3)),
        ("lines without punctuation", "\n".join(line.rstrip(".") for line in varied(10).split(" On "))),
        ("mostly short lines", "\n".join(f"The {a} {b}." for a in THINGS for b in VERBS[:4]) + "\n" + SENTENCE),
        ("mostly line breaks", varied(3).replace(" ", "\n\n")),
    ],
)
def test_each_kind_of_bad_page_is_named(rule: str, text: str) -> None:
    rules = CleanRules()
    if rule == "mostly line breaks":
        rules = CleanRules(short_lines_max=1.0, punctuated_lines_min=0.0, duplicate_lines_max=1.0,
                           duplicate_line_characters_max=1.0, duplicate_paragraphs_max=1.0,
                           duplicate_paragraph_characters_max=1.0)  # fmt: skip
    if rule == "no stop words":
        rules = CleanRules(top_ngrams_max=(), duplicate_ngrams_max=())
    assert broken_rule(text, rules) == rule


def test_good_prose_breaks_no_rule() -> None:
    assert broken_rule(varied(12), RULES) is None
    assert broken_rule("Kids are playing football in an open area. A boy kicks the ball over a fence.", RULES) is None


def test_a_name_that_comes_twice_in_three_sentences_is_no_repetition() -> None:
    text = "Man spins around on the tight rope. Man balances on the tight rope. Then he jumps down and bows."
    assert broken_rule(text, RULES) is None
    assert broken_rule(text, CleanRules(top_ngram_times=2, top_ngrams_max=((3, 0.1),))) == "one 3-gram over and over"


@pytest.mark.parametrize(
    "text",
    [
        "El perro corre por el parque y después bebe agua fresca de la fuente.",
        "Der Hund läuft durch den Park und trinkt danach frisches Wasser am Brunnen.",
        "小狗在公园里奔跑,然后喝了喷泉里的清水。",
    ],
)
def test_other_languages_are_dropped_unless_all_are_wanted(text: str) -> None:
    assert language_judge(RULES)(text) == "other language"
    assert language_judge(CleanRules(language=None))(text) is None


def test_another_language_can_be_the_one() -> None:
    judge = language_judge(CleanRules(language="es"))
    assert judge("El perro corre por el parque y después bebe agua fresca de la fuente.") is None
    assert judge(SENTENCE) == "other language"
