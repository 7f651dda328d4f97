"""Embeddings and rerank as clients meet them: the official one, and raw HTTP where that cannot misbehave."""

from __future__ import annotations

import asyncio
import base64
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
import torch
from openai.types import CreateEmbeddingResponse, Model
from transformers import AutoModel

from ayllu.lab.error import UserError
from ayllu.serve.embeddings.embedder import EmbedsIds
from ayllu.serve.embeddings.encoder import MINILM, SentenceEncoder
from ayllu.serve.embeddings.pooling import Vectors
from ayllu.serve.embeddings.queue import EmbedderQueue
from ayllu.serve.engines.torch_engine import TorchEngine
from support.archives import fetched
from support.serving.encoders import LONGEST, save_encoder, tiny_bert
from support.serving.server import serving

TEXTS = ["The llama eats grass.", "A boy", "ñandú 🦙", "The llama eats grass. " * 6]


class Secretive(TorchEngine):
    """An engine that gives no hidden states, as those that are not in torch."""

    def __init__(self, engine: TorchEngine) -> None:
        self.__dict__.update(engine.__dict__)

    embed = None  # type: ignore[assignment]

    def close(self) -> None:
        """The engine it stands for goes on."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SentenceEncoder:
    return SentenceEncoder(save_encoder(tmp_path_factory.mktemp("encoder"), tiny_bert()), name="tiny-bert", licence="X")


@pytest.fixture(scope="module")
def address(folder: Path, engine: TorchEngine, encoder: SentenceEncoder) -> Iterator[str]:
    with serving(folder, engine, encoders=[encoder]) as url:
        yield url


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_encoder_is_listed_beside_the_model(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "tiny-bert"]
    found = client.models.retrieve("tiny-bert")
    assert Model.model_validate(found.model_dump(), strict=True).model_dump()["meta"] == {
        "context": LONGEST,
        "dimensions": 32,
        "licence": "X",
    }


@pytest.mark.parametrize("model", ["tiny", "tiny-bert"])
def test_both_encodings_texts_and_ids_give_the_same_vectors(client: openai.OpenAI, address: str, model: str) -> None:
    packed = client.embeddings.create(model=model, input=TEXTS[:3])  # the client asks for base64 and unpacks it
    plain = client.embeddings.create(model=model, input=TEXTS[:3], encoding_format="float")
    assert [one.index for one in packed.data] == [0, 1, 2]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert len(one.embedding) == 32
        assert one.embedding == pytest.approx(other.embedding, abs=1e-7)
        assert np.linalg.norm(one.embedding) == pytest.approx(1, abs=1e-5)
    assert packed.usage == plain.usage
    body = {"model": model, "input": TEXTS[0], "encoding_format": "base64"}
    raw = httpx2.post(f"{address}/v1/embeddings", json=body).json()
    assert struct.unpack("<32f", base64.b64decode(raw["data"][0]["embedding"])) == tuple(packed.data[0].embedding)
    CreateEmbeddingResponse.model_validate(plain.model_dump(), strict=True)


def test_ids_are_the_models_own_and_counted(client: openai.OpenAI, engine: TorchEngine) -> None:
    ids = [engine.tokenizer.bos, *engine.tokenizer.encode(TEXTS[0])]
    by_text = client.embeddings.create(model="tiny", input=TEXTS[0])
    for given in (ids, [ids]):
        by_id = client.embeddings.create(model="tiny", input=given)  # type: ignore[arg-type]
        assert by_id.data[0].embedding == by_text.data[0].embedding
        assert by_id.usage.prompt_tokens == by_id.usage.total_tokens == len(ids)


def test_hidden_states_are_those_of_transformers(client: openai.OpenAI, folder: Path, engine: TorchEngine) -> None:
    theirs = AutoModel.from_pretrained(folder, dtype=torch.float32)
    for text in TEXTS:
        ids = [engine.tokenizer.bos, *engine.tokenizer.encode(text)]
        with torch.inference_mode():
            states = theirs(torch.tensor([ids])).last_hidden_state[0, 1:]
        expected = torch.nn.functional.normalize(states.mean(0), dim=0).numpy()
        found = client.embeddings.create(model="tiny", input=text).data[0].embedding
        assert found == pytest.approx(expected, abs=1e-5)


def test_an_engine_without_states_has_the_weights_beside_it(
    folder: Path, engine: TorchEngine, client: openai.OpenAI
) -> None:
    assert isinstance(engine, EmbedsIds)
    with serving(folder, Secretive(engine)) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none") as other:
        found = other.embeddings.create(model="tiny", input=TEXTS[0]).data[0].embedding
    assert found == pytest.approx(client.embeddings.create(model="tiny", input=TEXTS[0]).data[0].embedding, abs=1e-6)


def test_the_encoder_is_bert_as_transformers_has_it_alone_and_in_a_batch(encoder: SentenceEncoder) -> None:
    bert = tiny_bert()
    texts = [encoder.encode(text)[:LONGEST] for text in TEXTS]
    assert len({len(ids) for ids in texts}) > 2  # the file's own padding and cutting are off
    together = encoder.embed(texts)
    for ids, vector in zip(texts, together, strict=True):
        with torch.inference_mode():
            states = bert(torch.tensor([ids])).last_hidden_state[0]
        expected = torch.nn.functional.normalize(states.mean(0), dim=0).numpy()
        assert vector == pytest.approx(expected, abs=1e-5)
        assert encoder.embed([ids])[0] == pytest.approx(expected, abs=1e-5)


def test_the_real_encoder_knows_what_is_near() -> None:
    encoder = SentenceEncoder(fetched(MINILM), name="all-MiniLM-L6-v2", licence="Apache-2.0")
    texts = ["An alpaca is grazing in the meadow.", "The llama eats grass.", "Share prices fell sharply on Monday."]
    near, far = (
        encoder.embed([encoder.encode(text) for text in texts])[1:] @ encoder.embed([encoder.encode(texts[0])]).T
    )
    assert near > far + 0.2
    assert (encoder.dimensions, encoder.longest) == (384, 256)


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("config.json", "hidden_act", "relu"),
        ("config.json", "model_type", "mpnet"),
        ("1_Pooling/config.json", "pooling_mode_cls_token", True),
        ("1_Pooling/config.json", "pooling_mode_mean_tokens", False),
        ("config.json", "num_hidden_layers", 3),
    ],
)
def test_an_encoder_that_is_another_is_refused(tmp_path: Path, file: str, field: str, value: Any) -> None:
    path = save_encoder(tmp_path, tiny_bert(), changed={file: {field: value}})
    with pytest.raises(UserError, match=field if field != "num_hidden_layers" else "no encoder that can be read"):
        SentenceEncoder(path, name="other", licence=None)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"input": ""}, "input", "empty text"),
        ({"input": []}, "input", "give 1 to 2048"),
        ({"input": ["a"] * 2049}, "input", "give 1 to 2048"),
        ({"input": [["a"]]}, "input", "a list of ids"),
        ({"input": [True]}, "input", "a list of ids"),
        ({"input": [1.5]}, "input", "a list of ids"),
        ({"input": [400]}, "input", "from 0 to 399"),
        ({"input": [-1]}, "input", "from 0 to 399"),
        ({"input": "a", "dimensions": 16}, "dimensions", "leave dimensions out"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", "base64"),
        ({"input": "a", "model": "gpt"}, "model", "'tiny-bert' or 'tiny'"),
        ({"input": "a", "truncate": True}, "truncate", "not a parameter"),
        ({"input": "llama " * LONGEST}, "input", f"maximum context length is {LONGEST} tokens"),
        ({}, "input", "missing"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(address: str, body: dict[str, Any], param: str, words: str) -> None:
    reply = httpx2.post(f"{address}/v1/embeddings", json=body)
    error = reply.json()["error"]
    assert reply.status_code in (400, 404)
    assert error["param"] == param
    assert words in error["message"]


def test_dimensions_that_are_the_models_are_fine(client: openai.OpenAI) -> None:
    assert len(client.embeddings.create(model="tiny-bert", input="a", dimensions=32).data[0].embedding) == 32


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_rerank_orders_documents_by_their_vectors(address: str, encoder: SentenceEncoder, path: str) -> None:
    documents: list[Any] = ["A boy", {"text": "The llama eats grass."}, "The llama eats"]
    body = {"model": "tiny-bert", "query": "The llama eats grass.", "documents": documents, "top_n": 2}
    found = httpx2.post(f"{address}{path}", json=body).json()
    vectors = encoder.embed([encoder.encode(text) for text in ("The llama eats grass.", "A boy", "The llama eats")])
    assert found["results"][0]["index"] == 1
    assert found["results"][0]["relevance_score"] == pytest.approx(1, abs=1e-5)
    assert found["results"][0]["document"] == {"text": "The llama eats grass."}
    assert found["results"][1]["relevance_score"] == pytest.approx((1 + max(vectors[1:] @ vectors[0])) / 2, abs=1e-5)
    assert found["usage"]["total_tokens"] == sum(
        len(encoder.encode(text)) for text in [body["query"], "A boy", "The llama eats grass.", "The llama eats"]
    )
    bare = httpx2.post(f"{address}{path}", json={**body, "return_documents": False}).json()["results"]
    assert all(set(result) == {"index", "relevance_score"} for result in bare)


def test_a_small_request_does_not_wait_for_all_of_a_large_one(encoder: SentenceEncoder) -> None:
    order: list[str] = []
    free = threading.Event()

    class Slow:
        dimensions = 1

        def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
            free.wait()
            order.append("small" if len(texts) == 1 else "large")
            return np.ones((len(texts), 1), np.float32)

    async def scenario() -> None:
        queue = EmbedderQueue(Slow())  # type: ignore[arg-type]
        large = asyncio.ensure_future(queue.embed([[1]] * 160, client="a"))
        await asyncio.sleep(0)
        small = asyncio.ensure_future(queue.embed([[1]], client="b"))
        await asyncio.sleep(0)
        free.set()
        assert (await small).shape == (1, 1)
        assert (await large).shape == (160, 1)

    asyncio.run(scenario())
    assert order.index("small") == 1
    assert len(order) == 11
