"""Rows by code of our own: what torch makes of them, on processors that are not here too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ayllu.evals.likelihood import log_probabilities as likelihood
from ayllu.evals.likelihood.branches import Forward
from ayllu.evals.likelihood.fused import blocks, library
from ayllu.evals.likelihood.log_probabilities import Question, Segment, segment_log_likelihoods, shared_log_likelihoods
from ayllu.evals.likelihood.rows import Row
from ayllu.lab.made import c_library
from ayllu.model.config import ModelConfig
from ayllu.model.transformer import Transformer
from ayllu.train.lora import LoraConfig, attach
from support.models import TINY, sharp_model
from support.parts import need

V = 90
GROUPED = replace(TINY, vocabulary=V, width=96, heads=6, kv_heads=2, head_width=32, feed_forward=160, context=512)
CONFIGS = {
    "grouped": GROUPED,
    "wide heads": replace(GROUPED, heads=2, kv_heads=2, head_width=128),
    "one key head to many": replace(GROUPED, heads=29, kv_heads=1, tied=False),
}
"""29 heads to a key head are more than are computed together."""
GENERATOR = torch.Generator().manual_seed(7)


def drawn(count: int) -> list[int]:
    return torch.randint(0, V, (count,), generator=GENERATOR).tolist()


ROWS = [
    Row(drawn(170), [drawn(3), drawn(40), drawn(1)]),
    Row(drawn(33)),
    Row([], [drawn(5), drawn(17)]),
    Row(drawn(16), [drawn(16), [], drawn(2)]),
    Row(drawn(1), [drawn(1)]),
]


@pytest.fixture(scope="module", autouse=True)
def compiler() -> None:
    need(any(map(shutil.which, c_library.COMPILERS)), "there is no C compiler")


@pytest.fixture(scope="module", params=CONFIGS)
def model(request: pytest.FixtureRequest) -> Transformer:
    config: ModelConfig = CONFIGS[request.param]
    return sharp_model(config)


@pytest.fixture(params=["-march=native", "-march=native -DPAIRS=1", "-march=x86-64-v3", "-O1"])
def _compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The code as this processor has it, with pairs of 16-bit numbers, for one without AVX-512, and in plain C."""
    need(torch.backends.cpu.get_cpu_capability() in {"AVX2", "AVX512"} or "x86" not in request.param, "no x86-64-v3")
    cache = tmp_path_factory.getbasetemp() / "fused"
    built = library.opened(library.compiled(flags=tuple(request.param.split()), cache=cache))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "library", lambda: built)
        yield


def stream(model: Transformer, dtype: torch.dtype, before: int, *, own_code: bool) -> torch.Tensor:
    """The hidden states of `ROWS` behind a trunk of some tokens."""
    forward = Forward(model, dtype, own_code=own_code)
    assert (forward.fused is not None) == own_code
    with torch.inference_mode():
        trunk = forward.trunk(ROWS[0].beginning[:before]) if before else None
        return forward.hidden(ROWS, trunk=trunk).float()


@pytest.mark.usefixtures("_compiled")
@pytest.mark.parametrize("before", [0, 16, 45])
def test_it_computes_what_torch_computes(model: Transformer, before: int) -> None:
    exact = stream(model, torch.float32, before, own_code=False)
    assert torch.allclose(stream(model, torch.float32, before, own_code=True), exact, atol=2e-5, rtol=1e-5)
    errors = [
        (stream(model, torch.bfloat16, before, own_code=own) - exact).square().mean().sqrt() for own in (False, True)
    ]
    assert 0 < errors[1] < 1.1 * errors[0], "in 16 bits no further from the truth than torch is"


