"""Standard sets put to a server: the figures of the weights behind it, what it cannot tell, and one that dies."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from ayllu.api import measuring
from ayllu.evals.endpoint import client
from ayllu.evals.endpoint.client import Endpoint
from ayllu.evals.endpoint.respondent import EndpointRespondent, scored_in
from ayllu.evals.standard.evaluate import evaluate_tasks
from ayllu.evals.standard.prompts import chosen_rows, prompts_of
from ayllu.evals.standard.respondent import WeightsRespondent
from ayllu.evals.standard.rows import Reader
from ayllu.evals.standard.table import TASKS
from ayllu.lab.error import UserError
from support.models import TINY, sharp_model, tiny_tokenizer

ROWS = [
    {
        "goal": f"the {animal} goes {way}",
        "sol1": f"it eats {animal}s.",
        "sol2": "it sleeps, and then goes home",
        "label": 0,
    }
    for animal in ("cat", "dog", "llama", "bird")
    for way in ("home", "up", "away")
]
PIQA = replace(TASKS["piqa"], rows=lambda reader: ROWS, items=len(ROWS))
LAMBADA = replace(
    TASKS["lambada_openai"], rows=lambda reader: [{"text": "the dog goes home"}, {"text": "once upon a time"}], items=2
)
MATH = replace(
    TASKS["minerva_math500"],
    rows=lambda reader: [{"problem": "1 + 1?", "answer": "2", "solution": r"$\boxed{2}$"}],
    items=1,
    shots=None,
)


class Server(BaseHTTPRequestHandler):
    """Completions with echo and logprobs by a model, as OpenAI's legacy API tells them; chat says one thing always."""

    model, tokenizer = None, tiny_tokenizer()
    echoes, lives, slow = True, 10_000, 0
    seen: list[dict]

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "m"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append(body)
        number = len(self.seen)
        if number == self.slow:
            time.sleep(0.5)
        if number > self.lives:
            self.connection.close()
        elif self.path.endswith("/chat/completions"):
            self._send(
                200,
                {"choices": [{"message": {"content": "Final Answer: The final answer is 2. I hope it is correct."}}]},
            )
        elif not self.echoes:
            self._send(400, {"error": {"message": "no logprobs of a prompt here"}})
        else:
            told = [self._echo(text) for text in body["prompt"]]
            choices = [
                {"index": number, "text": f"{text}x", "logprobs": logprobs}
                for number, (text, logprobs) in enumerate(zip(body["prompt"], told, strict=True))
            ]
            self._send(200, {"choices": choices[::-1]})

    def _echo(self, text: str) -> dict:
        ids = self.tokenizer.encode(text)
        with torch.inference_mode():
            log_TV = self.model(torch.tensor([ids])).log_softmax(-1)[0]
        values = [None, *(float(log_TV[at - 1, i]) for at, i in enumerate(ids) if at)]
        best = [None, *({"x": float(row.max())} for row in log_TV[:-1])]
        places = [len(self.tokenizer.decode(ids[:at])) for at in range(len(ids))]
        written = {"text_offset": [*places, len(text)], "token_logprobs": [*values, -99.0], "top_logprobs": [*best, {}]}
        return {"tokens": [str(i) for i in (*ids, 0)], **written}

    def _send(self, status: int, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *given: object) -> None:
        pass


@contextmanager
def served(**given: object) -> Iterator[tuple[str, list[dict]]]:
    seen: list[dict] = []
    model = sharp_model(replace(TINY, vocabulary=Server.tokenizer.size, context=192))
    handler = type("Handler", (Server,), {"model": model, "seen": seen, **given})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(client, "PATIENCE", 0.0)


def test_a_server_gives_the_figures_of_the_weights_behind_it(tmp_path):
    reader = Reader(tmp_path)
    with served() as (address, seen):
        scores = evaluate_tasks(EndpointRespondent(Endpoint(address)), [PIQA, LAMBADA, MATH], reader)
        asked = len(seen)
        again = evaluate_tasks(EndpointRespondent(Endpoint(address)), [PIQA, LAMBADA, MATH], reader)
    # Only whether it chats, and what it says of one sentence, are asked again.
    assert len(seen) == asked + 2
    assert again.as_json()["scores"] == scores.as_json()["scores"]
    assert scores.about["chat_template"] == {"generate": True, "rank": False, "likelihood": False}
    model = sharp_model(replace(TINY, vocabulary=Server.tokenizer.size, context=192))
    weights = WeightsRespondent(model, Server.tokenizer, dtype=torch.float32, beginning="none")
    for task, found in ((PIQA, scores.outcomes), (LAMBADA, [a for a in scores.answers if a.mode == "likelihood"])):
        prompts = prompts_of(task, reader, chosen_rows(task, reader, None))
        expected = {answer.id: answer for answer in weights.answers(task, prompts)}
        assert len(found) == len(expected)
        for answer in found:
            assert answer.log_likelihoods == pytest.approx(expected[answer.id].log_likelihoods, abs=1e-3)
            if task is LAMBADA:
                assert answer.values["acc"] == expected[answer.id].values["acc"]
    [written] = [answer for answer in scores.answers if answer.mode == "generate"]
    assert set(written.values.values()) == {1.0}


