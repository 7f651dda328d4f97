"""Engines side by side: a real server is timed and counted, and ratios say what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from ayllu.lab.error import UserError
from ayllu.serve.measure import Contender, Figures, bench, contenders, measure, report
from support.models import SHAPES, save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"), SHAPES["tied"])


def test_a_server_is_started_timed_and_ended(model: Path, tmp_path: Path) -> None:
    native = contenders(model, tmp_path, bits=[8])[0]
    figures = Figures()
    # Shorter than usual, for the tiny model's context.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ayllu.serve.measure.LONG", 100)
        measure(native, 600, figures, users=(1, 3), seed=0)
    assert figures.prefill[0] > 0 and figures.start_s[0] > 0
    assert sorted(figures.total) == sorted(figures.first_ms) == [1, 3]
    assert 30 < figures.memory_mib[0] < 4000


def test_what_does_not_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    broken = Contender(name="broken", bits=8, command=("sh", "-c", "echo no such model >&2; exit 3"))
    with pytest.raises(UserError, match="the engine broken does not start: no such model"):
        measure(broken, 600, Figures(), users=(1,), seed=0)


def test_ratios_are_of_medians_and_by_bits() -> None:
    def figures(scale: float) -> Figures:
        return Figures(
            decode=[9.0 * scale, 10.0 * scale, 99.0 * scale],
            drawn=[8.0 * scale],
            prefill=[100.0 * scale],
            total={1: [10.0 * scale], 4: [40.0 * scale], 16: [50.0 * scale]},
            first_ms={1: [5.0 / scale], 4: [6.0 / scale], 16: [7.0 / scale]},
            memory_mib=[100.0 / scale],
            start_s=[0.4],
            bits_per_byte_lost=0.01 * scale,
        )

    runners = [Contender(name=name, bits=bits, command=("-",)) for bits in (4, 8) for name in ("native", "llama.cpp")]
    found = report(runners, [figures(3), figures(1), figures(2), figures(1)], (1, 4, 16))
    assert found["default"] == "native"
    by_bits = found["ratio_to_llama_cpp"].pop("by_bits")
    assert set(found["ratio_to_llama_cpp"].pop("threads_by_bits")["4"].values()) == {None}, "none was told"
    assert found["ratio_to_llama_cpp"] == {"decode_1": 2.0, "prefill_1": 2.0, "total_4": 2.0, "total_16": 2.0}
    four = by_bits["4"]
    assert (four["decode_1"], four["total_16"], four["ttft_16"]) == (3.0, 3.0, pytest.approx(1 / 3, abs=1e-3))
    assert four["drawn_1"] == 3.0
    assert four["memory"] == pytest.approx(1 / 3, abs=1e-3)
    assert (four["bits_per_byte_lost"], four["bits_per_byte_lost_llama_cpp"]) == (pytest.approx(0.03), 0.01)
    rows = [row for row in found["engines"] if (row["name"], row["bits"]) == ("native", 4)]
    assert [row["users"] for row in rows] == [1, 4, 16]
    assert rows[0]["decode_tokens_per_second"] == 30.0, "of one user the rate between tokens"
    assert rows[1]["decode_tokens_per_second"] == 120.0, "of several what all have together"


def test_ours_stands_beside_the_better_of_llama_cpps_numbers_of_threads_line_by_line() -> None:
    def figures(one_user: float, many: float, first: float) -> Figures:
        return Figures(
            decode=[one_user],
            drawn=[one_user],
            prefill=[many],
            total={1: [one_user], 4: [many]},
            first_ms={1: [first], 4: [first]},
            memory_mib=[100.0],
            start_s=[0.4],
        )

    runners = [Contender(name="native", bits=8, command=("-",))]
    runners += [Contender(name="llama.cpp", bits=8, command=("-",), peer=True, threads=n) for n in (1, 2)]
    told = report(runners, [figures(30, 60, 5), figures(20, 20, 10), figures(10, 30, 8)], (1, 4))
    ratios = told["ratio_to_llama_cpp"]
    assert ratios["threads_by_bits"]["8"] == {
        "decode_1": 1,
        "drawn_1": 1,
        "prefill_1": 2,
        "memory": 1,
        "total_4": 2,
        "ttft_4": 2,
    }
    assert (ratios["decode_1"], ratios["prefill_1"], ratios["by_bits"]["8"]["ttft_4"]) == (1.5, 2.0, 0.625)
    assert [(row["threads"], row["users"]) for row in told["engines"]][-2:] == [(2, 1), (2, 4)]


@pytest.mark.slow
def test_all_engines_run_and_quality_stands_beside_speed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ayllu.serve.measure.LONG", 100)
    monkeypatch.setattr("ayllu.serve.measure.QUALITY_IDS", 100)
    found = bench(model, rounds=1, bits=[8, 4], users=(1, 2))
    lost = {(row["name"], row["bits"]): row["bits_per_byte_lost"] for row in found["engines"]}
    assert set(lost) == {(name, bits) for name in ("native", "llama.cpp") for bits in (4, 8)} | {("torch", None)}
    assert all(abs(value) < 0.5 for value in lost.values())
    assert found["ratio_to_llama_cpp"]["by_bits"].keys() == {"4", "8"}
