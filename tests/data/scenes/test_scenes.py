"""Scenes: what is drawn is what the truth says, held-out ones share nothing with others, answers follow from it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from ayllu.data.archive import default_cache
from ayllu.data.scenes.picture import SIDE, as_png, draw_picture
from ayllu.data.scenes.questions import KINDS, Question, ask_all, beside, direction, presence, size, word
from ayllu.data.scenes.scene import COLOURS, PHOTOS, Scene, Thing, Writing, draw_scene, read_scene
from ayllu.data.scenes.words import WORDS
from support.parts import need_module

need_module("PIL", "pictures are drawn by Pillow")


def thing(name: str, x: float, y: float, size: float = 0.2) -> Thing:
    colour, shape = name.split()
    return Thing(shape=shape, colour=colour, x=x, y=y, size=size, turn=0.0)


def scene(*things: Thing, written: str = "") -> Scene:
    writing = Writing(word=written, font="sans", x=0.5, y=0.1, size=0.12, turn=0.0) if written else None
    return Scene(things=things, writing=writing, ground=(255, 255, 255), photo="", strength=1.0, noise=0.0, seed=1)


TWO = scene(thing("red circle", 0.2, 0.5), thing("blue square", 0.8, 0.55, 0.1), written="apple")


def drawn(side: str, level: int, number: int) -> Scene:
    return draw_scene(Random(f"{side}{level}{number}"), level, side, written=number % 2 == 0)  # type: ignore[arg-type]


def test_nothing_held_out_can_have_been_learnt() -> None:
    sides = {
        side: [drawn(side, level, number) for level in (1, 2, 3, 6, 14) for number in range(60)]
        for side in ("train", "heldout")
    }
    together, words = (
        {side: {part for each in scenes if (part := of(each))} for side, scenes in sides.items()}
        for of in (
            lambda each: tuple(sorted(one.name for one in each.things)),
            lambda each: each.writing.word if each.writing else None,
        )
    )
    for found in (together, words):
        assert min(len(parts) for parts in found.values()) > 5
        assert not found["train"] & found["heldout"]
    for side, scenes in sides.items():
        assert {each.photo for each in scenes} - {""} <= set(PHOTOS[side])  # type: ignore[index]


def test_a_seed_draws_the_same_picture_again_also_out_of_its_text() -> None:
    first, again = (drawn("train", 9, 2) for _ in range(2))
    assert read_scene(first.as_text()) == again
    pixels = draw_picture(first, default_cache())
    assert pixels.shape == (SIDE, SIDE, 3)
    assert np.array_equal(pixels, draw_picture(read_scene(again.as_text()), default_cache()))
    assert as_png(pixels).startswith(b"\x89PNG")


def test_the_picture_shows_each_thing_in_its_colour_and_size_at_its_place() -> None:
    names, shades = list(COLOURS), np.array(list(COLOURS.values()))
    for number in range(12):
        truth = replace(drawn("train", 4, number), photo="", strength=1.0, noise=0.0)
        pixels = draw_picture(truth, default_cache()).astype(int)
        nearest = np.abs(pixels[:, :, None] - shades).sum(-1)
        for one in truth.things:
            row, column = round(one.y * SIDE), round(one.x * SIDE)
            assert names[nearest[row, column].argmin()] == one.colour
            # A little beyond its square there is only the ground.
            beyond = column + round((one.size / 2 + 0.01) * SIDE)
            if beyond < SIDE:
                assert tuple(pixels[row, beyond]) == truth.ground


def test_the_word_is_drawn_and_its_strip_holds_no_thing() -> None:
    blank, written = (draw_picture(scene(written=text), default_cache()) for text in ("", "bridge"))
    ink = (written.astype(int) - blank).any(-1)
    assert 0.01 < ink.mean() < 0.2
    assert not ink[SIDE // 4 :].any()
    for number in range(0, 40, 2):
        assert all(one.y - one.size / 2 > 0.19 for one in drawn("train", 6, number).things)


def test_higher_levels_have_more_and_fainter_things_that_never_overlap() -> None:
    for low, high in ((1, 4), (4, 10), (10, 20), (20, 30)):
        easy, hard = ([drawn("heldout", level, number) for number in range(10)] for level in (low, high))
        assert max(len(one.things) for one in easy) <= min(len(one.things) for one in hard) + 2
        assert min(one.strength for one in easy) > max(one.strength for one in hard)
        for each in hard:
            for one in each.things:
                for other in set(each.things) - {one}:
                    apart = max(abs(one.x - other.x), abs(one.y - other.y))
                    assert apart >= (one.size + other.size) / 2 - 1e-3


def asked(kind, of: Scene, wanted: str) -> Question:  # type: ignore[no-untyped-def]
    found = (kind(Random(seed), of) for seed in range(300))
    return next(one for one in found if one is not None and one.text == wanted)


@pytest.mark.parametrize(
    ("kind", "text", "answer"),
    [
        ("count", "How many things are there?", "2"),
        ("count", "How many red things are there?", "1"),
        ("count", "How many stars are there?", "0"),
        ("colour", "What colour is the circle?", "red"),
        ("shape", "What shape is the blue thing?", "square"),
        ("direction", "Is the red circle left, right, above or below the blue square?", "left"),
        ("beside", "What is right of the red circle?", "blue square"),
        ("size", "Which is larger, the blue square or the red circle?", "red circle"),
        ("presence", "Is there a red square, yes or no?", "no"),
        ("presence", "Is there a red circle, yes or no?", "yes"),
        ("word", "Which word is written in the picture?", "apple"),
    ],
)
def test_the_answer_is_what_the_scene_says(kind: str, text: str, answer: str) -> None:
    found = asked(KINDS[kind], TWO, text)
    assert found.answer == answer
    assert answer not in found.wrong
    assert len(set(found.wrong)) == len(found.wrong) >= 1


def test_what_the_scene_leaves_open_is_not_asked() -> None:
    slanted = scene(thing("red circle", 0.2, 0.2), thing("blue square", 0.8, 0.8))
    alike = scene(thing("red circle", 0.2, 0.2), thing("red circle", 0.8, 0.2))
    alone = scene(thing("red circle", 0.5, 0.5))
    for seed in range(50):
        assert direction(Random(seed), slanted) is None
        assert size(Random(seed), slanted) is None
        assert direction(Random(seed), alike) is None
        assert beside(Random(seed), alone) is None
        assert word(Random(seed), alone) is None
        assert presence(Random(seed), alone) is not None


def test_each_scene_is_asked_all_kinds_that_it_can_be_asked() -> None:
    kinds = [one.kind for one in ask_all(Random(0), TWO)]
    assert set(kinds) == set(KINDS)
    assert len(set(WORDS)) == len(WORDS) > 150
