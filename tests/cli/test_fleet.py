"""The commands as their users meet them: one JSON object, or a few readable lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ayllu.cli.fleet.commands import app
from ayllu.lab.error import UserError
from support.fleet.runs_table import ROW, write


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    app(words, result_action="return_value")
    return capsys.readouterr().out


def value(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(lines(capsys, *words, "--json"))


def test_the_catalogue_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    found = value(capsys, "show")
    assert len(found["accelerators"]) >= 45
    assert "meta-2024" in found["fleets"]
    text = lines(capsys, "show")
    assert "h100" in text and "meta-2024" in text


def test_the_announcement_is_priced_out_under_each_convention(capsys: pytest.CaptureFixture[str]) -> None:
    found = value(capsys, "show", "meta-2024", "--price", "h100=33600")
    assert found["parts"][0]["count"] == 350_000
    assert found["h100e"]["bf16-peak"] == pytest.approx(600_000, abs=1)
    assert set(found["h100e"]) == {"bf16-peak", "best-peak", "achieved", "workload"}
    assert found["h100e"]["best-peak"] < 500_000 < found["h100e"]["workload"]
    assert found["parts"][0]["price"] == 350_000 * 33_600
    other = value(capsys, "show", "meta-2024", "--rest", "mi300x", "--rest-count", "1000")
    assert other["count"] == 351_000
    assert "H100 equivalents" in lines(capsys, "show", "meta-2024", "--rest-count", "0")


def test_one_accelerator_shows_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert "data sheets" in value(capsys, "show", "h100")["accelerator"]["source"]
    assert "achieved" in lines(capsys, "show", "a100")


def test_what_is_from_memory_is_marked_in_every_output(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of an A800 no source gave the link; of an H100 all that a plan in bf16 starts from is sourced."""
    assert "link_gb_s" in value(capsys, "show", "a800")["accelerator"]["unsourced"]
    assert "link_gb_s" in value(capsys, "show", "8xa800")["parts"][0]["unsourced"]
    plan = value(capsys, "plan", "llama-3.2-1b", "--fleet", "8xa800")
    assert "link_gb_s" in plan["pools"][0]["unsourced"]
    assert set(value(capsys, "plan", "llama-3.2-1b", "--fleet", "8xh100")["pools"][0]["unsourced"]) <= {"tf32_tflops"}
    for words in (("show",), ("show", "8xa800"), ("plan", "llama-3.2-1b", "--fleet", "8xa800")):
        assert any("from memory" in line and "link" in line for line in lines(capsys, *words).splitlines()), words
    path = write(tmp_path / "runs.csv", [ROW | {"gpu_type": "A800", "step_time_s": "20"}])
    assert "link_gb_s" in value(capsys, "validate", "--truth", str(path))["unsourced"]["a800"]
    assert "of a800" in lines(capsys, "validate", "--truth", str(path))


def test_a_plan_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("plan", "llama-3.1-8b", "--fleet", "old-and-new", "--tokens", "1e12", "--carbon", "50", "--deadline", "40")
    found = value(capsys, *words, "--picture", str(tmp_path / "plan"))
    assert [pool["accelerator"] for pool in found["pools"]] == ["h100", "a100-80gb"]
    best = found["pools"][0]["choices"][0]
    assert best["layout"]["tp"] * best["layout"]["dp_shard"] * best["layout"]["dp_replicate"] <= 64
    assert best["carbon_t"] > 0 and best["mfu"] > 0.3
    assert found["together"]["gain_pct"] > 0
    assert found["deadline"]["met_with"]["days"] <= 40
    assert all(Path(path).exists() for path in found["pictures"])
    text = lines(capsys, *words)
    assert "why:" in text and "MFU =" in text


def test_several_jobs_get_a_part_each(capsys: pytest.CaptureFixture[str]) -> None:
    found = value(capsys, "plan", "llama-3.2-1b,llama-3.1-70b", "--fleet", "64xh100+64xa100-80gb")
    parts = {job["model"]: job["pools"][0]["accelerator"] for job in found["jobs"]}
    assert parts == {"llama-3.2-1b": "a100-80gb", "llama-3.1-70b": "h100"}
    assert "tokens/s" in lines(capsys, "plan", "llama-3.2-1b,llama-3.1-8b", "--fleet", "old-and-new")


def test_the_validation_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write(tmp_path / "runs.csv", [dict(ROW), ROW | {"model": "Nemotron_3_Nano"}])
    found = value(capsys, "validate", "--truth", str(path))
    assert found["rows"] == 1 and found["left_out"] == {"not a dense decoder": 1}
    assert "constant MFU" in lines(capsys, "validate", "--truth", str(path))


@pytest.mark.parametrize(
    "words",
    [
        ("show", "h101"),
        ("show", "h100", "--price", "cheap"),
        ("show", "meta-2024", "--rest-count", "-5"),
        ("plan", "llama-9", "--fleet", "8xh100"),
        ("plan", "llama-3.1-8b", "--fleet", "many"),
        ("plan", "llama-3.1-8b", "--fleet", "8xh100", "--tokens", "-1"),
        ("plan", "llama-3.1-8b", "--fleet", "8xh100", "--deadline", "0"),
        ("plan", "llama-3.1-8b", "--fleet", "8xh100", "--batch", "100"),
        ("plan", "llama-3.1-8b", "--fleet", "8xh100", "--tokens", "nan"),
        ("plan", "llama-3.1-8b", "--fleet", "8xh100", "--sequence", "0"),
        ("plan", "llama-3.1-8b", "--fleet", "8xh100", "--price-hour", "-2"),
        ("plan", "llama-3.1-8b", "--fleet", "8xh100", "--top", "0"),
        ("validate", "--truth", "nowhere.csv"),
    ],
)
def test_bad_input_is_one_sentence(words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        app(words, result_action="return_value")
    assert len(str(error.value)) > 20 and "\n" not in str(error.value)
