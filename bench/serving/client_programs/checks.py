"""What the programs of all Python clients share: how checks are run and told, and whether the server has stopped."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

URL = sys.argv[1] if len(sys.argv) > 1 else ""
LONG = "Tell a long story about a llama."
CITY = {"type": "object", "properties": {"city": {"enum": ["Puno", "Cusco"]}}, "required": ["city"]}
CITY["additionalProperties"] = False
CITIES = ("Puno", "Cusco")
PATIENCE = 30.0
"""Seconds in which the server must have noticed that a client has left; its answer would take longer."""


class NotOffered(Exception):
    """The client has nothing of this kind."""


def model() -> str:
    """The name of the model that the server has."""
    with urllib.request.urlopen(f"{URL}/v1/models") as reply:
        return str(json.load(reply)["data"][0]["id"])


def running() -> int:
    """How many answers the server computes now."""
    with urllib.request.urlopen(f"{URL}/metrics") as reply:
        lines = reply.read().decode().splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running")))


def stopped() -> None:
    """Return when the server computes nothing any more; AssertionError where it goes on."""
    end = time.monotonic() + PATIENCE
    while running():
        assert time.monotonic() < end, "the server goes on computing"
        time.sleep(0.05)


def refused(call: Callable[[], Any], kind: type[Exception], *words: str) -> None:
    """AssertionError unless `call` raises `kind` with all of `words` in its text."""
    try:
        call()
    except kind as error:
        missing = [word for word in words if word not in str(error)]
        assert not missing, f"the error does not say {missing}: {str(error)[:200]}"
        return
    raise AssertionError("nothing was refused")


def run(checks: Mapping[str, Callable[[], Any]]) -> None:
    """Do all checks, and print what came of each."""
    told = {}
    for name, check in checks.items():
        try:
            check()
            told[name] = "ok"
        except NotOffered:
            told[name] = "not offered"
        except Exception as error:
            told[name] = f"{type(error).__name__}: {error}"[:300]
    print(json.dumps(told))
