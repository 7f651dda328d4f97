"""The C engine against the model itself, against its own plain code, and against itself in other company."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, quants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ayllu.model.config import ModelConfig
from ayllu.model.files import hf
from ayllu.serve.engines.native.calibrate import own_text, rounded_blocks
from ayllu.serve.engines.native.pack import pack, pack_4, to_bytes
from ayllu.serve.engines.native.pages import PAGE
from ayllu.serve.engines.native.rounding import loss, quantize_4, quantize_8
from ayllu.serve.engines.native.scheduler import Row
from ayllu.serve.engines.native.weights import NativeModel, unfit
from ayllu.text.tokenizer import Tokenizer
from support.models import SHAPES, save_tiny_model
from support.serving.native import PAGES, Make, read

IDS = [random.Random(0).randrange(600) for _ in range(3 * PAGE + 5)]
BITS = (4, 8, 16)
LONG = 8192
SEEN = (LONG // 2, LONG - PAGE, LONG - 1)
"""Places at which a long prompt is looked at."""


def reference(folder: Path, bits: int, ids: Sequence[int] = IDS) -> torch.Tensor:
    """Logits (T, V) of the transformer in float32 with its weights rounded as the engine's are."""
    model = hf.load(folder).eval()
    if bits == 4:
        for _ in rounded_blocks(model, own_text(model, Tokenizer.load(folder).bos), pack_4):
            pass  # the model has the rounded ones
    seen: set[int] = set()
    for name, weight in model.named_parameters():
        ends = name.startswith(("embedding", "output"))
        if weight.ndim == 2 and id(weight) not in seen and (bits > 4 or ends):
            seen.add(id(weight))
            weight.data = weight.data.bfloat16().float() if bits == 16 else whole(*quantize_8(weight.data))
    with torch.no_grad():
        return model(torch.tensor([ids]))[0]


def whole(scales: torch.Tensor, ints: torch.Tensor) -> torch.Tensor:
    return ints.float() * scales.float().repeat_interleave(32, 1)


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


def test_keys_and_values_of_8_bits_lose_little_and_depend_on_no_kernel_nor_company(shaped: Path, make: Make) -> None:
    expected = read(make(shaped, bits=16), IDS)
    found = read(make(shaped, bits=16, cache_bits=8), IDS)
    assert 0 < np.abs(found - expected).max() < 0.1 * expected.std()
    plain = make(shaped, bits=16, cache_bits=8, threads=1, flags=("-march=native", "-DNATIVE_PLAIN"))
    one_by_one = [read(plain, [token], start=at)[0] for at, token in enumerate(IDS)]
    assert np.array_equal(np.stack(one_by_one), found)


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


@pytest.mark.slow
@pytest.mark.parametrize("cache_bits", [16, 8])
def test_the_last_of_8192_tokens_gets_what_the_model_says(tmp_path: Path, make: Make, cache_bits: int) -> None:
    """Beside the transformer, and to the last bit beside the plain code and itself with the prompt cut elsewhere."""
    folder = save_tiny_model(tmp_path / "long", replace(SHAPES["tied"], context=LONG))
    chance = random.Random(1)
    ids = [chance.randrange(600) for _ in range(LONG)]
    expected = reference(folder, 16, ids)[list(SEEN)]
    plain = ("-march=native", "-DNATIVE_PLAIN")
    options: dict[str, Any] = {"bits": 16, "cache_bits": cache_bits, "pages": LONG // PAGE}
    found = read_long(make(folder, **options), ids, piece=512)
    error = np.abs(found - expected.numpy()).max() / float(expected.std())
    assert error < {16: 0.01, 8: 0.1}[cache_bits]
    assert np.array_equal(read_long(make(folder, **options), ids, piece=331), found)
    assert np.array_equal(read_long(make(folder, flags=plain, threads=1, **options), ids, piece=512), found)


def read_long(model: NativeModel, ids: Sequence[int], *, piece: int) -> NDArray[np.float32]:
    """Logits at `SEEN` of a prompt that is read `piece` tokens at a time."""
    pages, found = list(range(len(ids) // PAGE)), []
    for start in range(0, len(ids), piece):
        part = range(start, min(start + piece, len(ids)))
        wanted = [at for at in SEEN if at in part]
        model.step([Row(id=ids[at], position=at, pages=pages) for at in part], [at - start for at in wanted])
        found += [model.logits(place).copy() for place in range(len(wanted))]
    return np.stack(found)


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
    weight = torch.randn(4, 32, generator=torch.Generator().manual_seed(seed)) * size
    scales, ints = quantize_8(weight)
    error = (whole(scales, ints) - weight).abs()
    # The scale itself is rounded too, to 11 bits.
    assert bool((error <= scales.float() * 0.5 + weight.abs() * 2**-10 + 4e-6).all())
    scales, ints = quantize_4(weight, torch.eye(32))
    assert int(ints.min()) >= -8 and int(ints.max()) <= 7
    theirs = quants.dequantize(quants.quantize(weight.numpy(), GGMLQuantizationType.Q4_0), GGMLQuantizationType.Q4_0)
    ours = (whole(scales, ints) - weight).square().sum()
    assert float(ours) <= float((torch.from_numpy(theirs) - weight).square().sum()) * 1.001 + 1e-9


def test_errors_make_up_for_each_other_where_inputs_go_together() -> None:
    """The error of outputs is well below that of rounding each weight to its nearest, which sees no inputs."""
    chance = torch.Generator().manual_seed(0)
    mixed = torch.randn(64, 64, generator=chance) * torch.logspace(0, -1.5, 64)
    inputs = torch.randn(2000, 64, generator=chance) @ mixed.t()
    weight, gram = torch.randn(48, 64, generator=chance), inputs.t() @ inputs / 2000
    seen, blind = (loss(weight, *quantize_4(weight, known), gram) for known in (gram, torch.eye(64)))
    assert seen < 0.6 * blind
    again = quantize_4(weight, gram)
    assert all(torch.equal(one, other) for one, other in zip(again, quantize_4(weight, gram), strict=True))
    shut = gram.clone()
    shut[:32] = shut[:, :32] = 0  # inputs that no text used
    scales, ints = quantize_4(weight, shut)
    assert bool(scales.isfinite().all()) and loss(weight, scales, ints) < 0.3


def test_packed_weights_are_as_large_as_the_bits_say() -> None:
    weight = torch.randn(32, 64)
    assert len(pack([weight], 16)) == 32 * 64 * 2
    assert len(pack([weight], 8)) == 32 * 64 * 8.5 / 8
    assert len(to_bytes(*pack_4(weight, torch.eye(64)), 4)) == 32 * 64 * 4.5 / 8


@pytest.mark.parametrize(("size", "bits"), [(1e-7, 8), (1e8, 8), (1e-8, 4), (1e7, 4), (float("nan"), 8)])
def test_weights_that_so_few_bits_cannot_hold_are_refused(size: float, bits: int) -> None:
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))

    def few(weight: torch.Tensor) -> object:
        return pack([weight], 8) if bits == 8 else pack_4(weight, torch.eye(64))

    assert few(weight) is not None and few(torch.zeros(16, 64)) is not None
    with pytest.raises(ValueError, match="take 16"):
        few(weight * size)


def test_what_does_not_fit_is_said() -> None:
    shape = {"vocabulary": 10, "layers": 1, "width": 48, "feed_forward": 8}
    assert "24 wide" in (unfit(ModelConfig(**shape, heads=2, kv_heads=1)) or "")
    assert unfit(ModelConfig(**shape, heads=3, kv_heads=1)) is None
