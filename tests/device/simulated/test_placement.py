"""Where a stage runs, by latency, battery and temperature; and a device that runs them itself."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from ayllu.device.simulated.body import Body, Build
from ayllu.device.simulated.placement import AGAIN, Cost, Placement
from ayllu.device.simulated.play import Player
from ayllu.device.simulated.script import Script
from support.serving.glasses import wearing

if TYPE_CHECKING:
    from ayllu.device.parts import Parts

BOTH = frozenset({"hearing", "speaking"})


def placement(device: Cost, server: Cost) -> Placement:
    return Placement(BOTH, {("hearing", "device"): device, ("hearing", "server"): server})  # type: ignore[arg-type]


FAST, FRUGAL = Cost(seconds=0.2, joules=3.0), Cost(seconds=0.9, joules=0.5)


def test_seconds_decide_and_joules_where_the_battery_is_low_and_nothing_runs_on_a_hot_device() -> None:
    chosen = placement(FAST, FRUGAL).choose("hearing", Body(charge=0.8))
    assert chosen.place == "device" and "200 ms here, 900 ms there" in chosen.why
    low = placement(FAST, FRUGAL).choose("hearing", Body(charge=0.1))
    assert low.place == "server" and "3.00 J here" in low.why
    assert placement(FRUGAL, FAST).choose("hearing", Body(charge=0.1)).place == "device"
    hot = placement(FAST, FRUGAL).choose("hearing", Body(Build(hottest=40.0), temperature=41.0))
    assert hot.place == "server" and "41 °C" in hot.why


def test_a_place_is_measured_before_it_is_judged_and_again_after_a_while() -> None:
    one = Placement(BOTH)  # type: ignore[arg-type]
    assert one.choose("hearing", Body()).place == "device"
    one.measured("hearing", "device", FAST)
    assert one.choose("hearing", Body()).place == "server"
    one.measured("hearing", "server", FRUGAL)
    places = [one.choose("hearing", Body()).place for _ in range(2 * AGAIN + 2)]
    assert places.count("server") == 2 and places[AGAIN] == "server"
    for _ in range(20):
        one.measured("hearing", "device", Cost(seconds=2.0, joules=3.0))
    assert one.choose("hearing", Body()).place == "server"
    assert Placement(frozenset()).choose("hearing", Body()).place == "server"


def play(parts: Parts, steps: list[dict[str, Any]], **device: Any) -> dict[str, Any]:
    script = Script.model_validate({"steps": steps, "device": device})
    with wearing(parts) as address:
        player = Player(script, address.replace("http", "ws") + "/v1/realtime", parts.voice, own=parts)
        return asyncio.run(asyncio.wait_for(player.play(), 150))


SENTENCES = [
    "Where did I leave my keys?",
    "Turn the volume down a little.",
    "I would like to know when the museum closes, and how far it is to the station.",
    "Play some quiet music.",
]


def test_a_device_hears_and_speaks_itself_and_lets_the_server_and_the_context_is_what_was_heard(parts: Parts) -> None:
    steps: list[dict[str, Any]] = [{"say": text} for text in SENTENCES]
    steps[0]["expect"], steps[1]["expect"], steps[3]["expect"] = "keys", "volume", "music"
    steps[2]["interrupt"] = 1.0
    found = play(parts, steps)
    assert found["unanswered"] == 0 and found["lost"] == [] and found["expectations_unmet"] == [], json.dumps(found)
    places = [[one["place"] for one in turn["placed"]] for turn in found["turns"]]
    assert places[:2] == [["device", "device"], ["server", "server"]]
    assert {(one["stage"], one["place"]) for one in found["placement"]} >= {
        ("hearing", "device"),
        ("hearing", "server"),
        ("speaking", "device"),
        ("speaking", "server"),
    }
    assert all(one["ms"] > 0 and one["joules"] > 0 for one in found["placement"])


def test_a_hot_device_computes_nothing(parts: Parts) -> None:
    found = play(parts, [{"say": SENTENCES[0], "expect": "keys"}], temperature=60)
    assert found["expectations_unmet"] == []
    assert [one["place"] for one in found["turns"][0]["placed"]] == ["server", "server"]
    assert "°C" in found["turns"][0]["placed"][0]["why"]
