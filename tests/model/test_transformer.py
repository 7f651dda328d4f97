"""The transformer: a cache, a batch and a document border change nothing in what it computes."""

from itertools import pairwise

import pytest
import torch

from ayllu.model.config import ModelConfig
from ayllu.model.generate import generate, pick
from ayllu.model.sampling import GREEDY, Sampling
from ayllu.model.transformer import Cache, Transformer

CONFIG = ModelConfig(vocabulary=97, layers=3, width=64, heads=4, kv_heads=2, feed_forward=96, context=128)


@pytest.fixture(scope="module")
def model() -> Transformer:
    model = Transformer(CONFIG)
    model.initialise(0)
    return model.eval()


@torch.no_grad()
def test_a_cache_changes_nothing(model: Transformer) -> None:
    ids = torch.randint(0, 97, (2, 60), generator=torch.Generator().manual_seed(0))
    whole = model(ids)
    cache = Cache(CONFIG, batch=2, capacity=60, dtype=torch.float32, device=torch.device("cpu"))
    cuts = [0, 20, 27, *range(28, 61)]
    parts = [model(ids[:, a:b], cache=cache) for a, b in pairwise(cuts)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("length", [60, 700])
def test_attention_does_not_cross_documents(length: int) -> None:
    # 700 is beyond what a CPU computes with explicit scores: the other path.
    model = Transformer(ModelConfig(**(vars(CONFIG) | {"context": 1024})))
    model.initialise(0)
    ids = torch.randint(0, 97, (2, length), generator=torch.Generator().manual_seed(1))
    documents = torch.zeros_like(ids)
    documents[:, length // 2 :] = 1
    together = model(ids, documents_BT=documents)
    torch.testing.assert_close(together[:, length // 2 :], model(ids[:, length // 2 :]), rtol=0, atol=2e-5)
    changed = ids.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 97
    again = model(changed, documents_BT=documents)
    assert torch.equal(again[:, length // 2 :], together[:, length // 2 :])
    assert not torch.equal(again[:, 1], together[:, 1])


@torch.no_grad()
def test_the_future_is_not_seen(model: Transformer) -> None:
    ids = torch.arange(40)[None]
    changed = ids.clone()
    changed[0, 30] = 90
    assert torch.equal(model(ids)[:, :30], model(changed)[:, :30])


def test_initialising_is_a_function_of_the_seed() -> None:
    one, two, other = (Transformer(CONFIG) for _ in range(3))
    one.initialise(1)
    two.initialise(1)
    other.initialise(2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.embedding.weight, other.embedding.weight)


@torch.no_grad()
def test_greedy_generation_is_the_argmax_of_the_whole_prefix(model: Transformer) -> None:
    ids = [5, 6, 7]
    for _ in range(20):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    assert list(generate(model, [5, 6, 7], tokens=20)) == ids[3:]
    stop = ids[10]
    assert list(generate(model, [5, 6, 7], tokens=20, stop=frozenset({stop}))) == ids[3 : ids.index(stop, 3)]


def test_generation_ends_where_the_context_ends(model: Transformer) -> None:
    assert len(list(generate(model, [1] * 120, tokens=50))) == 8
    with pytest.raises(ValueError, match="129 tokens"):
        list(generate(model, [1] * 129, tokens=1))
    with pytest.raises(ValueError, match="nothing to continue"):
        list(generate(model, [], tokens=1))


def test_a_seed_repeats_a_sample(model: Transformer) -> None:
    def sample(seed: int) -> list[int]:
        return list(generate(model, [1], tokens=30, sampling=Sampling(temperature=1.0, seed=seed)))

    assert sample(3) == sample(3) != sample(4)


def test_top_k_and_top_p_exclude_unlikely_ids() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    generator = torch.Generator().manual_seed(0)

    def drawn(sampling: Sampling) -> set[int]:
        return {pick(logits, [], sampling, generator) for _ in range(300)}

    assert drawn(Sampling(temperature=1.0, top_p=1.0)) == {0, 1, 2, 3}
    assert drawn(Sampling(temperature=1.0, top_p=0.7)) == {0, 1}
    assert drawn(Sampling(temperature=1.0, top_p=1.0, top_k=3)) == {0, 1, 2}
    assert drawn(GREEDY) == {0}
    assert pick(logits, [0], Sampling(temperature=0.0, repetition_penalty=5.0), generator) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_p": float("nan")},
        {"top_k": -1},
        {"top_k": 10**30},
        {"repetition_penalty": 0},
        {"repetition_penalty": 1e-300},
        {"repetition_penalty": float("nan")},
        {"seed": 10**22},
    ],
)
def test_impossible_sampling_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        Sampling(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [{"temperature": 1e-300}, {"top_p": 1e-46}, {"temperature": 5.0, "top_p": 1e-300}])
def test_values_that_float32_cannot_tell_from_zero_take_the_most_likely_id(values: dict[str, float]) -> None:
    logits = torch.tensor([0.1, 3.0, 2.9])
    assert pick(logits, [0], Sampling(**values), torch.Generator()) == 1  # type: ignore[arg-type]


def test_a_prompt_read_in_pieces_is_continued_as_one_read_at_once(model: Transformer) -> None:
    ids = [i * 7 % 97 for i in range(100)]
    pieces = list(generate(model, ids, tokens=10, piece=32))
    assert pieces[:3] == [None] * 3
    assert pieces[3:] == list(generate(model, ids, tokens=10))
    assert list(generate(model, ids[:32], tokens=1, piece=32)) == list(generate(model, ids[:32], tokens=1))
