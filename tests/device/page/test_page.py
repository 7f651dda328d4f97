"""The page as a pair of glasses, in a real browser with a WAV for a microphone and MJPEG for a camera."""

from __future__ import annotations

import io
import json
import shutil
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from ayllu.data.archive import default_cache
from ayllu.device.audio.pcm import resample, to_pcm16
from ayllu.device.page_routes import PAGE
from ayllu.device.see.faces import Faces
from ayllu.device.see.picture import from_data_url, pixels_of
from support.parts import need, need_module
from support.pictures import detail, jpeg, portrait, sign
from support.serving.glasses import WIRE, speech, wearing

if TYPE_CHECKING:
    from ayllu.device.parts import Parts

playwright = need_module("playwright.sync_api", "playwright is not installed")
axe = need_module("axe_playwright_python.sync_playwright", "axe-playwright-python is not installed")

WATCH = """
window.sent = [];
window.pictures = [];
window.sockets = [];
const Plain = WebSocket;
window.WebSocket = class extends Plain { constructor(...words) { super(...words); window.sockets.push(this); } };
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  const light = document.getElementById("light");
  const shown = data.length < 2000 ? data : "";
  if (data.includes("input_image")) window.pictures.push({ lit: light.dataset.on, data });
  window.sent.push({ type: JSON.parse(data).type, lit: light.dataset.on, data: shown });
  return send.call(this, data);
};
"""


@pytest.fixture(scope="module")
def address(parts: Parts) -> Iterator[str]:
    with wearing(parts) as address:
        yield address


