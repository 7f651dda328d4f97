"""A model that sees, asked over the Realtime protocol: it guesses about shapes, and says so, beside the statements."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ayllu.device.app import seen_by
from ayllu.device.privacy.ledger import Ledger
from ayllu.device.realtime.sight import NO_PICTURE
from ayllu.device.see.answer import CANNOT
from ayllu.serve.served import Models
from ayllu.serve.source import FolderSource
from support.parts import need
from support.pictures import data_url, jpeg, sign
from support.serving.glasses import Client, run, session, wearing
from support.training.seeing import QUESTION, circle, jpeg_of, save_seeing_model

if TYPE_CHECKING:
    from ayllu.device.parts import Parts

MANUAL = {"audio": {"input": {"turn_detection": None}}, "output_modalities": ["text"]}
RED, BLUE = (data_url(jpeg_of(circle(tint, x=0.6))) for tint in ("red", "blue"))
DARK = data_url(jpeg_of(circle("red") // 24))
PLATFORM = data_url(jpeg(sign("Platform 4", "to London")))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def address(parts: Parts, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    need(parts.eyes, "pictures are looked at")
    models = Models(FolderSource(save_seeing_model(tmp_path_factory.mktemp("model")), name="tiny", engine="torch"))
    models.load_first()
    try:
        with wearing(dataclasses.replace(parts, taught=seen_by(models)), models, ledger=Ledger(home)) as address:
            yield address
    finally:
        models.close()


async def shown(client: Client, url: str, words: str) -> dict[str, Any]:
    """The response to a question that comes with a picture."""
    picture = {"type": "input_image", "image_url": url}
    return await answered(client, [picture, {"type": "input_text", "text": words}])


async def asked(client: Client, words: str) -> dict[str, Any]:
    """The response to a question alone."""
    return await answered(client, [{"type": "input_text", "text": words}])


async def answered(client: Client, content: list[dict[str, Any]]) -> dict[str, Any]:
    await client.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    await client.send("response.create")
    response: dict[str, Any] = (await client.until("response.done"))["response"]
    return response


def text_of(response: dict[str, Any]) -> str:
    text: str = response["output"][0]["content"][0]["text"]
    return text


def grounds(client: Client) -> list[list[dict[str, Any]]]:
    return [event["rests_on"] for event in client.events if event["type"] == "x.grounded"]


def test_what_no_statement_tells_is_guessed_from_the_picture_and_marked_as_a_guess(address: str) -> None:
    async def scenario() -> tuple[list[str], Client]:
        async with session(address, **MANUAL) as client:
            said = [text_of(await shown(client, url, QUESTION)) for url in (RED, BLUE)]
            said.append(text_of(await asked(client, QUESTION)))
            return said, client

    said, client = run(scenario())
    assert said == ["My guess is red.", "My guess is blue.", "My guess is blue."]
    ((guess,), *_) = grounds(client)
    assert (guess["kind"], guess["what"], guess["confidence"]) == ("guess", "red", 0.75)
    assert guess["source"] == "a guess of the model tiny, right 75% of the time when asked for colour on drawn scenes"
    seen = [one["kind"] for event in client.events if event["type"] == "x.seen" for one in event["statements"]]
    assert "guess" not in seen  # nobody had asked yet


def test_statements_come_first_and_what_nothing_supports_stays_unseen(address: str) -> None:
    async def scenario() -> tuple[list[str], Client]:
        async with session(address, **MANUAL) as client:
            said = [text_of(await shown(client, PLATFORM, "What colour is the sign?"))]
            for words in ("How many people do you see?", "Do you see a dog?"):
                said.append(text_of(await asked(client, words)))
            said.append(text_of(await shown(client, DARK, QUESTION)))
            said.append(text_of(await shown(client, RED, "Who is he, and is he wearing a star?")))
            return said, client

    said, client = run(scenario())
    assert said[:4] == ["It is green, with white writing.", CANNOT, CANNOT, CANNOT]
    assert "faces" in said[4]
    assert not any(one["kind"] == "guess" for rests_on in grounds(client) for one in rests_on)


def test_of_the_newest_picture_alone_more_than_statements_is_kept_and_no_longer_than_its_item(
    address: str, home: Path
) -> None:
    async def scenario() -> list[str]:
        async with session(address, **MANUAL) as client:
            said = [text_of(await shown(client, url, QUESTION)) for url in (RED, BLUE)]
            newest = [event["item_id"] for event in client.events if event["type"] == "x.seen"][-1]
            await client.send("conversation.item.delete", item_id=newest)
            await client.until("conversation.item.deleted")
            said += [text_of(await asked(client, words)) for words in (QUESTION, "Is the picture dark?")]
            return said

    said = run(scenario())
    assert said[:3] == ["My guess is red.", "My guess is blue.", CANNOT]
    assert said[3].startswith("It is ")  # the statements about the older picture are still there
    entry = Ledger(home).entries()[-1].content
    assert entry is not None
    assert "tiny on this machine" in entry["went"]
    assert "7 x 7 cells" in entry["kept"] and "until the next picture" in entry["kept"]


def test_a_question_about_shapes_asks_the_camera_where_the_model_sees(parts: Parts, address: str) -> None:
    words = "How many circles are there?"

    async def scenario(address: str) -> Client:
        async with session(address, **MANUAL) as client:
            await client.send("x.camera", on=True)
            text = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": words}]}
            await client.send("conversation.item.create", item=text)
            await client.send("response.create")
            await client.until("x.look" if address == seeing else "response.done")
            if address == seeing:
                content = [{"type": "input_image", "image_url": RED}]
                item = {"type": "message", "role": "user", "content": content}
                await client.send("conversation.item.create", item=item)
                await client.until("response.done")
            return client

    seeing = address
    client = run(scenario(address))
    assert text_of(client.events[-1]["response"]).startswith("My guess is ")
    assert NO_PICTURE not in text_of(client.events[-1]["response"])
    with wearing(parts) as blind:
        client = run(scenario(blind))
    assert "x.look" not in client.kinds()
    assert text_of(client.events[-1]["response"]) == f"I heard: {words}"


def test_a_question_too_long_for_the_model_is_told_and_the_session_lives_on(address: str) -> None:
    async def scenario() -> tuple[dict[str, Any], dict[str, Any]]:
        async with session(address, **MANUAL) as client:
            failed = await shown(client, RED, f"{QUESTION} {'why? ' * 3000}")
            added = next(event for event in client.events if event["type"] == "conversation.item.added")
            await client.send("conversation.item.delete", item_id=added["item"]["id"])
            return failed, await shown(client, RED, QUESTION)

    failed, after = run(scenario())
    assert failed["status"] == "failed"
    assert "the question is too long" in failed["status_details"]["error"]["message"]
    assert text_of(after) == "My guess is red."
