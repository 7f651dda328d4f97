"""What pixels say, and answers that say nothing else: no models."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator

import numpy as np
import pytest
from PIL import Image

from ayllu.device.see import colours
from ayllu.device.see.answer import CANNOT, FACES, Grounded, about_sight, answer, summary, supported
from ayllu.device.see.picture import LONGEST, NoPicture, from_data_url, pixels_of
from ayllu.device.see.scene import Scene, Seen, colours_of, measured, place
from ayllu.device.think.mind import Asked, Counts, Written
from ayllu.device.think.sighted import Sighted
from ayllu.device.worker import Worker
from support.pictures import GREEN, SKY, data_url, jpeg, sign


def written(what: str, box: tuple[float, float, float, float] = (0.1, 0.1, 0.5, 0.3)) -> Seen:
    return Seen(kind="writing", what=what, box=box, confidence=0.99, source="test", around="green", letters="white")


def flat(*colour: int) -> np.ndarray:
    return np.full((48, 64, 3), colour, np.uint8)


@pytest.mark.parametrize(
    "code, name",
    [
        ("ff0000", "red"),
        ("00aa22", "green"),
        ("0033cc", "blue"),
        ("ffdd00", "yellow"),
        ("ff8800", "orange"),
        ("fafafa", "white"),
        ("0a0a0a", "black"),
        ("7d7d7d", "grey"),
        ("7a4a20", "brown"),
        ("ff99bb", "pink"),
        ("7722aa", "purple"),
    ],
)
def test_colours_have_the_names_that_people_give_them(code: str, name: str) -> None:
    (found,) = colours.shares(flat(*bytes.fromhex(code)))
    assert found[:2] == (name, 1.0)


def test_a_colour_is_told_with_its_share_and_place_and_light_is_measured() -> None:
    pixels = np.asarray(sign("EXIT"), np.uint8)
    found = {one.what: one for one in measured(pixels)}
    assert 0.8 < found["blue"].confidence < 0.99 and found["blue"].kind == "colour"
    assert found["normal"].kind == "light" and "sharp" in found
    share = {name: part for name, part, _ in colours.shares(pixels)}["green"]
    assert abs(share - float((pixels == GREEN).all(-1).mean())) < 0.02
    assert colours_of(pixels, (80 / 960, 60 / 640, 200 / 960, 130 / 640)) == ("green", "white")
    dark = {one.what for one in measured(flat(6, 6, 8))}
    assert {"dark", "blurred"} <= dark and "bright" in {one.what for one in measured(flat(250, 250, 250))}


def test_a_place_is_told_by_thirds() -> None:
    assert place((0.0, 0.0, 0.2, 0.2)) == "at the top left" and place((0.4, 0.4, 0.6, 0.6)) == "in the middle"
    assert place((0.8, 0.4, 1.0, 0.6)) == "on the right" and place((0.0, 0.0, 1.0, 1.0)) == "all over"


SCENE = Scene(
    seen=[written("PLATFORM 4"), written("Mind the gap", (0.1, 0.8, 0.5, 0.9)), *measured(np.asarray(sign("A")))]
)


@pytest.mark.parametrize(
    "question, said",
    [
        ("Please read the sign in front of me.", "It says: PLATFORM 4; Mind the gap."),
        ("What does the sign at the bottom say?", "It says: Mind the gap."),
        ("What colour is the sign?", "It is green, with white writing."),
        ("What colour is my car?", CANNOT),
        ("Is there a dog?", CANNOT),
        ("How many people are there?", CANNOT),
        ("Who is that?", FACES),
        ("Is it dark here?", "It is neither dark nor very bright."),
        ("What does the sign on the right say?", CANNOT),
    ],
)
def test_an_answer_says_what_was_seen_and_nothing_else(question: str, said: str) -> None:
    found = answer(SCENE, question)
    assert found is not None and found.text == said
    assert bool(found.rests_on) == (said not in (CANNOT, FACES))
    assert all(one in SCENE.seen for one in found.rests_on)


def test_where_nothing_supports_an_answer_that_is_said() -> None:
    nothing = Scene(seen=measured(flat(3, 3, 3)))
    found = answer(nothing, "What does the label say?")
    assert found is not None and found.text.startswith(CANNOT) and "too dark" in found.text and not found.rests_on
    assert "dark" in summary(nothing).text and not summary(nothing).text.startswith("I see")
    assert answer(SCENE, "How old is this tree?") is None  # a question for a model, whose words are then looked at


def test_words_of_a_model_are_supported_or_not() -> None:
    assert supported("It says platform 4, in white.", SCENE, "What is it?")
    assert not supported("It says platform 5.", SCENE, "Is it platform 5?")
    assert not supported("A red bus.", SCENE, "Is the bus red?")
    assert not supported("It is the.", SCENE, "What is it?")


def test_what_a_model_makes_up_is_not_spoken() -> None:
    class Liar:
        name = "liar"

        async def answer(self, asked: Asked) -> AsyncGenerator[Written]:
            for word in ("It is ", "about ", "two hundred years old."):
                yield word
            yield Counts(read=5, written=7, cut=False)

    async def scenario() -> tuple[list[Written], list[Grounded]]:
        told: list[Grounded] = []

        async def tell(found: Grounded) -> None:
            told.append(found)

        idle = Worker("nothing here looks")
        mind = Sighted(mind=Liar(), scene=SCENE, question="How old is this tree?", told=tell, seeing=idle)
        return [piece async for piece in mind.answer(Asked(messages=[]))], told

    said, told = asyncio.run(scenario())
    assert said[0] == CANNOT and said[1] == Counts(read=5, written=7, cut=False)
    assert told == [Grounded(text=CANNOT)]


@pytest.mark.parametrize("words", ["Please read the sign", "What colour is it?", "Look and tell me", "what's this?"])
def test_a_question_about_sight_is_known(words: str) -> None:
    assert about_sight(words)


@pytest.mark.parametrize("words", ["What did she say about the meeting?", "Send a text to Ana", "Play some music."])
def test_other_questions_ask_no_camera(words: str) -> None:
    assert not about_sight(words)


def test_pictures_are_upright_and_in_bounds() -> None:
    picture = Image.new("RGB", (3000, 1000), SKY)
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright: to be turned by a quarter
    pixels = pixels_of(from_data_url(data_url(jpeg(picture, exif=exif))))
    assert pixels.shape[0] == LONGEST and pixels.shape[1] < LONGEST


def _bomb() -> bytes:
    out = io.BytesIO()
    Image.new("1", (9000, 9000)).save(out, "png")
    return out.getvalue()


@pytest.mark.parametrize(
    "data, told",
    [
        (b"", "no picture"),
        (b"<svg/>", "no picture"),
        (jpeg(sign("A"))[:2000], "damaged"),
        (_bomb(), "9000 x 9000"),
        (bytes(9 << 20), "MiB"),
    ],
    ids=["nothing", "svg", "cut", "bomb", "large"],
)
def test_what_is_no_picture_is_said_in_a_sentence(data: bytes, told: str) -> None:
    with pytest.raises(NoPicture, match=told):
        pixels_of(data)


@pytest.mark.parametrize("url", ["https://example.com/a.jpg", "file:///etc/passwd", "data:text/html;base64,AAAA", ""])
def test_nothing_is_fetched_for_a_client(url: str) -> None:
    with pytest.raises(NoPicture, match="not fetched"):
        from_data_url(url)
    with pytest.raises(NoPicture, match="base64"):
        from_data_url("data:image/png;base64,!!!")