@pytest.fixture(scope="module")
def sensors(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sensors")
    audio = resample(speech(parts, "What is the weather like today?", before=1.5, after=8.0), WIRE, 48_000)
    with wave.open(str(folder / "microphone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(to_pcm16(audio))
    with (folder / "camera.mjpeg").open("wb") as file:
        for shade in range(0, 200, 10):
            frame = io.BytesIO()
            Image.fromarray(np.full((480, 640, 3), shade, np.uint8)).save(frame, "jpeg")
            file.write(frame.getvalue())
    return folder / "microphone.wav", folder / "camera.mjpeg"


def street_scene() -> np.ndarray:
    picture, face = sign("Platform 4", "to London"), portrait(300)
    picture.paste(face, (660, 320))
    return np.asarray(picture)


@pytest.fixture(scope="module")
def street(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Somebody asks about a sign, and a stranger stands beside it."""
    folder = tmp_path_factory.mktemp("street")
    audio = resample(speech(parts, "Please read the sign in front of me.", before=2.5, after=20.0), WIRE, 48_000)
    with wave.open(str(folder / "microphone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(to_pcm16(audio))
    (folder / "camera.mjpeg").write_bytes(jpeg(Image.fromarray(street_scene())) * 20)
    return folder / "microphone.wav", folder / "camera.mjpeg"


def expected(text: str) -> bool:
    """What is no complaint: onnxruntime does not know the processor that a browser shows it."""
    return "favicon" in text or "LogEarlyWarning" in text


@contextmanager
def visiting(address: str, sensors: tuple[Path, Path], *, allowed: bool = True) -> Iterator[Any]:
    need(chromium := shutil.which("chromium"), "chromium is not installed")
    flags = [
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={sensors[0]}%noloop",
        f"--use-file-for-fake-video-capture={sensors[1]}",
        "--autoplay-policy=no-user-gesture-required",
        *(["--use-fake-ui-for-media-stream"] if allowed else []),
    ]
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox", *flags])
        context = browser.new_context(permissions=["camera", "microphone"] if allowed else [])
        page = context.new_page()
        page.set_default_timeout(40_000)
        page.add_init_script(WATCH)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" and not expected(m.text) else None)
        page.goto(f"{address}/glasses")
        yield page
        browser.close()
        assert complaints == []


def appended(page: Any) -> list[dict[str, str]]:
    return [one for one in page.evaluate("window.sent") if one["type"] == "input_audio_buffer.append"]


def test_a_question_is_heard_and_answered_and_nothing_is_captured_without_the_light(
    address: str, sensors: tuple[Path, Path]
) -> None:
    with visiting(address, sensors) as page:
        light = page.locator("#light")
        assert light.get_attribute("data-on") == "false" and "nothing" in light.inner_text()
        page.click("#listen")
        page.wait_for_selector("#captions .wearer:not(.partial) >> text=weather")
        page.wait_for_selector("#captions .glasses >> text=I heard")
        assert light.get_attribute("data-on") == "true" and "microphone on" in light.inner_text()
        page.click("#camera")
        page.wait_for_selector("#view:not([hidden])")
        assert "microphone and camera on" in light.inner_text()
        pieces = appended(page)
        assert len(pieces) > 20 and {piece["lit"] for piece in pieces} == {"true"}
        # The light out by any other way: what the sensors give does not pass.
        page.evaluate("document.getElementById('light').dataset.on = 'false'")
        before = len(appended(page))
        page.wait_for_timeout(400)
        assert len(appended(page)) == before
        page.click("#camera")
        page.click("#listen")
        assert light.get_attribute("data-on") == "false"
        count = len(appended(page))
        page.wait_for_timeout(300)
        assert len(appended(page)) == count
        assert not any("image" in one["data"] for one in page.evaluate("window.sent"))


def sent_pictures(page: Any) -> list[dict[str, Any]]:
    return [one for one in page.evaluate("window.pictures") if "input_image" in one["data"]]


def test_a_sign_is_read_aloud_and_the_stranger_beside_it_leaves_the_page_blurred(
    parts: Parts, address: str, street: tuple[Path, Path]
) -> None:
    with visiting(address, street) as page:
        page.click("#camera")
        page.wait_for_selector("#view:not([hidden])")
        page.wait_for_timeout(1000)
        assert sent_pictures(page) == []
        page.click("#listen")
        page.wait_for_selector("#captions .glasses >> text=London")
        page.wait_for_selector("#captions .basis >> text=rests on")
        (sent,) = sent_pictures(page)
        assert sent["lit"] == "true"
        content = json.loads(sent["data"])["item"]["content"]
        pixels = pixels_of(from_data_url(content[0]["image_url"]))
        ((left, top, right, bottom),) = Faces(default_cache()).find(street_scene())[:, :4] * pixels.shape[1] / 960
        inner = np.s_[round(top) : round(bottom), round(left) : round(right)]
        clear = np.asarray(Image.fromarray(street_scene()).resize(pixels.shape[1::-1]))
        assert detail(pixels[inner]) < 0.3 * detail(clear[inner])
        # Outside the face the picture is as the camera gave it, but for what JPEG makes of it.
        away = np.s_[:, : int(pixels.shape[1] * 0.66)]
        assert (np.abs(clear.astype(np.int16) - pixels)[away].max(-1) > 40).mean() < 0.05
        # The light out by any other way: no picture passes.
        page.evaluate("document.getElementById('light').dataset.on = 'false'")
        page.click("#look")
        page.wait_for_timeout(1500)
        assert len(sent_pictures(page)) == 1


def test_without_what_finds_faces_no_picture_leaves_the_page(address: str, street: tuple[Path, Path]) -> None:
    with visiting(address, street) as page:
        page.route("**/vision/faces.onnx", lambda route: route.fulfill(status=200, body="none"))
        page.click("#camera")
        page.wait_for_selector("#state >> text=faces cannot be blurred")
        page.click("#look")
        page.wait_for_selector("#state >> text=no picture leaves the page")
        assert sent_pictures(page) == []


def test_what_was_said_outlives_a_broken_connection(address: str, sensors: tuple[Path, Path]) -> None:
    with visiting(address, sensors) as page:
        page.click("#listen")
        page.wait_for_selector("#captions .glasses >> text=weather")
        page.wait_for_timeout(2_000)
        page.evaluate("window.sockets.at(-1).close()")
        page.wait_for_selector("#state >> text=the connection broke")
        page.wait_for_selector("#state >> text=connected · model")
        found = page.evaluate(ASK)
        assert [item["role"] for item in found] == ["user", "assistant"]
        assert all("weather" in item["content"][0]["text"] for item in found)
        page.click("#forget")
        page.click("#listen")
        page.wait_for_timeout(2_000)
        assert page.evaluate("window.sent.filter(({ type }) => type === 'conversation.item.create').length") == 2


EVENTS = [
    {"type": "input_audio_buffer.committed", "item_id": "item_1"},
    {"type": "conversation.item.done", "item": {"id": "item_1", "type": "message", "role": "user", "content": [{}]}},
    {
        "type": "conversation.item.done",
        "item": {"id": "item_2", "type": "message", "role": "assistant", "content": [{"transcript": "At noon."}]},
    },
    {"type": "conversation.item.input_audio_transcription.completed", "item_id": "item_1", "transcript": "When?"},
    {"type": "conversation.item.done", "item": {"id": "item_3", "type": "message", "role": "user", "content": [{}]}},
]
"""A slow transcription: the answer is done before its question is written down, and a second question is not yet."""

RESTORED = """
async (events) => {
  const { Session } = await import("./glasses/session.js");
  const session = new Session(() => {}, () => {});
  const told = [];
  session.send = (type, { item }) => told.push([item.id, item.role, item.content[0].text]);
  events.forEach((event) => session.remember(event));
  session.restore();
  return told;
}
"""


def test_a_question_written_down_late_stands_before_its_answer(address: str, sensors: tuple[Path, Path]) -> None:
    with visiting(address, sensors) as page:
        told = page.evaluate(RESTORED, EVENTS)
        assert told == [["item_1", "user", "When?"], ["item_2", "assistant", "At noon."]]


ASK = """
async () => {
  const told = window.sent.filter(({ type }) => type === "conversation.item.create");
  const names = told.map(({ data }) => JSON.parse(data).item.id);
  const socket = window.sockets.at(-1);
  return Promise.all(names.map((item_id) => new Promise((resolve) => {
    socket.addEventListener("message", ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "conversation.item.retrieved" && event.item.id === item_id) resolve(event.item);
    });
    socket.send(JSON.stringify({ type: "conversation.item.retrieve", item_id }));
  })));
}
"""


def test_only_one_place_opens_a_sensor() -> None:
    holders = [path.name for path in PAGE.iterdir() if "getUserMedia" in path.read_text(encoding="utf-8")]
    assert holders == ["light.js"]


def test_push_to_talk_lights_while_it_is_held(address: str, sensors: tuple[Path, Path]) -> None:
    with visiting(address, sensors) as page:
        light = page.locator("#light")
        page.locator("#talk").dispatch_event("pointerdown")
        page.wait_for_selector("#light[data-on=true]")
        page.wait_for_timeout(4_000)
        page.locator("#talk").dispatch_event("pointerup")
        assert light.get_attribute("data-on") == "false"
        page.wait_for_selector("#captions .glasses >> text=weather")


def test_a_microphone_that_is_refused_is_said_and_the_light_is_out(address: str, sensors: tuple[Path, Path]) -> None:
    with visiting(address, sensors, allowed=False) as page:
        page.click("#listen")
        page.wait_for_selector("#state >> text=the microphone is not allowed")
        assert page.locator("#light").get_attribute("data-on") == "false"
        found = axe.Axe().run(page).response["violations"]
        assert [violation["id"] for violation in found] == []
