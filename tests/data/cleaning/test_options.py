"""Languages and limits by option: a folder in another language is kept, and every rule can be loosened."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from ayllu.data.archive import default_cache
from ayllu.data.cleaning.clean import build_corpus
from ayllu.data.cleaning.options import BEHIND, loosened_by, read_rules
from ayllu.data.cleaning.quality import CleanRules, broken_rule
from ayllu.data.corpus import Corpus
from ayllu.lab.error import UserError
from ayllu.recipes.cria import cria
from ayllu.recipes.llama import llama

TEXTS = {
    "en": "The boats lie in the harbour, and the nets of the {} crew dry in the sun of the afternoon.",
    "es": "Los barcos están en el puerto, y las redes de la tripulación {} se secan al sol de la tarde.",
    "de": "Die Boote liegen im Hafen, und die Netze der Mannschaft {} trocknen in der Sonne des Nachmittags.",
    "zh": "船停在港口里，第{}号船员的渔网在下午的阳光下晾干，孩子们在岸边玩耍，老人们坐在那里讲故事。",
}


def kept(tmp_path: Path, *languages: str, **options: tuple[str, ...]) -> set[str]:
    folder, out = tmp_path / "mixed", tmp_path / "corpus"
    folder.mkdir()
    out.mkdir()
    rows = [json.dumps({"text": TEXTS[language].format(n)}) for language in languages for n in ("7", "90")]
    (folder / "a.jsonl").write_text("\n".join(rows))
    rules = read_rules(options.get("language", ("en",)), (*options.get("rules", ()), "near_duplicate_jaccard=off"))
    build_corpus([f"folder:{folder}"], out, default_cache(), rules=rules)
    starts = {text[:5]: language for language, text in TEXTS.items()}
    return {starts[document.text[:5]] for document in Corpus(out).documents(None)}


@pytest.mark.parametrize(
    ("language", "found"),
    [(("es",), {"es"}), (("es", "de"), {"es", "de"}), (("any",), {"en", "es", "de", "zh"}), (("zh",), {"zh"})],
)
def test_documents_of_the_languages_that_are_named_are_kept(
    tmp_path: Path, language: tuple[str, ...], found: set[str]
) -> None:
    assert kept(tmp_path, "en", "es", "de", "zh", language=language) == found


def test_a_folder_of_another_language_says_which_option_keeps_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"“other language” dropped most \(2, mostly es\); loosen it with --language"):
        kept(tmp_path, "es")


def test_every_rule_has_a_limit_by_option() -> None:
    for field in fields(CleanRules):
        if field.name in ("language", "stop_words_from", "top_ngram_times", "short_line"):
            continue
        assert getattr(read_rules(limits=[f"{field.name}=off"]), field.name) != field.default
    assert read_rules(limits=["words_min=3", "top_ngrams_max=2:0.5"]) == CleanRules(
        words_min=3, top_ngrams_max=((2, 0.5),)
    )
    assert read_rules() == CleanRules()
    assert broken_rule("Hello world.", CleanRules()) == "too few words"
    names = set(BEHIND.values())
    everything = [f"{field.name}=off" for field in fields(CleanRules) if field.name.endswith(("_min", "_max"))]
    assert names <= {field.name for field in fields(CleanRules)}
    assert broken_rule("Hello world.", read_rules(limits=everything)) is None
    assert loosened_by("too few words") == "--rules words_min=off"


@pytest.mark.parametrize(
    ("language", "rules", "sentence"),
    [
        (("english",), (), "no language is called 'english'"),
        (("any", "es"), (), "any stands for every language"),
        (("en",), ("words=3",), r"sets no rule of the cleaning: write NAME=LIMIT with one of .*words_min"),
        (("en",), ("words_min",), "sets no rule"),
        (("en",), ("words_min=many",), "the rule words_min is 'many': give a number"),
        (("en",), ("words_min=nan",), "give a number"),
        (("en",), ("words_min=-1",), "give a number"),
        (("en",), ("words_min=1", "words_min=2"), "set twice"),
        (("en",), ("short_line=off",), "has no off"),
        (("en",), ("language=de",), "sets no rule"),
    ],
)
@pytest.mark.parametrize("recipe", [cria, llama], ids=["cria", "llama"])
def test_what_makes_no_sense_is_refused_before_anything_runs(recipe, language, rules, sentence) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=sentence):
        recipe(language=language, rules=rules)
