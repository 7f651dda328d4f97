"""Fleets of several kinds: a price for each, all in one job and in the picture, and parts of one's own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import ayllu
from ayllu.cli.fleet.commands import app
from ayllu.cli.fleet.text import plan_lines
from ayllu.fleet.catalogue import accelerators, find_fleet
from ayllu.fleet.planner.choice import power, read_price_hour
from ayllu.fleet.planner.plan import fewest_beyond, plan
from ayllu.fleet.planner.training_job import TrainingJob
from ayllu.lab.error import UserError
from ayllu.model.presets import PRESETS

TWO, THREE = "16xh100+16xa100-80gb", "16xh100+16xa100-80gb+8xmi300x"
MODEL = ("plan", "llama-3.2-1b", "--tokens", "1e11")
LARGER = ("plan", "llama-3.1-8b", "--tokens", "1e11")


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    app(words, result_action="return_value")
    return capsys.readouterr().out


def value(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(lines(capsys, *words, "--json"))


def test_each_kind_has_its_own_price(capsys: pytest.CaptureFixture[str]) -> None:
    found = value(capsys, *MODEL, "--fleet", TWO, "--price-hour", "h100=2.5,a100=1.1")
    prices = {"h100": 2.5, "a100-80gb": 1.1}
    for pool in found["pools"]:
        best = pool["choices"][0]
        assert best["cost"] == pytest.approx(best["devices"] * best["days"] * 24 * prices[pool["accelerator"]])
    some = value(capsys, *MODEL, "--fleet", TWO, "--price-hour", "h100=2.5")
    costs = {pool["accelerator"]: pool["choices"][0]["cost"] for pool in some["pools"]}
    assert costs["h100"] > 0 and costs["a100-80gb"] is None and some["together"]["cost"] is None
    assert "names no price of a100-80gb" in lines(capsys, *MODEL, "--fleet", TWO, "--price-hour", "h100=2.5")
    assert "no price" not in lines(capsys, *MODEL, "--fleet", TWO)
    assert read_price_hour("2.5") == 2.5 and read_price_hour(None) is None
    by_api = ayllu.plan("llama-3.2-1b", fleet=TWO, tokens=1e11, price_hour={"h100": 2.5, "a100": 1.1})
    assert by_api.plans[0].best.cost == found["pools"][0]["choices"][0]["cost"]


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("h100=2.5,h200=3", "the fleet has h100, a100-80gb"),
        ("h100=cheap", "one number, or h100=2.5"),
        ("h100", "one number, or h100=2.5"),
        ("h100=1,H100-SXM=2", "twice"),
        ("h100=-1", "0 or more"),
        ("h100=nan", "0 or more"),
        ("nothing=1", "no accelerator is called"),
    ],
)
def test_a_price_that_is_none_is_refused(price: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        app([*MODEL, "--fleet", TWO, "--price-hour", price], result_action="return_value")


def test_the_joint_job_has_days_energy_carbon_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    words = (*LARGER, "--fleet", TWO, "--price-hour", "h100=2.5,a100=1.1", "--price-kwh", "0.1", "--carbon", "300")
    found = value(capsys, *words)
    joint = found["together"]
    steps = found["tokens"] / (found["global_batch"] * found["sequence"])
    assert joint["days"] == pytest.approx(steps * joint["step_s"] / 86_400)
    assert joint["days"] < found["pools"][0]["choices"][0]["days"]
    pools = {pool.accelerator.id: pool for pool in find_fleet(TWO).pools}
    hours = 24 * joint["days"]
    energy, rent = 0.0, 0.0
    for share in joint["shares"]:
        devices = share["layout"]["tp"] * share["layout"]["pp"] * share["layout"]["cp"]
        devices *= share["layout"]["dp_shard"] * share["layout"]["dp_replicate"]
        energy += (power(pools[share["accelerator"]], devices) or 0) * hours / 1e6
        rent += devices * hours * {"h100": 2.5, "a100-80gb": 1.1}[share["accelerator"]]
    assert joint["energy_mwh"] == pytest.approx(energy)
    assert joint["carbon_t"] == pytest.approx(energy * 0.3)
    assert joint["cost"] == pytest.approx(rent + energy * 1000 * 0.1)
    text = lines(capsys, *words)
    assert "one job over both parts" in text
    told = next(line for line in text.splitlines() if line.startswith("  in all: "))
    assert all(word in told for word in (" d", "energy", "CO2e", "cost"))


def test_three_parts_are_not_both_and_makers_whose_libraries_do_not_mix_are_warned_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = lines(capsys, *LARGER, "--fleet", THREE)
    assert "one job over 3 parts" in text and "both" not in text
    assert "warning: AMD's RCCL and NVIDIA's NCCL do not exchange" in text
    assert value(capsys, *LARGER, "--fleet", THREE)["together"]["warnings"]
    assert value(capsys, *LARGER, "--fleet", TWO)["together"]["warnings"] == []
    assert "warning" not in lines(capsys, *LARGER, "--fleet", TWO)


def test_the_picture_shows_every_part(tmp_path: Path) -> None:
    app(
        [*MODEL, "--fleet", "2xh100+4xa100-80gb", "--picture", str(tmp_path / "plan.png"), "--json"],
        result_action="return_value",
    )
    svg = (tmp_path / "plan.svg").read_text()
    # The words stand as comments beside the outlines of their letters.
    for part in ("2 h100", "4 a100-80gb"):
        assert f"{part}: time against memory" in svg
    assert svg.count("What a shorter run costs") == 2


OWN = {"id": "mychip", "vendor": "Mine", "memory_gb": 96, "memory_tb_s": 4, "bf16_tflops": 500, "node_size": 8}


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_parts_of_ones_own_come_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    path = tmp_path / f"own.{ending}"
    row = OWN | {"link_gb_s": 450, "link_domain": 8, "aliases": "My Chip"}
    csv = ",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n"
    path.write_text(json.dumps([row]) if ending == "json" else csv)
    found = value(
        capsys, *MODEL, "--fleet", "16xmy chip+16xh100", "--accelerators", str(path), "--price-hour", "mychip=1,h100=2"
    )
    assert {pool["accelerator"] for pool in found["pools"]} == {"mychip", "h100"}
    shown = value(capsys, "show", "mychip", "--accelerators", str(path))["accelerator"]
    assert shown["memory_gb"] == 96 and shown["peak_tflops"] == {"bf16": 500} and path.name in shown["source"]
    assert "mychip" not in accelerators(), "it is there for this command only"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (OWN | {"colour": "blue"}, "unknown column 'colour'"),
        (OWN | {"memory_gb": "much"}, "memory_gb is 'much'"),
        (OWN | {"bf16_tflops": -5}, "must be a number above 0"),
        (OWN | {"bf16_tflops": None}, "needs an id, memory_gb and a rate"),
        (OWN | {"id": "h100"}, "already"),
        (OWN | {"id": "a+b"}, "separate names"),
        ("[1]", "list of objects"),
        ("{", "cannot be read"),
        ("[]", "holds no accelerator"),
    ],
)
def test_a_file_of_parts_that_is_wrong_is_refused_in_one_sentence(tmp_path: Path, row: Any, said: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(row if isinstance(row, str) else json.dumps([row]))
    with pytest.raises(UserError, match=said):
        app(["show", "--accelerators", str(path)], result_action="return_value")


def test_a_deadline_that_is_not_met_says_how_many_would_do() -> None:
    def found(deadline: float) -> tuple[Any, str]:
        plan = ayllu.plan("llama-3.2-1b", fleet="8xa100-80gb", tokens=1e11, deadline=deadline)
        return plan.as_json()["deadline"], "\n".join(plan_lines(plan))

    met, text = found(100)
    assert "would_do" not in met and "not on" not in text
    days = met["met_with"]["days"]
    missed, text = found(days / 30)
    assert missed["met_with"] is None and missed["would_do"]["accelerator"] == "a100-80gb"
    assert missed["would_do"]["days"] <= days / 30
    assert f"{missed['would_do']['devices']} a100-80gb do it in" in text
    hopeless, text = found(1e-4)
    assert hopeless["would_do"] is None and hopeless["fastest"]["days"] > 1e-4
    assert "no number of them does; the fastest" in text


def test_a_fleet_that_is_too_small_is_told_how_many_would_do() -> None:
    def said(**more: Any) -> str:
        with pytest.raises(UserError) as error:
            ayllu.plan("llama-3.1-8b", fleet="8xt4", **more)
        return str(error.value)

    enough = re.search(r"larger ones; (\d+) t4 do it in ([\d.]+) d$", said())
    assert enough, "without a deadline the fewest that hold it"
    (plan,) = ayllu.plan("llama-3.1-8b", fleet=f"{enough[1]}xt4").plans
    assert plan.best.days == pytest.approx(float(enough[2]), rel=0.01)
    sooner = re.search(r", ([\d,]+) t4 do it in ([\d.]+) d$", said(deadline=30))
    assert sooner and float(sooner[2]) <= 30
    assert "none meets the deadline of 0.001 days, the fastest: " in said(deadline=0.001)


def test_no_more_are_asked_for_than_a_deadline_takes() -> None:
    """Sixteenths of the power of two that does it; one sixteenth less would be late."""
    pool = find_fleet("8xa100-80gb").pools[0]
    job = TrainingJob(name="x", model=PRESETS["llama-3.2-1b"], sequence=8192, global_batch=960, tokens=1e11)
    days = plan(job, pool, top=1).best.days
    found, met = fewest_beyond(job, pool, days / 2.9)
    assert met and found.best.days <= days / 2.9
    assert found.pool.count == 24


def test_every_figure_has_a_column_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    words = (*MODEL, "--fleet", "8xh100", "--top", "1")
    for more, heads in (
        ((), ["energy"]),
        (("--carbon", "50"), ["energy", "CO2e"]),
        (("--carbon", "50", "--price-hour", "2"), ["energy", "CO2e", "cost"]),
    ):
        head, row = lines(capsys, *words, *more).splitlines()[3:5]
        assert head.split()[-len(heads) :] == heads
        assert len(head) == len(row), "the figures stand below their headings"


def test_several_jobs_take_prices_and_refuse_what_is_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("plan", "llama-3.2-1b,llama-3.1-8b", "--fleet", TWO)
    assert value(capsys, *words, "--price-hour", "2")["jobs"][0]["pools"][0]["choices"][0]["cost"] > 0
    assert "cost" in lines(capsys, *words, "--price-hour", "2")
    for more in (("--deadline", "3"), ("--picture", "x.png")):
        with pytest.raises(UserError, match="is for one job"):
            app([*words, *more], result_action="return_value")
