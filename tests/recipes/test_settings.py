"""A card names what every step was given: the command, rates, batches, lengths, seeds and mixtures."""

from __future__ import annotations

from pathlib import Path

from ayllu.lab.store import Artifact, write_manifest
from ayllu.recipes.adopt import adopted
from ayllu.recipes.cria import cria
from ayllu.recipes.registry import command_of
from ayllu.recipes.smol import from_adopted
from ayllu.recipes.stages.release import settings
from ayllu.release.pages.card import model_card
from ayllu.release.policy import OPEN
from ayllu.release.reference import detach, number_problems
from support.release import RECORDS_GIVEN

MADE = {"stage": "any", "key": "", "digest": "", "files": {}, "finished": "", "seconds": 1.0}
"""What every manifest of an artifact holds, besides its record."""


def rows(found: list[dict[str, object]]) -> set[tuple[object, ...]]:
    return {tuple(row.values()) for row in found}


def test_arguments_of_all_stages_and_what_trainings_noted_are_rows(tmp_path):
    release = cria(budget=3, seed=7, sources=("sotu", "austen"), licence="MIT", speed=1e4, length=128)
    noted = {"rate": 0.01, "batch": 24, "length": 128, "steps": 90, "seconds": 3.0}
    write_manifest(tmp_path, MADE | {"record": noted})
    found = rows(settings([release.inputs["base"].made(Artifact(tmp_path))]))
    assert found >= {
        ("pretrain", "seed", 7),
        ("pretrain", "mix", "sotu 0.02, austen 0.03"),
        ("pretrain", "rate", 0.01),
        ("pretrain", "batch", 24),
        ("pretrain", "steps", 90),
        ("tokenize", "length", 128),
        ("fit_model", "budget", 3),
        ("corpus", "sources", "sotu, austen"),
        ("corpus", "licence", "MIT"),
    }
    assert not any(value is None for _, _, value in found)
    assert not any(setting == "seconds" for _, setting, _ in found)


def test_the_methods_of_posttraining_keep_their_rates_apart(tmp_path):
    plan = {"budget": 1.0, "items": 10, "steps": (1, 2, 3)}
    release = from_adopted(adopted("smollm2"), seed=0, chats=None, preferences=None, name="smol", **plan)
    write_manifest(tmp_path, MADE | {"record": {"batch": 4}})
    found = rows(settings([release.inputs["dpo"].made(Artifact(tmp_path))]))
    rates = {(stage, value) for stage, setting, value in found if setting == "lr"}
    assert rates == {("teach worked", 3e-3), ("teach grpo", 1e-4), ("teach sft", 3e-3), ("teach dpo", 5e-4)}
    assert ("teach dpo", "batch", 4) in found


def test_the_card_shows_them_as_text_that_can_be_read(tmp_path):
    given = [
        {"stage": "pretrain", "setting": "mix", "value": "hf:a/b-2.5 0.94"},
        {"stage": "x", "setting": "lr", "value": 0.003},
    ]
    training = RECORDS_GIVEN | {"settings": given, "command": "ayllu run cria --budget 10"}
    records = {
        "records.json": {"release": {"name": "x", "version": "1"}, "model": {}, "training": training},
        "scores.json": {"sets": {}, "bits_per_byte": {}},
        "sources.json": {},
    }
    marked = model_card(records, OPEN, gguf="x.gguf")
    assert list(number_problems(marked, records)) == []
    card, _ = detach(marked)
    assert "| pretrain | mix | hf:a/b-2.5 0.94 |\n| x | lr | 0.003 |" in card
    assert "| command | ayllu run cria --budget 10 |" in card
    assert "<!--" not in card and ".json#/" not in card


def test_the_command_can_be_given_again_and_names_no_folder_of_this_machine():
    options = {"budget": 10.0, "sources": ("sotu", "austen"), "chats": Path("/home/me/chats.jsonl"), "licence": None}
    assert command_of("smol", options) == "ayllu run smol --budget 10.0 --sources sotu austen --chats chats.jsonl"
