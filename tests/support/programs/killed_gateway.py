"""Kills a gateway while it answers, again and again, and says what of its answers the next one does not know.

`python -m support.programs.killed_gateway FOLDER STATE KILLS`. Each gateway is forked after the imports and before
anything is computed, so that none has to load torch.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import torch
import uvicorn

from ayllu.serve.about import describe
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.gateway import create_app
from ayllu.serve.queue import EngineQueue
from ayllu.serve.served import Models, Served
from ayllu.serve.server import listen, server_config
from ayllu.serve.state.choose import open_store

CLIENTS = 4
BODY = {"input": "Hello", "max_output_tokens": 3}


class Clients:
    """Asks for responses of all kinds from several threads, and remembers what was acknowledged."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.whole: dict[str, Any] = {}
        """Responses that were told of to the end."""
        self.begun: set[str] = set()
        """Ids of which a client knows no more than that they are there."""
        self.talks: dict[str, list[str]] = {}
        """Texts that each conversation has."""
        self.stop = threading.Event()
        self._first = threading.Event()

    def ask(self, number: int) -> None:
        """Ask until told to stop, or until nobody answers."""
        with httpx2.Client(base_url=self.url, timeout=30) as http:
            while not self.stop.is_set():
                try:
                    (self._whole, self._streamed, self._background, self._talk)[number % 4](http)
                except httpx2.HTTPError:
                    if self._first.is_set():
                        return
                    time.sleep(0.02)

    def wait(self) -> None:
        """Return when there was an answer."""
        self._first.wait(60)

    def _whole(self, http: httpx2.Client) -> None:
        made = http.post("/v1/responses", json=BODY).json()
        self.whole[made["id"]] = made
        self._first.set()

    def _streamed(self, http: httpx2.Client) -> None:
        with http.stream("POST", "/v1/responses", json={**BODY, "stream": True}) as reply:
            for line in reply.iter_lines():
                if not line.startswith("data: {"):
                    continue
                event = json.loads(line.removeprefix("data: "))
                if event["type"] == "response.created":
                    self.begun.add(event["response"]["id"])
                elif event["type"] in ("response.completed", "response.incomplete"):
                    self.whole[event["response"]["id"]] = event["response"]

    def _background(self, http: httpx2.Client) -> None:
        self.begun.add(http.post("/v1/responses", json={**BODY, "background": True}).json()["id"])

    def _talk(self, http: httpx2.Client) -> None:
        name = http.post("/v1/conversations", json={}).json()["id"]
        self.talks[name] = []
        made = http.post("/v1/responses", json={**BODY, "conversation": name}).json()
        self.whole[made["id"]] = made
        self.talks[name] = ["Hello", made["output"][0]["content"][0]["text"]]


def main(folder: Path, state: Path, kills: int) -> None:
    """Kill `kills` gateways, then ask one more for all that was acknowledged."""
    draw, seen = random.Random(0), []
    torch.set_num_threads(1)
    # The gateways alone hold the port, so that nobody waits for a dead one.
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    for _ in range(kills):
        child = _gateway(folder, state, port)
        clients = Clients(url)
        threads = [threading.Thread(target=clients.ask, args=[number], daemon=True) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        clients.wait()
        time.sleep(draw.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        clients.stop.set()
        for thread in threads:
            thread.join()
        seen.append(clients)
    child = _gateway(folder, state, port)
    found = _checked(url, seen)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    sys.stdout.write(json.dumps({"kills": kills, **found}))


def _gateway(folder: Path, state: Path, port: int) -> int:
    """Fork a gateway that serves `folder` on `port`."""
    child = os.fork()
    if child:
        return child
    engine = TorchEngine(folder)
    about = describe(folder, context=engine.context, parameters=engine.parameters)
    store = open_store(str(state), home=state.parent)
    app = create_app(Models(Served(EngineQueue(engine), about)), store=store)
    uvicorn.Server(server_config(app)).run(sockets=[listen("127.0.0.1", port)])
    os._exit(0)


def _answers(http: httpx2.Client) -> bool:
    try:
        return http.get("/health").status_code == 200
    except httpx2.HTTPError:
        return False


def _checked(url: str, seen: list[Clients]) -> dict[str, Any]:
    """What is not there, or not as it was told."""
    lost, other = [], []
    whole = {name: body for clients in seen for name, body in clients.whole.items()}
    begun = {name for clients in seen for name in clients.begun} - set(whole)
    talks = {name: texts for clients in seen for name, texts in clients.talks.items()}
    with httpx2.Client(base_url=url, timeout=60) as http:
        while not _answers(http):
            time.sleep(0.05)
        for name, body in whole.items():
            reply = http.get(f"/v1/responses/{name}")
            if reply.status_code != 200:
                lost.append(name)
            elif reply.json() != body:
                other.append(name)
        lost += [name for name in begun if http.get(f"/v1/responses/{name}").status_code != 200]
        for name, texts in talks.items():
            reply = http.get(f"/v1/conversations/{name}/items", params={"order": "asc"})
            if reply.status_code != 200:
                lost.append(name)
            elif texts and [item["content"][0]["text"] for item in reply.json()["data"]] != texts:
                other.append(name)
    counts = {"whole": len(whole), "begun": len(begun), "conversations": len(talks)}
    return {**counts, "lost": lost, "other": other}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
