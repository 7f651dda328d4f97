"""What Open WebUI 0.12.4 sends to a server of OpenAI's kind, over real HTTP: each is answered, or refused in words.

Facts from its wheel on PyPI, no code: `routers/openai.py` (models, chat, continuation, responses), `routers/tasks.py`
(titles, tags, follow-ups, queries, emoji, several answers as one), `utils/payload.py` (parameters),
`utils/middleware.py` (tools, earlier reasoning), `retrieval/utils.py` and `retrieval/models/external.py` (embeddings,
rerank), `routers/audio/__init__.py`, `routers/images.py`, `utils/headers.py`.
"""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

HEADERS = {
    "Authorization": "Bearer sk-none",
    "X-OpenWebUI-User-Name": "Rosa%20M",
    "X-OpenWebUI-User-Id": "8a2f",
    "X-OpenWebUI-User-Email": "rosa@example.org",
    "X-OpenWebUI-User-Role": "user",
    "X-OpenWebUI-Chat-Id": "3c1d",
}
"""With ENABLE_FORWARD_USER_INFO_HEADERS."""
QUESTION: Any = {"role": "user", "content": "What is the tide at Puno?"}
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_tide",
        "description": "The tide at a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}
CALLED: Any = [
    QUESTION,
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "get_tide", "arguments": '{"place": "Puno"}'},
                "index": 0,
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "low"},
]
ENDS = {"stream_options": {"include_usage": True}, "max_tokens": 6}
CHATS: dict[str, Any] = {
    "a chat": {"messages": [QUESTION], **ENDS},
    "instructions and an answer before": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            QUESTION,
            {"role": "assistant", "content": "Low."},
            QUESTION,
        ],
        **ENDS,
    },
    "every parameter of its page": {
        "messages": [QUESTION],
        **ENDS,
        "temperature": 0.8,
        "top_p": 0.9,
        "min_p": 0.05,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.1,
        "seed": 42,
        "stop": ["\n\n"],
        "logit_bias": {"20": -100},
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
    },
    "parameters that a user adds": {"messages": [QUESTION], **ENDS, "top_k": 40, "repetition_penalty": 1.1},
    "tools": {"messages": [QUESTION], **ENDS, "tools": [TOOL]},
    "what a tool gave back": {"messages": CALLED, **ENDS, "tools": [TOOL]},
    "reasoning of an earlier answer": {
        "messages": [QUESTION, {"role": "assistant", "content": "Low.", "reasoning_content": "Think."}, QUESTION],
        **ENDS,
    },
    "a text in parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}], **ENDS},
}
TASKS: dict[str, Any] = {
    "a title, tags, follow-ups, queries": {"max_tokens": 6},
    "an emoji": {"max_tokens": 4},
    "several answers made one": {"max_tokens": 6, "stream": True},
    "a call of a tool for a model that knows none": {
        "max_tokens": 6,
        "messages": [{"role": "system", "content": "Tools: []"}, {"role": "user", "content": "Query: the tide"}],
    },
}


@pytest.fixture
def model(roomy_url: str) -> str:
    """As the list has it, which is asked for first, and to verify a connection."""
    reply = httpx2.get(f"{roomy_url}/v1/models", headers=HEADERS)
    assert reply.status_code == 200
    listed = reply.json()["data"]
    assert all(one["object"] == "model" and one["owned_by"] for one in listed)
    name: str = listed[0]["id"]
    return name


def events(reply: httpx2.Response) -> list[dict[str, Any]]:
    """A stream to its end, as its reader takes it: line by line, until [DONE]."""
    lines = [line for line in reply.text.split("\n") if line]
    assert lines[-1] == "data: [DONE]"
    assert all(line.startswith(("data: ", ": ")) for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1] if line.startswith("data: ")]


def refused(reply: httpx2.Response, status: int, words: str) -> None:
    """It shows `error.message` to its user."""
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert words in error["message"] and {"message", "type", "param", "code"} <= error.keys()


@pytest.mark.parametrize("name", CHATS)
def test_chats_are_answered_in_streams_that_end_with_the_usage(roomy_url: str, model: str, name: str) -> None:
    body = {"model": model, "stream": True, **CHATS[name]}
    reply = httpx2.post(f"{roomy_url}/v1/chat/completions", json=body, headers=HEADERS, timeout=60)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    found = events(reply)
    assert found[-1]["choices"] == [] and found[-1]["usage"]["total_tokens"] > found[-1]["usage"]["prompt_tokens"]
    assert [one["choices"][0]["finish_reason"] for one in found if one["choices"]][-1] in ("stop", "length")
    assert all({"id", "object", "created", "model"} <= one.keys() for one in found)