def test_a_kept_answer_is_judged_by_what_counts_as_right_today(tmp_path):
    """Another right answer to the same question asks nobody again, and is no longer met by the old verdict."""
    other = replace(MATH, rows=lambda reader: [{"problem": "1 + 1?", "answer": "3", "solution": r"$\boxed{3}$"}])
    with served() as (address, seen):
        first = evaluate_tasks(EndpointRespondent(Endpoint(address)), [MATH], Reader(tmp_path))
        asked = len(seen)
        second = evaluate_tasks(EndpointRespondent(Endpoint(address)), [other], Reader(tmp_path))
    assert len(seen) == asked + 2  # whether it chats, and what it says of one sentence
    values = [dict(scores.answers[0].values) for scores in (first, second)]
    assert values == [{"exact_match": 1.0}, {"exact_match": 0.0}]


def test_a_server_that_dies_is_named_and_what_it_answered_is_kept(tmp_path):
    # The last answer that it gives comes after many a refusal.
    with served(lives=6, slow=6) as (address, seen):
        respondent = EndpointRespondent(Endpoint(address))
        with pytest.raises(UserError, match=r"gave no answer to 5 items in a row .* it goes on from here"):
            evaluate_tasks(respondent, [PIQA], Reader(tmp_path))
        answered = sum(file.read_text().count("\n") - 1 for file in (tmp_path / "answers").iterdir())
    assert answered == 4
    with served() as (other, seen):
        respondent.owner["address"] = address
        mended = EndpointRespondent(Endpoint(other))
        mended.owner["address"] = address
        evaluate_tasks(mended, [PIQA], Reader(tmp_path))
    assert len(seen) == 2 + len(ROWS) - answered


def test_what_a_server_cannot_tell_is_not_measured_and_says_why(tmp_path):
    with served(echoes=False) as (address, _):
        scores = evaluate_tasks(EndpointRespondent(Endpoint(address)), [PIQA, MATH], Reader(tmp_path))
        chat = EndpointRespondent(Endpoint(address), chat_template="on")
    assert "does not tell how likely a given text is" in scores.not_measured["piqa"]
    assert "no logprobs of a prompt here" in scores.not_measured["piqa"]
    assert [answer.task for answer in scores.answers] == ["minerva_math500"]
    assert "leave the chat template off" in chat.cannot(PIQA)
    assert "name the weights" in chat.cannot(TASKS["moby_dick"])
    blimp = replace(
        TASKS["blimp"], rows=lambda reader: [{"sentence_good": "a", "sentence_bad": "b", "UID": "x"}], items=1
    )
    assert "first token" in chat.cannot_ask(
        prompts_of(blimp, Reader(tmp_path), chosen_rows(blimp, Reader(tmp_path), None))
    )


@pytest.mark.parametrize(
    "given, said",
    [
        ({"suite": "small"}, "is asked standard sets, not small"),
        ({"suite": "pika"}, "no suite is called pika"),
        ({"suite": "piqa", "dtype": "bfloat16"}, "computes in its own type"),
        ({"suite": "piqa"}, "cannot be reached"),
        ({"suite": "piqa", "text": Path(__file__)}, "leave --text out"),
    ],
)
def test_what_cannot_be_asked_of_a_server_is_one_sentence(given, said):
    with pytest.raises(UserError, match=said):
        measuring.evaluate("http://127.0.0.1:9/v1", **given)


def test_a_token_that_reaches_into_the_answer_counts():
    told = {
        "text_offset": [0, 2, 5],
        "token_logprobs": [None, -1.0, -2.0],
        "top_logprobs": [None, {"a": -1.0}, {"b": -1.0}],
    }
    assert scored_in(told, "abc", "de") == scored_in(told, "ab", "cde")
    assert scored_in(told, "ab", "cde").log_likelihood == -1.0
    assert scored_in(told | {"text_offset": [0, 2, 4]}, "abc", "de").greedy is False
    with pytest.raises(ValueError, match="no log-probability"):
        scored_in(told, "", "abcde")


def test_all_tokens_of_a_first_character_count():
    told = {
        "text_offset": [0, 1, 1, 2],
        "token_logprobs": [None, -1.0, -2.0, -4.0],
        "top_logprobs": [None, {"a": -1.0}, {"b": -1.0}, {"c": -4.0}],
    }
    found = scored_in(told, "a", "山b")
    assert (found.log_likelihood, found.tokens, found.greedy) == (-7.0, 3, False)
    assert scored_in(told, "a山", "b").log_likelihood == -4.0
