"""The way from items to likelihoods: what is tokenized, what is given, what is scored."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from ayllu.evals.comparison.compare import compare_scores
from ayllu.evals.item import Item
from ayllu.evals.journal import Journal
from ayllu.evals.likelihood import multiple_choice
from ayllu.evals.likelihood.multiple_choice import contaminated_by, evaluate_suite, tokenize_items
from ayllu.evals.suite import Suite, load_suite
from ayllu.evals.table import scores_table
from ayllu.lab.error import UserError
from ayllu.text.tokenizer import Tokenizer
from support.models import TINY, sharp_model, tiny_tokenizer

ROOF = Item(
    id="hellaswag/0",
    set="hellaswag",
    context="A man is sitting on a roof. He",
    choices=("starts pulling up roofing.", "is wet.", "waits until it boils, then puts the noodles in the water."),
    gold=0,
    plain="A man is sitting on a roof. He starts pulling up roofing.",
)
SURGEON = Item(
    id="winogrande/0",
    set="winogrande",
    context="She was better than her sister so",
    leads=(" she", " her sister"),
    choices=("got the harder cases.", "got the harder cases."),
    gold=1,
    plain="She was better than her sister so her sister got the harder cases.",
)
NAMELESS = Item(
    id="winogrande/1", set="winogrande", context="", leads=("Ann", "Bea"), choices=("went home.",) * 2, gold=0, plain=""
)
ITEMS = (ROOF, SURGEON, NAMELESS)


def one_by_one(model, tokenizer: Tokenizer, before: str, after: str) -> float:
    """The reference: a single sequence, the log-probability of each token of `after`."""
    given = [tokenizer.bos, *tokenizer.encode(before)]
    ids = given + tokenizer.encode(after)
    with torch.inference_mode():
        log_TV = model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)
    return sum(float(log_TV[t - 1, ids[t]]) for t in range(len(given), len(ids)))


def test_every_choice_gets_the_likelihood_that_it_has_alone(tokenizer, model):
    scores = evaluate_suite(model, tokenizer, Suite(name="mine", items=ITEMS))
    for item, outcome in zip(ITEMS, scores.outcomes, strict=True):
        expected = [one_by_one(model, tokenizer, before, after) for before, after in item.texts()]
        assert outcome.log_likelihoods == pytest.approx(expected, abs=1e-3)
        assert outcome.bytes == tuple(len(choice.encode()) for choice in item.choices)
        assert outcome.tokens == tuple(len(tokenizer.encode(after)) for _, after in item.texts())
    begins = {"kind": "bos", "id": tokenizer.bos}
    assert scores.about == {"suite": "mine", "dtype": "float32", "context": 96, "first_token": begins}


def test_without_a_first_token_a_choice_is_as_likely_as_lm_eval_finds_it(tokenizer, model):
    alone = Item(id="a/0", set="hellaswag", context="", choices=("is wet.", "boils."), gold=0, plain="")
    scores = evaluate_suite(model, tokenizer, Suite(name="mine", items=(*ITEMS, alone)), first_token="none")
    for item, outcome in zip((*ITEMS, alone), scores.outcomes, strict=True):
        expected = []
        for before, after in item.texts():
            # lm-eval: the context's ids as they are, or where there are none the one token that stands for them.
            given = tokenizer.encode(before) or [tokenizer.bos]
            ids = given + tokenizer.encode(after)
            with torch.inference_mode():
                log_TV = model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)
            expected.append(sum(float(log_TV[t - 1, ids[t]]) for t in range(len(given), len(ids))))
        assert outcome.log_likelihoods == pytest.approx(expected, abs=1e-3)
    assert scores.about["first_token"] == {"kind": "none", "id": None}
    with_bos = evaluate_suite(model, tokenizer, Suite(name="mine", items=(*ITEMS, alone)))
    assert "lm-eval adds none by default" in scores_table(with_bos.as_json())
    assert "No token stands before an item" in scores_table(scores.as_json())
    with pytest.raises(UserError, match="measured with --first-token bos, the other with none"):
        compare_scores(with_bos, scores)


def test_no_token_is_lost_and_only_the_choice_is_scored(archive):
    tokenizer = tiny_tokenizer()
    items = load_suite("full", items_per_set=150).items
    for item, question in zip(items, tokenize_items(tokenizer, items), strict=True):
        assert question.beginning[0] == tokenizer.bos
        for (before, after), continuation, given in zip(
            item.texts(), question.continuations, question.given, strict=True
        ):
            assert tokenizer.decode([*question.beginning, *continuation[:given]]) == before
            assert tokenizer.decode(continuation[given:]) == after
            # What the model sees is what it would see in running text.
            assert [*question.beginning[1:], *continuation] == tokenizer.encode(before + after)


class Greedy:
    """A tokenizer that merges "e " and " w", across whatever boundary we have in mind."""

    bos = 0

    def encode_batch(self, texts):
        return [[ord(c) for c in text.replace("e ", "E").replace(" w", "W")] for text in texts]


def test_a_token_across_the_boundary_is_taken_apart():
    [question] = tokenize_items(
        Greedy(), [Item(id="a", set="s", context="he", choices=("was", "is"), gold=0, plain="")]
    )
    assert question.beginning == [0, ord("h"), ord("e")]
    assert question.continuations == [[ord("W"), ord("a"), ord("s")], [ord(" "), ord("i"), ord("s")]]
    assert question.given == [0, 0]


def test_a_lead_that_merges_with_the_context_is_given_whole():
    item = Item(id="a", set="s", context="he", leads=(" is", " was"), choices=("ok",) * 2, gold=0, plain="")
    [question] = tokenize_items(Greedy(), [item])
    assert question.beginning == [0]
    assert [chr(i) for i in question.continuations[0]] == ["h", "E", "i", "s", " ", "o", "k"]
    assert question.given == [4, 4 + 1]


def test_a_model_that_answers_nothing_is_reported_as_such(tokenizer):
    broken = sharp_model(replace(TINY, vocabulary=tokenizer.size))
    with torch.no_grad():
        broken.norm.weight.fill_(math.nan)
    entry = evaluate_suite(broken, tokenizer, Suite(name="mine", items=(ROOF,))).as_json()["sets"]["hellaswag"]
    assert entry["missing"] == 1
    assert entry["accuracy"] == {"value": 0.0, "low": 0.0, "high": 1.0, "chance": pytest.approx(1 / 3), "uniform": 0.0}
    assert entry["gold_bits_per_byte"]["value"] is None


def test_what_does_not_fit_into_the_context_is_counted_and_said(tokenizer):
    long = replace(ROOF, id="hellaswag/1", context="He waits. " * 60 + ROOF.context)
    small = sharp_model(replace(TINY, vocabulary=tokenizer.size, context=64))
    [question] = tokenize_items(tokenizer, [ROOF])
    assert question.longest <= 64
    found = evaluate_suite(small, tokenizer, Suite(name="mine", items=(ROOF, long)), dtype=torch.bfloat16).as_json()
    assert found["about"]["cut"] == {"hellaswag": 1}
    said = scores_table(found)
    assert "Longer than the model's context of 64 tokens, so without their beginning: HellaSwag 1." in said
    assert "Computed in bfloat16." in said
    short = evaluate_suite(small, tokenizer, Suite(name="mine", items=(ROOF,))).as_json()
    assert "cut" not in short["about"] and "Longer than" not in scores_table(short)


def test_a_killed_evaluation_goes_on_where_it_was(tokenizer, model, tmp_path, monkeypatch):
    items = [replace(ROOF, id=f"hellaswag/{i}", context=f"{ROOF.context}{' and he' * i}") for i in range(12)]
    suite = Suite(name="mine", items=tuple(items))
    whole = evaluate_suite(model, tokenizer, suite)
    asked: list[str] = []
    tokenized = multiple_choice.tokenize_items

    def watched(encoder, items, *rest):
        asked.append(" ".join(item.id for item in items))
        return tokenized(encoder, items, *rest)

    monkeypatch.setattr(multiple_choice, "tokenize_items", watched)
    add, kept = Journal.add, []

    def killed(journal, outcome):
        if len(kept) == 5:
            raise KeyboardInterrupt
        add(journal, outcome)
        kept.append(outcome.id)

    monkeypatch.setattr(Journal, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate_suite(model, tokenizer, suite, folder=tmp_path)
    with (tmp_path / "items.partial.jsonl").open("a") as file:
        file.write('{"id": "hellaswag/11", "set": "hella')  # cut off in the middle of a line
    monkeypatch.setattr(Journal, "add", add)
    again = evaluate_suite(model, tokenizer, suite, folder=tmp_path)
    assert asked[1].split() == [item.id for item in items if item.id not in kept]
    assert [o.id for o in again.outcomes] == [o.id for o in whole.outcomes]
    for mine, theirs in zip(again.outcomes, whole.outcomes, strict=True):
        assert mine.log_likelihoods == pytest.approx(theirs.log_likelihoods, abs=1e-4)
    again.save(tmp_path)
    assert not (tmp_path / "items.partial.jsonl").exists()


def test_the_answers_of_another_model_are_not_reused(tokenizer, model, tmp_path):
    suite = Suite(name="mine", items=ITEMS)
    evaluate_suite(model, tokenizer, suite, folder=tmp_path)
    other = sharp_model(replace(TINY, vocabulary=tokenizer.size), seed=1)
    assert evaluate_suite(other, tokenizer, suite, folder=tmp_path) == evaluate_suite(other, tokenizer, suite)


def test_sets_whose_training_part_is_in_the_corpus_are_labelled(tokenizer, model):
    facts = {"everyday-english": ("hellaswag",), "everyday-chat": ("piqa", "hellaswag"), "books": ()}
    assert contaminated_by(["hellaswag", "winogrande"], facts) == {"hellaswag": ("everyday-chat", "everyday-english")}
    scores = evaluate_suite(model, tokenizer, Suite(name="mine", items=ITEMS), trains_on=facts).as_json()
    assert scores["sets"]["hellaswag"]["trained_on"] == ["everyday-chat", "everyday-english"]
    assert scores["sets"]["winogrande"]["trained_on"] == []
