"""A script played by the simulated device against the real server, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from support.parts import need_module
from support.pictures import jpeg, sign
from support.serving.glasses import wearing

if TYPE_CHECKING:
    from ayllu.device.parts import Parts

SCRIPT = """
device: {battery: 0.5, temperature: 30, build: {watt_hours: 0.1}}
noise: wind
snr: 15
steps:
  - {say: "Where did I leave my keys?", expect: keys}
  - {network: drop}
  - {say: "Please read the sign in front of me.", picture: sign.jpg, noise: walking, expect: London}
  - {say: "I would like to know when the museum closes, and how far it is to the station.", interrupt: 0.2}
  - {say: "Turn the volume down a little.", expect: volume}
"""
COMMAND = [sys.executable, "-m", "ayllu.cli", "glasses", "play"]


def test_a_script_is_played_with_noise_a_camera_and_a_broken_network(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "script.yaml").write_text(SCRIPT)
    (tmp_path / "sign.jpg").write_bytes(jpeg(sign("Platform 4", "to London")))
    with wearing(parts) as address:
        command = [*COMMAND, str(tmp_path / "script.yaml"), "--url", address, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["connections"] == 2 and found["dropped"] == 1
    assert found["unanswered"] == 0 and found["lost"] == [] and found["acknowledged"] >= 6
    looked = found["turns"][1]
    assert looked["rests_on"] and looked["rests_on"][0]["kind"] == "writing"
    device = found["device"]
    assert device["battery"] < 0.5 and device["temperature"] < 30 and device["joules"]["camera"] > 0


def test_a_battery_that_is_empty_ends_the_script_and_that_is_told(parts: Parts, tmp_path: Path) -> None:
    script = {"device": {"battery": 0.001, "build": {"watt_hours": 0.001}}, "steps": [{"wait": 60}, {"wait": 60}]}
    (tmp_path / "script.json").write_text(json.dumps(script))
    with wearing(parts) as address:
        command = [*COMMAND, str(tmp_path / "script.json"), "--url", address, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["device"]["battery"] == 0


def test_a_device_that_plays_aloud_does_not_interrupt_itself(parts: Parts, tmp_path: Path) -> None:
    need_module("pywebrtc_audio", "it cancels the echo")
    script = {
        "loudspeaker": {"down": 10, "reverberation": 0.3},
        "steps": [{"say": "I would like to know when the museum closes today.", "expect": "museum"}, {"wait": 3}],
    }
    found = {}
    with wearing(parts) as address:
        for cancel in (True, False):
            script["loudspeaker"]["cancel"] = cancel  # type: ignore[index]
            (tmp_path / "script.json").write_text(json.dumps(script))
            command = [*COMMAND, str(tmp_path / "script.json"), "--url", address, "--json"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
            found[cancel] = json.loads(done.stdout)["interrupted_itself"]
        done = subprocess.run([*command, "--pace", "0"], capture_output=True, text=True, timeout=60, check=False)
    assert found[True] == 0 < found[False]
    assert done.returncode == 2 and "real time" in done.stderr


def test_where_nobody_answers_that_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "script.yaml").write_text("steps: [{wait: 1}]")
    command = [*COMMAND, str(tmp_path / "script.yaml"), "--url", "http://127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "nothing answers" in done.stderr
