"""What a row leaves out and its other figures tell."""

from __future__ import annotations

import pytest

from ayllu.fleet.planner.queries import RECOMPUTE
from ayllu.fleet.validation.cells import Unusable
from ayllu.fleet.validation.inferred import sequence_length
from ayllu.fleet.validation.measured_run import read_measured_run
from support.fleet.runs_table import ROW

UNSTATED = ROW | {"recompute": ""}
HUGE = {
    "model": "Llama-3.1-70B",
    "params_b": "70.6",
    "layers": "80",
    "hidden": "8192",
    "heads": "64",
    "ffn": "28672",
    "tp": "8",
    "dp": "8",
    "micro_batch": "2",
    "global_batch_seqs": "64",
    "step_time_s": "40",
}
"""On 64 H100 as 8 x 8: eighty layers of activations of 16,384 tokens beside an eighth of the weights."""


@pytest.mark.parametrize(
    ("rate", "step", "batch", "length"),
    [
        (524_288, 2.0, 128, 8192),
        (523_000, 2.0, 128, 8192),  # rounded by a quarter of a percent
        (500_000, 2.0, 128, 7808),
        (524_288, 2.0, 100_000, None),  # 10 tokens are no sequence
        (None, 2.0, 128, None),
        (524_288, None, 128, None),
        (524_288, 2.0, None, None),
    ],
)
def test_the_length_of_a_sequence_follows_from_rate_step_and_batch(
    rate: float | None, step: float | None, batch: float | None, length: float | None
) -> None:
    assert sequence_length(rate, step, batch) == length


def test_a_row_without_a_length_gets_the_one_that_its_times_tell() -> None:
    row = ROW | {"seq_len": "", "tokens_per_s": "262144", "step_time_s": "2", "global_batch_seqs": "128"}
    run = read_measured_run(row)
    assert run.columns["sequence"] == 4096 and "sequence length" in run.inferred
    with pytest.raises(Unusable, match="no sequence length"):
        read_measured_run(row | {"tokens_per_s": ""})
    stated = read_measured_run(row | {"seq_len": "8192"})
    assert stated.columns["sequence"] == 8192 and stated.inferred == ()


def test_what_could_not_fit_was_recomputed() -> None:
    run = read_measured_run(UNSTATED | HUGE)
    assert run.columns["recompute"] > RECOMPUTE["none"] and not run.recompute_given
    assert run.inferred == ("recomputation, for it could not fit without",)
    small = read_measured_run(UNSTATED | {"tp": "8", "dp": "8", "step_time_s": "3"})
    assert small.columns["recompute"] == RECOMPUTE["none"] and small.inferred == ()


def test_what_a_row_says_is_not_overruled() -> None:
    run = read_measured_run(ROW | HUGE)
    assert run.columns["recompute"] == RECOMPUTE["none"] and run.inferred == ()


def test_flops_that_count_the_forward_pass_again_tell_full_recomputation() -> None:
    """51.9 GFLOP a token by 6 N and full attention: in 4 s 64 devices at 212 TFLOP/s do those, at 283 a third more."""
    run = read_measured_run(UNSTATED | {"tp": "8", "dp": "8", "step_time_s": "4"})
    from ayllu.fleet.planner.queries import stack

    own = float(stack([dict(run.columns)]).model_flops[0]) / 4 / 64 / 1e12
    for times, recompute in ((1.0, "none"), (4 / 3, "full")):
        row = UNSTATED | {"tp": "8", "dp": "8", "step_time_s": "4", "tflops_per_gpu": f"{times * own:.2f}"}
        found = read_measured_run(row)
        assert found.columns["recompute"] == RECOMPUTE[recompute]
        assert found.inferred == (("recomputation, by FLOP/s and step time",) if times > 1 else ())
        assert read_measured_run(row | {"notes": "counts recompute"}).inferred == ()
