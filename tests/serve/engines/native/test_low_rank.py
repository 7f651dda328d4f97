"""Adapters by row: what a merged model computes, whoever else is in the step, and no page of another's."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from ayllu.lab.error import UserError
from ayllu.model.files import hf
from ayllu.model.files.hf_config import load_config
from ayllu.model.sampling import Sampling
from ayllu.serve.engines.engine import GenerationRequest
from ayllu.serve.engines.native.engine import NativeEngine
from ayllu.serve.engines.native.low_rank import Adapters, packed_adapters
from ayllu.serve.engines.native.pages import PAGE, PagePool
from ayllu.serve.engines.native.scheduler import Row
from ayllu.serve.engines.native.weights import NativeModel
from support.models import SHAPES
from support.serving.native import Make

IDS = [7 * at % 600 for at in range(PAGE + 9)]
MATRICES = {"all": "self_attn.{q,k,v,o}_proj mlp.{gate,up,down}_proj", "few": "self_attn.v_proj mlp.up_proj"}
RANKS = {"all": 20, "few": 3}


def modules(words: str) -> list[str]:
    found = []
    for word in words.split():
        start, _, rest = word.partition("{")
        names, _, end = rest.partition("}")
        found += [start + name + end for name in names.split(",")] if rest else [word]
    return found


@pytest.fixture(scope="module")
def folders(tied: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters in peft's form: of all matrices with a rank that fills no panel, and of few."""
    weights = hf.load(tied).state_dict()
    theirs = {name.removesuffix(".weight"): ours for ours, name in hf.names(load_config(tied)).items()}
    found = {}
    for seed, (name, words) in enumerate(MATRICES.items()):
        chance, rank = torch.Generator().manual_seed(seed), RANKS[name]
        tensors = {}
        for layer in range(2):
            for module in modules(words):
                place = f"model.layers.{layer}.{module}"
                outputs, inputs = weights[theirs[place]].shape
                for half, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
                    drawn = torch.randn(shape, generator=chance) * 0.1
                    tensors[f"base_model.model.{place}.lora_{half}.weight"] = drawn
        found[name] = tmp_path_factory.mktemp("adapters") / name
        found[name].mkdir()
        save_file(tensors, found[name] / "adapter_model.safetensors")
        fields = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank}
        (found[name] / "adapter_config.json").write_text(json.dumps(fields))
    return found


def merged(base: Path, adapter: Path | None) -> torch.Tensor:
    """Logits (T, V) of the transformer in bfloat16 weights with the adapter added."""
    from ayllu.serve.engines.adapters import read_adapters

    model = hf.load(base).eval()
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data = weight.data.bfloat16().float()
    if adapter is not None:
        for name, low in read_adapters({"x": adapter}, model.config)["x"].matrices.items():
            model.get_parameter(name).data += low.b @ low.a * low.scale
    with torch.no_grad():
        return model(torch.tensor([IDS]))[0]


def rows(adapter: int, *, pages: Sequence[int], first: int = 0, last: int = len(IDS)) -> list[Row]:
    return [Row(id=IDS[at], position=at, pages=pages, adapter=adapter) for at in range(first, last)]


def logits(model: NativeModel, asked: list[Row]) -> NDArray[np.float32]:
    model.step(asked, range(len(asked)))
    return np.stack([model.logits(place).copy() for place in range(len(asked))])


@pytest.fixture
def adapted(tied: Path, cache: Path, folders: dict[str, Path], make: Make) -> Make:
    config = load_config(tied)

    def build(**how: Any) -> NativeModel:
        return make(tied, adapters=Adapters(packed_adapters(folders, config, cache=cache), config), **how)

    return build


def test_each_row_has_what_its_adapter_adds(tied: Path, folders: dict[str, Path], adapted: Make) -> None:
    model = adapted(bits=16)
    for number, folder in ((-1, None), (0, folders["all"]), (1, folders["few"])):
        expected = merged(tied, folder).numpy()
        found = logits(model, rows(number, pages=[4, 9]))
        assert np.abs(found - expected).max() < 0.01 * expected.std(), folder


@pytest.mark.parametrize("bits", [4, 8])
def test_neither_company_nor_kernels_change_a_bit(adapted: Make, bits: int) -> None:
    alone = {
        number: logits(
            adapted(bits=bits, threads=1, flags=("-march=native", "-DNATIVE_PLAIN")), rows(number, pages=[0, 1])
        )
        for number in (-1, 0, 1)
    }
    model = adapted(bits=bits)
    pages = {number: [2 * number + 2, 2 * number + 3] for number in alone}
    together = logits(model, [row for number in alone for row in rows(number, pages=pages[number], last=20)])
    for place, number in enumerate(alone):
        assert np.array_equal(together[20 * place : 20 * place + 20], alone[number][:20])
    for at in range(20, len(IDS)):
        found = logits(model, [rows(number, pages=pages[number], first=at, last=at + 1)[0] for number in (1, -1, 0)])
        for place, number in enumerate((1, -1, 0)):
            assert np.array_equal(found[place], alone[number][at])


def test_pages_are_shared_by_the_same_adapter_only() -> None:
    pool, ids = PagePool(8), list(range(PAGE + 1))
    first = pool.begin(ids, len(ids), adapter=0)
    assert first is not None
    pool.grow(first, len(ids))
    pool.learn(first, ids)
    for adapter, shared in ((0, 1), (1, 0), (-1, 0)):
        held = pool.begin(ids, len(ids), adapter=adapter)
        assert held is not None and len(held.pages) == shared
        pool.end(held)


def test_an_engine_answers_by_name_and_refuses_what_it_lacks(
    tied: Path, cache: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AYLLU_CACHE", str(cache))
    engine = NativeEngine(tied, bits=16, adapters=folders, threads=2)
    try:

        def ask(adapter: str | None) -> str:
            request = GenerationRequest(
                prompt=IDS, max_tokens=6, sampling=Sampling(temperature=0.0), adapter=adapter, logprobs=0
            )
            chunks = engine.generate(request, threading.Event())
            return repr([one.id for chunk in chunks for one in chunk.drawn])

        said = {name: ask(name) for name in (None, *folders)}
        assert len(set(said.values())) == 3
        assert {name: ask(name) for name in (None, *folders)} == said, "the cache holds no other's numbers"
        with pytest.raises(ValueError, match="no adapter 'other'"):
            ask("other")
    finally:
        engine.close()
    with pytest.raises(UserError, match="the adapter x cannot be served"):
        packed_adapters({"x": tied}, SHAPES["tied"], cache=cache)
