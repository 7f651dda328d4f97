"""Bodies that Python's reader of JSON takes and no answer could repeat are refused on every route."""

from __future__ import annotations

import httpx2
import pytest

TEXT = b'{"role": "user", "content": "%s"}'
BAD = {
    "half a pair": (rb"\ud83e", "not Unicode"),
    "half a pair, in capitals": (rb"\uDFFF x", "not Unicode"),
    "no number": (b'", "x": NaN, "y": "', "NaN is no number"),
    "no end": (b'", "x": -Infinity, "y": "', "-Infinity is no number"),
    "too large": (b'", "x": [1e999], "y": "', "too large"),
    "no UTF-8": (b"\xff", "not UTF-8"),
    "too long a number": (b'", "x": ' + b"9" * 5_000 + b', "y": "', "a number of more than 4,300 digits"),
    "too deep": (b'", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b', "y": "', "too many levels"),
}
ROUTES = {
    "conversations": b'{"items": [%s]}',
    "responses": b'{"input": [%s]}',
    "chat/completions": b'{"messages": [%s], "max_tokens": 1}',
    "messages": b'{"model": "tiny", "max_tokens": 1, "messages": [%s]}',
    "embeddings": b'{"input": "x", "user": [%s]}',
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("route", ROUTES)
def test_what_no_answer_could_repeat_is_refused(roomy_url: str, route: str, case: str) -> None:
    content, words = BAD[case]
    headers = {"Content-Type": "application/json"}
    reply = httpx2.post(f"{roomy_url}/v1/{route}", content=ROUTES[route] % (TEXT % content), headers=headers)
    assert reply.status_code == 400, reply.text
    assert words in reply.json()["error"]["message"]


def test_whole_characters_come_back_however_they_are_written(roomy_url: str) -> None:
    body, headers = rb'{"metadata": {"a": "\ud83e\udd99 \\ud800 1e999 NaN"}}', {"Content-Type": "application/json"}
    made = httpx2.post(f"{roomy_url}/v1/conversations", content=body, headers=headers).json()
    assert made["metadata"] == {"a": "\U0001f999 \\ud800 1e999 NaN"}
    assert httpx2.get(f"{roomy_url}/v1/conversations/{made['id']}").json() == made