@pytest.mark.usefixtures("_compiled")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_in_blocks_are_what_a_whole_product_gives(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """States of any number of rows; the last block of columns is a rest, and ids lie in every one."""
    monkeypatch.setattr(blocks, "COLUMNS", 37)
    model = sharp_model(GROUPED)
    own = Forward(model, dtype).fused
    assert own is not None
    for count in (1, 6, 29):
        states = torch.randn(count, GROUPED.width, generator=GENERATOR).bfloat16().float() / 4
        rows, ids = torch.arange(4 * count) // 4, torch.tensor(drawn(4 * count))
        logits = states @ model.output.weight.detach().to(dtype).float().T
        expected, given = logits.log_softmax(-1)[rows, ids], states.to(own.dtype)
        for greedy in (False, True):
            values, likeliest = own.predicted(given, rows, ids, greedy=greedy)
            rounding = 2**-8 if own.dtype == torch.bfloat16 else 1e-5
            assert torch.allclose(values, expected, atol=rounding * float(logits.abs().max()))
            if own.dtype == torch.float32:
                assert torch.equal(likeliest, (logits.argmax(-1)[rows] == ids) & greedy)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_threads_and_company_change_no_bit(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that threads take are what one thread makes of them, and so is a question alone."""
    shared = drawn(60)
    asked = [Question([*shared, *drawn(5 + i)], [drawn(3), drawn(1 + i % 4)], [0, 0]) for i in range(40)]
    asked += [Question(drawn(20 + i), [drawn(9)], [2]) for i in range(20)]
    forward = Forward(sharp_model(GROUPED), dtype)
    monkeypatch.setitem(likelihood.BATCH_TOKENS, "cpu", 100)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(Forward, "threads", threads)
        found.append(dict(shared_log_likelihoods(forward, asked)))
    assert found[0] == found[1]
    assert dict(shared_log_likelihoods(forward, asked[-1:])) == {0: found[0][len(asked) - 1]}


def test_positions_that_are_asked_for_are_those_of_all() -> None:
    forward, places = Forward(sharp_model(GROUPED), torch.float32), torch.tensor([0, 171, 172, 230])
    with torch.inference_mode():
        every, some = forward.hidden(ROWS), forward.hidden(ROWS, places=places)
    assert torch.allclose(some, every[places], atol=2e-5)


def test_likelihoods_are_those_of_torch_to_a_thousandth() -> None:
    """Of logits between minus 60 and 60."""
    model = sharp_model(GROUPED)
    asked = [Question(row.beginning, row.branches, [0] * len(row.branches)) for row in ROWS[:1]]
    asked += [Question(drawn(9), [[7], [8], [9]], [0, 0, 0])]
    segments = [Segment(drawn(30), 29)]
    plain = Forward(model, torch.float32, own_code=False)
    ours = Forward(model, torch.float32)
    for number, values in shared_log_likelihoods(plain, asked):
        assert dict(shared_log_likelihoods(ours, asked))[number] == pytest.approx(values, abs=1e-3)
    assert segment_log_likelihoods(ours, segments) == pytest.approx(segment_log_likelihoods(plain, segments), abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_no_number_stays_none(dtype: torch.dtype) -> None:
    model = sharp_model(replace(GROUPED, tied=False))
    with torch.no_grad():
        model.embedding.weight[3] = torch.nan
    broken, whole = Segment([5, 3, 8, 9], 1), Segment([5, 4, 8, 9], 1)
    values = segment_log_likelihoods(Forward(model, dtype), [broken, whole])
    assert values[0] != values[0] and values[1] < 0


def test_without_a_compiler_torch_computes_and_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("AYLLU_CACHE", str(tmp_path))
    library.library.cache_clear()
    try:
        forward = Forward(sharp_model(GROUPED), torch.float32)
    finally:
        library.library.cache_clear()
    assert forward.fused is None
    assert "no-such-compiler cannot be started" in capsys.readouterr().err
    assert segment_log_likelihoods(forward, [Segment([5, 4, 8], 2)])[0] < 0


def test_what_it_is_not_made_for_is_left_to_torch() -> None:
    adapted = sharp_model(GROUPED)
    attach(adapted, LoraConfig(rank=2))
    for model, dtype in (
        (sharp_model(TINY), torch.float32),
        (adapted, torch.float32),
        (sharp_model(GROUPED), torch.half),
    ):
        assert Forward(model, dtype).fused is None
