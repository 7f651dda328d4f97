"""A served model takes the same items: our own gateway, and servers that are busy, closed or gone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from ayllu.evals.endpoint.client import IN_A_ROW
from ayllu.evals.profile.rows import make_items
from ayllu.evals.profile.run import run_profile
from ayllu.evals.profile.subjects.choose import weights_subject
from ayllu.evals.profile.subjects.server import ServerSubject
from ayllu.lab.error import UserError
from ayllu.model.files import hf
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.text.tokenizer import Tokenizer
from support.models import TINY, sharp_model, tiny_tokenizer
from support.serving.server import serving


def test_our_gateway_answers_as_the_weights_do(tmp_path: Path) -> None:
    folder, tokenizer = tmp_path / "tiny", tiny_tokenizer()
    sharp = sharp_model(replace(TINY, vocabulary=tokenizer.size, context=192))
    hf.save(folder, sharp, dtype=torch.float32, bos=tokenizer.bos, stops=sorted(tokenizer.stops))
    tokenizer.save(folder)
    items = [item for item in make_items(["mathematics"], each=1) if item.level < 3]
    weights = weights_subject("tiny", hf.load(folder), Tokenizer.load(folder), dtype="float32", chat_template="on")
    ours = {number: reply for number, reply, _ in weights.generate(items)}
    with serving(folder, TorchEngine(folder)) as address:
        subject = ServerSubject(address)
        theirs = {number: reply for number, reply, _ in subject.generate(items)}
        # The context of 192 ids is too short for the hardest, which is no reason to stop.
        profile = run_profile(subject, cache=tmp_path / "cache", each=1, rows=["long_term_storage", "knowing_limits"])
    assert subject.name == "tiny"
    for number in range(len(items)):
        # A server goes on longer, for models that think.
        assert theirs[number][:8] == ours[number][:8] != ""
    assert profile["about"]["kind"] == "server"
    (row,) = [row for row in profile["further"] if row["measured"]]
    assert row["row"] == "knowing_limits"
    assert 0 < row["missing"] < row["items"]
    assert list(profile["by_mode"]) == ["gen"]


class Told(BaseHTTPRequestHandler):
    """Answers with what `script` gives next: a status, headers and an object."""

    script: Iterator[tuple[int, dict[str, str], object]]
    seen: list[dict]
    lock: threading.Lock

    def do_GET(self) -> None:
        self._send(200, {}, {"data": [{"id": "m"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.lock:
            self.seen.append({**body, "authorization": self.headers.get("authorization")})
            answer = next(self.script)
        self._send(*answer)

    def _send(self, status: int, headers: dict[str, str], content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def told(script: Iterator[tuple[int, dict[str, str], object]]) -> Iterator[tuple[str, list[dict]]]:
    seen: list[dict] = []
    handler = type("Handler", (Told,), {"script": script, "seen": seen, "lock": threading.Lock()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def said(text: str) -> tuple[int, dict[str, str], object]:
    return 200, {}, {"choices": [{"message": {"role": "assistant", "content": text}}]}


ITEMS = [item for item in make_items(["mathematics"], each=1) if item.level < 4]


def test_a_busy_server_is_asked_again_and_a_conversation_travels_whole() -> None:
    item = next(item for item in make_items(["correction"], each=1) if item.level == 1)
    busy = (503, {"retry-after": "0"}, {"error": {"message": "busy"}})
    with told(iter([busy, busy, said(item.answer)])) as (address, seen):
        ((_, reply, refused),) = ServerSubject(address, api_key="key").generate([item])
    assert (reply, refused) == (item.answer, "")
    assert [turn["role"] for turn in seen[-1]["messages"]] == [role for role, _ in item.turns] + ["user"]
    assert seen[-1]["messages"][-1]["content"] == item.question
    assert (seen[-1]["temperature"], seen[-1]["authorization"]) == (0, "Bearer key")


def test_an_item_that_is_refused_has_no_answer_and_the_others_go_on() -> None:
    refusal = (400, {}, {"error": {"message": "too long"}})
    with told(iter([refusal, *[said("5")] * 20])) as (address, _):
        answers = list(ServerSubject(address).generate(ITEMS))
    assert sorted(number for number, _, _ in answers) == list(range(len(ITEMS)))
    assert [refused for _, reply, refused in answers if reply is None] == ["status 400: too long"]


def test_a_server_that_answers_nothing_ends_the_measurement_and_keeps_what_there_is(tmp_path: Path) -> None:
    broken = (200, {}, {"choices": []})
    with told(iter([*[said("5")] * 6, *[broken] * 99])) as (address, seen):
        with pytest.raises(UserError, match=f"no answer to {IN_A_ROW} items in a row"):
            run_profile(ServerSubject(address), cache=tmp_path, each=1, rows=["mathematics"])
        asked = len(seen)
        assert asked < 20
        (kept,) = (tmp_path / "evals").glob("profile-*.jsonl")
        assert sum('"reply": "5"' in line for line in kept.read_text().splitlines()) >= 4


def test_which_model_is_meant_must_be_clear() -> None:
    with told(iter([])) as (address, _):
        assert ServerSubject(address).name == "m"
        assert ServerSubject(address.removesuffix("/v1")).name == "m"
        with pytest.raises(UserError, match=r"which model .* is meant \(it has: m\)"):
            ServerSubject(address, model="other")
    with pytest.raises(UserError, match="is no address of a server"):
        ServerSubject("http://name:secret@127.0.0.1/v1")