@pytest.mark.parametrize("name", TASKS)
def test_its_tasks_are_answered(roomy_url: str, model: str, name: str) -> None:
    body = {"model": model, "messages": [QUESTION], "stream": False, **TASKS[name]}
    reply = httpx2.post(f"{roomy_url}/v1/chat/completions", json=body, headers=HEADERS, timeout=60)
    assert reply.status_code == 200, reply.text
    if body["stream"]:
        assert events(reply)[-1]["choices"][0]["finish_reason"] in ("stop", "length")
        return
    assert isinstance(reply.json()["choices"][0]["message"]["content"], str)


def test_texts_become_vectors_in_their_order_and_documents_are_ranked(roomy_url: str, model: str) -> None:
    texts = ["Puno", "Lima", "a longer text"]
    body = {"input": texts, "model": model}
    reply = httpx2.post(f"{roomy_url}/v1/embeddings", json=body, headers=HEADERS, timeout=60)
    assert reply.status_code == 200, reply.text
    assert [one["index"] for one in reply.json()["data"]] == [0, 1, 2]
    assert all(isinstance(one["embedding"][0], float) for one in reply.json()["data"])
    asked = {"model": model, "query": "Puno", "documents": texts, "top_n": 3}
    ranked = httpx2.post(f"{roomy_url}/v1/rerank", json=asked, headers=HEADERS, timeout=60)
    assert ranked.status_code == 200, ranked.text
    assert sorted(one["index"] for one in ranked.json()["results"]) == [0, 1, 2]
    assert all(isinstance(one["relevance_score"], float) for one in ranked.json()["results"])


def test_responses_are_answered_to_their_end(roomy_url: str, model: str) -> None:
    said = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
    body = {"model": model, "stream": True, "input": [said], "instructions": "Be brief.", "max_output_tokens": 20}
    reply = httpx2.post(f"{roomy_url}/v1/responses", json=body, headers=HEADERS, timeout=60)
    assert reply.status_code == 200, reply.text
    found = [json.loads(line[6:]) for line in reply.text.split("\n") if line.startswith("data: {")]
    assert found[-1]["type"] in ("response.completed", "response.incomplete")


def test_what_it_may_be_set_up_to_send_and_cannot_be_done_is_refused_by_name(roomy_url: str, model: str) -> None:
    def post(path: str, **given: Any) -> httpx2.Response:
        return httpx2.post(f"{roomy_url}/v1/{path}", headers=HEADERS, timeout=60, **given)

    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    chat: Any = {"model": model, "messages": [{"role": "user", "content": [picture]}], "stream": True}
    refused(post("chat/completions", json=chat), 400, "image")
    unknown = {"model": model, "messages": [QUESTION], "stream": True, "num_ctx": 4096}
    refused(post("chat/completions", json=unknown), 400, "num_ctx")
    refused(post("chat/completions", json={**chat, "messages": [QUESTION], "model": "gone"}), 404, "gone")
    # Only where a connection is set to be llama.cpp's.
    on = {**chat, "messages": CALLED[:2], "continue_final_message": True, "add_generation_prompt": False}
    refused(post("chat/completions", json=on), 400, "continue_final_message")
    prefixed = {"input": ["Puno"], "model": model, "input_type": "query"}
    refused(post("embeddings", json=prefixed), 400, "input_type")
    spoken = {"model": "tts-1", "voice": "alloy", "input": "Hello"}
    refused(post("audio/speech", json=spoken), 501, "cannot speak")
    heard = {"data": {"model": "whisper-1", "language": "en"}, "files": {"file": ("recording.wav", b"RIFF")}}
    refused(post("audio/transcriptions", **heard), 501, "cannot hear")
    as_json = {"model": "whisper-1", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    refused(post("audio/transcriptions", json=as_json), 400, "multipart")
    refused(post("images/generations", json={"model": "dall-e-3", "prompt": "a llama", "n": 1}), 404, "images")
    managed = httpx2.post(f"{roomy_url}/models/load", json={"model": model}, headers=HEADERS)
    refused(managed, 404, "/models/load")
