"""Kills a gateway while it writes, again and again, and says what the last one does not know of what was told.

`python -m support.programs.killed_gateway FOLDER STATE HOME KILLS`; STATE is a file or a URL of PostgreSQL, and HOME is
where uploads lie. Each gateway is forked after the imports and before anything is computed, so that none has to load
torch.
"""

from __future__ import annotations

import hashlib
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
from ayllu.serve.network.listen import listen
from ayllu.serve.queue import EngineQueue
from ayllu.serve.served import Models, Served
from ayllu.serve.state.choose import open_store
from ayllu.serve.stoppable import server_config

CLIENTS = 5
LARGEST = 300_000
"""Bytes of an upload."""
DELETED = 0.25
"""Share of answers and uploads that are deleted at once."""
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
        self.files: dict[str, str] = {}
        """The sha256 of each upload."""
        self.deleted: set[str] = set()
        """Paths of what a client was told is deleted."""
        self.refused: list[str] = []
        """What was answered where nothing was acknowledged."""
        self.stop = threading.Event()
        self._first = threading.Event()

    def ask(self, number: int) -> None:
        """Ask until told to stop, or until nobody answers."""
        with httpx2.Client(base_url=self.url, timeout=30) as http:
            while not self.stop.is_set():
                try:
                    kinds = (self._whole, self._streamed, self._background, self._talk, self._file)
                    kinds[number](http)
                except httpx2.HTTPStatusError:
                    time.sleep(0.02)
                except httpx2.HTTPError:
                    if self._first.is_set():
                        return
                    time.sleep(0.02)

    def wait(self) -> None:
        """Return when there was an answer."""
        assert self._first.wait(300), "no gateway has answered"

    def _whole(self, http: httpx2.Client) -> None:
        made = self._post(http, "/v1/responses", json=BODY)
        self._first.set()
        self.whole[made["id"]] = made
        if random.random() < DELETED:
            self._delete(http, "/v1/responses", made["id"], self.whole)

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
        self.begun.add(self._post(http, "/v1/responses", json={**BODY, "background": True})["id"])

    def _talk(self, http: httpx2.Client) -> None:
        name = self._post(http, "/v1/conversations", json={})["id"]
        self.talks[name] = []
        made = self._post(http, "/v1/responses", json={**BODY, "conversation": name})
        self.whole[made["id"]] = made
        self.talks[name] = ["Hello", made["output"][0]["content"][0]["text"]]
        more = {"items": [{"type": "message", "role": "user", "content": f"more of {name}"}]}
        self._post(http, f"/v1/conversations/{name}/items", json=more)
        self.talks[name] = [*self.talks[name], f"more of {name}"]

    def _file(self, http: httpx2.Client) -> None:
        data = os.urandom(random.randrange(1, LARGEST))
        made = self._post(http, "/v1/files", files={"file": ("some.bin", data)}, data={"purpose": "user_data"})
        self.files[made["id"]] = hashlib.sha256(data).hexdigest()
        if random.random() < DELETED:
            self._delete(http, "/v1/files", made["id"], self.files)

    def _post(self, http: httpx2.Client, path: str, **given: Any) -> dict[str, Any]:
        """What a request made. HTTPStatusError where it was refused: nothing was acknowledged then."""
        reply = http.post(path, **given)
        if reply.status_code != 200:
            self.refused.append(f"{path}: {reply.status_code} {reply.text[:200]}")
        made: dict[str, Any] = reply.raise_for_status().json()
        return made

    def _delete(self, http: httpx2.Client, kind: str, name: str, kept: dict[str, Any]) -> None:
        """Until the answer is here nobody knows whether it is still there."""
        del kept[name]
        if http.delete(f"{kind}/{name}").status_code == 200:
            self.deleted.add(f"{kind}/{name}")


def main(folder: Path, state: str, home: Path, kills: int) -> None:
    """Kill `kills` gateways, then ask one more for all that was acknowledged."""
    draw, seen = random.Random(0), []
    torch.set_num_threads(1)
    # The gateways alone hold the port, so that nobody waits for a dead one.
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    for _ in range(kills):
        child = _gateway(folder, state, home, port)
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
    child = _gateway(folder, state, home, port)
    found = _checked(url, seen) | {"stray": _stray(home, url)}
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    sys.stdout.write(json.dumps({"kills": kills, **found}))


def _gateway(folder: Path, state: str, home: Path, port: int) -> int:
    """Fork a gateway that serves `folder` on `port`."""
    child = os.fork()
    if child:
        return child
    engine = TorchEngine(folder)
    about = describe(folder, context=engine.context, parameters=engine.parameters)
    store = open_store(state, home=home)
    app = create_app(Models(Served(EngineQueue(engine), about)), store=store, home=home)
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
    files = {name: digest for clients in seen for name, digest in clients.files.items()}
    deleted = {path for clients in seen for path in clients.deleted}
    with httpx2.Client(base_url=url, timeout=60) as http:
        while not _answers(http):
            time.sleep(0.05)
        for name, body in whole.items():
            reply = http.get(f"/v1/responses/{name}")
            if reply.status_code != 200:
                lost.append(name)
            elif reply.json() != body:
                other.append(
                    {
                        key: [value, reply.json().get(key)]
                        for key, value in body.items()
                        if reply.json().get(key) != value
                    }
                    | {"id": name}
                )
        lost += [name for name in begun if http.get(f"/v1/responses/{name}").status_code != 200]
        for name, texts in talks.items():
            reply = http.get(f"/v1/conversations/{name}/items", params={"order": "asc"})
            if reply.status_code != 200:
                lost.append(name)
            elif [item["content"][0]["text"] for item in reply.json()["data"]][: len(texts)] != texts:
                other.append(name)
        for name, digest in files.items():
            reply = http.get(f"/v1/files/{name}/content")
            if reply.status_code != 200:
                lost.append(name)
            elif hashlib.sha256(reply.content).hexdigest() != digest:
                other.append(name)
        back = [path for path in deleted if http.get(path).status_code != 404]
    counts = {"whole": len(whole), "begun": len(begun), "conversations": len(talks), "files": len(files)}
    refused = [said for clients in seen for said in clients.refused]
    return {
        **counts,
        "refused": len(refused),
        "first_refused": refused[:3],
        "deleted": len(deleted),
        "lost": lost,
        "other": other,
        "back": back,
    }


def _stray(home: Path, url: str) -> list[str]:
    """Bytes of uploads that no list shows, and listed uploads without bytes."""
    listed, after = set(), {}
    while True:
        page = httpx2.get(f"{url}/v1/files", params={"limit": 100, **after}, timeout=60).json()
        listed |= {one["id"] for one in page["data"]}
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}
    places = [path for path in home.rglob("*") if path.parent.name in ("incoming", "content")]
    return sorted({path.name for path in places} ^ listed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
