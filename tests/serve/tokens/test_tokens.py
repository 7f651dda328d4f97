"""Texts to ids and back, by the bodies of vLLM's clients and of llama.cpp's."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.text.chat import Message, render

TEXT = "The llama says ñandú 🦙"


def post(url: str, path: str, **body: Any) -> Any:
    return httpx2.post(f"{url}{path}", json=body)


def test_vllms_bodies(url: str, engine: TorchEngine) -> None:
    tokenizer = engine.tokenizer
    found = post(url, "/tokenize", model="tiny", prompt=TEXT, return_token_strs=True).json()
    assert found["tokens"] == [tokenizer.bos, *tokenizer.encode(TEXT)]
    assert (found["count"], found["max_model_len"]) == (len(found["tokens"]), engine.context)
    assert len(found["token_strs"]) == found["count"]
    bare = post(url, "/tokenize", prompt=TEXT, add_special_tokens=False).json()
    assert bare["tokens"] == tokenizer.encode(TEXT)
    assert bare["token_strs"] is None
    assert post(url, "/detokenize", tokens=bare["tokens"]).json()["prompt"] == TEXT
    hello = [{"role": "user", "content": "Hello"}]
    for reply in (True, False):
        chat = post(url, "/tokenize", messages=hello, add_generation_prompt=reply).json()
        assert chat["tokens"] == render([Message(role="user", content="Hello")], tokenizer, reply=reply)


def test_llama_cpps_bodies(url: str, engine: TorchEngine) -> None:
    tokenizer = engine.tokenizer
    assert post(url, "/tokenize", content=TEXT).json() == {"tokens": tokenizer.encode(TEXT)}
    assert post(url, "/tokenize", content=TEXT, add_special=True).json()["tokens"][0] == tokenizer.bos
    spelled = "a<|eot_id|>b"
    assert tokenizer.eot in post(url, "/tokenize", content=spelled).json()["tokens"]
    plain = post(url, "/tokenize", content=spelled, parse_special=False).json()["tokens"]
    assert tokenizer.eot not in plain
    for ids in (post(url, "/tokenize", content=spelled).json()["tokens"], plain):
        assert post(url, "/detokenize", tokens=ids).json()["content"] == spelled
    pieces = post(url, "/tokenize", content=TEXT, with_pieces=True).json()["tokens"]
    parts = [p["piece"].encode() if isinstance(p["piece"], str) else bytes(p["piece"]) for p in pieces]
    assert b"".join(parts) == TEXT.encode()
    assert any(isinstance(p["piece"], list) for p in pieces)  # no merge of this vocabulary has a llama


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/tokenize", {}, "one of content, prompt and messages"),
        ("/tokenize", {"content": "a", "prompt": "a"}, "one of content, prompt and messages"),
        ("/tokenize", {"content": "a", "add_special_tokens": True}, "add_special_tokens says nothing of content"),
        ("/tokenize", {"prompt": "a", "with_pieces": True}, "with_pieces says nothing of prompt"),
        ("/tokenize", {"prompt": "a", "model": "gpt"}, "not served here"),
        ("/tokenize", {"prompt": 3}, "string"),
        ("/tokenize", {"messages": [{"role": "user", "content": "a"}], "chat_template": "x"}, "cannot do that"),
        ("/detokenize", {"tokens": [600]}, "from 0 to 599"),
        ("/detokenize", {"tokens": [-1]}, "from 0 to 599"),
        ("/detokenize", {"tokens": ["a"]}, "integer"),
    ],
)
def test_what_cannot_be_done_is_refused(url: str, path: str, body: dict[str, Any], words: str) -> None:
    reply = post(url, path, **body)
    assert reply.status_code in (400, 404)
    assert words in reply.json()["error"]["message"]
