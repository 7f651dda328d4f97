"""The C engine against the model itself, against its own plain code, and against itself in other company."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, quants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ayllu.model.config import ModelConfig
from ayllu.model.files import hf
from ayllu.serve.engines.native.pack import pack, quantize_4, quantize_8
from ayllu.serve.engines.native.pages import PAGE
from ayllu.serve.engines.native.scheduler import Row
from ayllu.serve.engines.native.weights import unfit
from support.native import PAGES, Make, read

IDS = [random.Random(0).randrange(600) for _ in range(3 * PAGE + 5)]
BITS = (4, 8, 16)


def reference(folder: Path, bits: int) -> torch.Tensor:
    """Logits (T, V) of the transformer in float32 with its weights rounded as the engine's are."""
    model = hf.load(folder).eval()
    seen: set[int] = set()
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and id(weight) not in seen:
            seen.add(id(weight))
            used = max(bits, 8) if name.startswith(("embedding", "output")) else bits
            weight.data = rounded(weight.data, used)
    with torch.no_grad():
        return model(torch.tensor([IDS]))[0]


def rounded(weight: torch.Tensor, bits: int) -> torch.Tensor:
    if bits == 16:
        return weight.bfloat16().float()
    groups = weight.view(weight.shape[0], -1, 32)
    scales, ints = (quantize_4 if bits == 4 else quantize_8)(groups)
    return (ints.float() * scales.float()[..., None]).view_as(weight)


@pytest.mark.parametrize("bits", BITS)
def test_logits_are_the_models(shaped: Path, make: Make, bits: int) -> None:
    """With 16 bits but for the rounding of keys and values; with fewer but for that of activations too."""
    found = read(make(shaped, bits=bits), IDS)
    expected = reference(shaped, bits).numpy()
    error = np.abs(found - expected).max() / expected.std()
    assert error < {16: 0.01, 8: 0.06, 4: 0.1}[bits]
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > (0.99999 if bits == 16 else 0.999)


@pytest.mark.parametrize("bits", BITS)
def test_every_kernel_finds_what_the_plain_code_finds_to_the_last_bit(tied: Path, make: Make, bits: int) -> None:
    plain = make(tied, bits=bits, flags=("-march=native", "-DNATIVE_PLAIN"))
    assert plain.kernels == "plain"
    expected = read(plain, IDS)
    native = make(tied, bits=bits)
    assert np.array_equal(read(native, IDS), expected), native.kernels


@pytest.mark.parametrize("bits", BITS)
@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_a_token_gets_does_not_depend_on_its_company(
    tied: Path, make: Make, bits: int, data: st.DataObject
) -> None:
    """To the last bit: however the prompts are cut, whoever else is in a step, on however many threads."""
    model = make(tied, bits=bits, threads=data.draw(st.sampled_from([1, 2, 3])))
    prompts = data.draw(st.lists(st.integers(1, 2 * PAGE), min_size=1, max_size=3))
    alone = [read(make(tied, bits=bits, threads=1), IDS[:length]) for length in prompts]
    pages = [list(range(4 * number, 4 * number + 4)) for number in range(len(prompts))]
    done = [0] * len(prompts)
    while any(at < length for at, length in zip(done, prompts, strict=True)):
        rows, owners = [], []
        for number, length in enumerate(prompts):
            count = data.draw(st.integers(0, min(length - done[number], 20)))
            if not rows and number == len(prompts) - 1:
                count = max(count, min(length - done[number], 1))
            for at in range(done[number], done[number] + count):
                rows.append(Row(id=IDS[at], position=at, pages=pages[number]))
                owners.append((number, at))
            done[number] += count
        if not rows:
            continue
        model.step(rows, range(len(rows)))
        for place, (number, at) in enumerate(owners):
            assert np.array_equal(model.logits(place), alone[number][at])


def test_a_page_can_lie_anywhere(tied: Path, make: Make) -> None:
    model = make(tied)
    expected = read(model, IDS)
    scattered = [PAGES - 1, 3, 40, 17]
    rows = [Row(id=token, position=at, pages=scattered) for at, token in enumerate(IDS)]
    model.step(rows, [len(rows) - 1])
    assert np.array_equal(model.logits(0), expected[-1])


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-6, 1.0, 3e4]))
@settings(max_examples=30, deadline=None)
def test_rounding_errs_by_half_a_step_at_most_and_by_no_more_than_llama_cpp_does(seed: int, size: float) -> None:
    groups = torch.randn(4, 32, generator=torch.Generator().manual_seed(seed)) * size
    scales, ints = quantize_8(groups)
    error = (ints.float() * scales.float()[..., None] - groups).abs()
    # The scale itself is rounded too, to 11 bits.
    assert bool((error <= scales.float()[..., None] * 0.5 + groups.abs() * 2**-10 + 4e-6).all())
    scales, ints = quantize_4(groups)
    assert int(ints.min()) >= -8 and int(ints.max()) <= 7
    theirs = quants.dequantize(quants.quantize(groups.numpy(), GGMLQuantizationType.Q4_0), GGMLQuantizationType.Q4_0)
    ours = (ints.float() * scales.float()[..., None] - groups).square().sum()
    assert float(ours) <= float((torch.from_numpy(theirs) - groups).square().sum()) * 1.001 + 1e-9


def test_packed_weights_are_as_large_as_the_bits_say() -> None:
    weight = torch.randn(32, 64)
    assert len(pack(weight, 16)) == 32 * 64 * 2
    assert len(pack(weight, 8)) == 32 * 64 * 8.5 / 8
    assert len(pack(weight, 4)) == 32 * 64 * 4.5 / 8


@pytest.mark.parametrize(("size", "bits"), [(1e-7, 8), (1e8, 8), (1e-8, 4), (1e7, 4), (float("nan"), 8)])
def test_weights_that_so_few_bits_cannot_hold_are_refused(size: float, bits: int) -> None:
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    assert len(pack(weight, bits)) and len(pack(torch.zeros(16, 64), bits))
    with pytest.raises(ValueError, match="take 16"):
        pack(weight * size, bits)


def test_what_does_not_fit_is_said() -> None:
    shape = {"vocabulary": 10, "layers": 1, "width": 48, "feed_forward": 8}
    assert "24 wide" in (unfit(ModelConfig(**shape, heads=2, kv_heads=1)) or "")
    assert unfit(ModelConfig(**shape, heads=3, kv_heads=1)) is None
