"""Plans: what the best layouts are, what they cost, and how they are drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ayllu.fleet.catalogue import find_fleet
from ayllu.fleet.planner import plan as planner
from ayllu.fleet.planner.choice import Prices, power
from ayllu.fleet.planner.constants import Constants
from ayllu.fleet.planner.cost import Breakdown, step_time
from ayllu.fleet.planner.find_job import find_model_config
from ayllu.fleet.planner.multi_pool import across, assign
from ayllu.fleet.planner.picture import draw_plan
from ayllu.fleet.planner.plan import Plan, by_count, fewest_within, plan, workload_h100e
from ayllu.fleet.planner.queries import Queries
from ayllu.fleet.planner.training_job import TrainingJob
from ayllu.lab.error import UserError
from ayllu.model.presets import PRESETS


def job(name: str = "llama-3.1-8b", *, batch: int = 512, sequence: int = 8192, tokens: float = 1e12) -> TrainingJob:
    return TrainingJob(name=name, model=PRESETS[name], sequence=sequence, global_batch=batch, tokens=tokens)


@pytest.fixture(scope="module")
def llama_405b() -> Plan:
    pool = find_fleet("llama3-16k").pools[0]
    prices = Prices(per_hour=2.5, grid_g_per_kwh=400)
    return plan(job("llama-3.1-405b", batch=2048, tokens=15.6e12), pool, prices=prices)


def test_all_layouts_of_405b_on_16k_are_timed_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what makes a search of so many take seconds: a few dozen array operations, whatever their number."""
    rows: list[int] = []

    def counted(queries: Queries, constants: Constants) -> Breakdown:
        rows.append(len(queries.tp))
        return step_time(queries, constants)

    monkeypatch.setattr(planner, "step_time", counted)
    found = plan(job("llama-3.1-405b", batch=2048, tokens=15.6e12), find_fleet("llama3-16k").pools[0])
    assert rows == [found.layouts_that_fit]
    assert 10_000 < found.layouts_that_fit < found.layouts_considered


def test_405b_is_planned_as_meta_ran_it(llama_405b: Plan) -> None:
    best = llama_405b.best
    assert best.layout.tp == 8  # the NVLink domain, as in arXiv:2407.21783, Table 4
    assert best.layout.pp in (8, 16)
    assert best.layout.recompute == "none"
    # Table 4: 400 TFLOP/s on each of 16,384, so 6.7 s for a step of 16M tokens; the best layout is a little faster
    assert 0.8 * 6.7 < best.step_s < 6.7


def test_choices_fit_and_are_ordered(llama_405b: Plan) -> None:
    times = [choice.step_s for choice in llama_405b.choices]
    assert times == sorted(times)
    for choice in llama_405b.choices:
        assert choice.layout.devices == choice.devices <= 16_384
        assert choice.memory_share <= 0.95
        assert choice.interval_s[0] < choice.step_s < choice.interval_s[1]
        assert sum(choice.breakdown_s.values()) == pytest.approx(choice.step_s)
        assert 2048 % (choice.layout.data_parallel * choice.layout.micro_batch) == 0
        assert choice.layout.micro_batch >= 1
    assert len({(c.layout.tp, c.layout.cp, c.layout.pp, c.sharding) for c in llama_405b.choices}) == 5


def test_days_energy_carbon_and_cost_follow_from_the_step(llama_405b: Plan) -> None:
    best = llama_405b.best
    assert best.days == pytest.approx(15.6e12 / best.tokens_per_s / 86_400)
    assert best.cost == pytest.approx(best.devices * best.days * 24 * 2.5)
    watts = power(llama_405b.pool, best.devices)
    assert watts is not None and best.energy_mwh is not None
    assert best.energy_mwh == pytest.approx(watts * best.days * 24 / 1e6)
    assert best.carbon_t == pytest.approx(best.energy_mwh * 0.4)


def test_power_is_what_olmo_3_reports() -> None:
    # 681 MWh for 1.05 million H100 hours, 146 MWh for 234,000: 649 and 624 W to an H100
    watts = power(replace(find_fleet("64xh100").pools[0], pue=1.0), 1)
    assert watts == pytest.approx(637, rel=0.05)


def test_the_frontier_is_beaten_by_nothing(llama_405b: Plan) -> None:
    seconds, share = llama_405b.cloud
    for choice in llama_405b.frontier:
        assert not np.any((seconds < choice.step_s * 0.999) & (share < choice.memory_share * 0.98))


def test_layouts_are_planned_up_to_a_twentieth_of_the_memory_and_no_further(llama_405b: Plan) -> None:
    _, share = llama_405b.cloud
    assert 0.945 < share.max() <= 0.95


def test_the_reasons_name_the_alternatives(llama_405b: Plan) -> None:
    assert any("tp 4 is" in reason for reason in llama_405b.why)


@pytest.mark.parametrize(
    ("model", "fleet", "said"),
    [("llama-3.1-405b", "8xh100", "fits no layout"), ("llama-3.1-70b", "8xrtx-4090", "GiB")],
)
def test_what_fits_nowhere_says_what_is_missing(model: str, fleet: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan(job(model), find_fleet(fleet).pools[0])


@pytest.mark.parametrize("changes", [{"tokens": -1.0}, {"batch": 0}, {"sequence": 10**7}])
def test_impossible_jobs_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(UserError):
        job(**changes)  # type: ignore[arg-type]


def test_odd_counts_leave_some_idle() -> None:
    found = plan(job(), find_fleet("60xh100").pools[0])
    assert found.best.devices <= 60
    assert any("idle" in reason for reason in found.why) or found.best.devices == 60


def test_a_part_nobody_measured_has_a_wider_interval() -> None:
    known, unknown = (plan(job(), find_fleet(fleet).pools[0]).best for fleet in ("64xh100", "64xmi300x"))
    widths = [np.log(choice.interval_s[1] / choice.interval_s[0]) for choice in (known, unknown)]
    assert widths[1] > 1.15 * widths[0]


def test_fewer_accelerators_take_longer_but_less_in_all() -> None:
    plans = by_count(job(), find_fleet("256xh100").pools[0])
    assert [each.pool.count for each in plans[:3]] == [256, 128, 64]
    days = [each.best.days for each in plans]
    assert days == sorted(days)
    assert plans[0].best.days * 256 > plans[1].best.days * 128


def test_a_deadline_takes_the_fewest() -> None:
    pool = find_fleet("256xh100").pools[0]
    found = fewest_within(job(), pool, 30)
    assert found is not None and found.best.days <= 30 and found.pool.count < 256
    assert fewest_within(job(), pool, 0.1) is None


def test_the_workload_convention_lies_between_the_others_for_an_a100() -> None:
    value = workload_h100e("a100-80gb", job())
    assert value is not None
    assert 0.315 < value < 0.55
    assert workload_h100e("h100", job()) == 1
    assert workload_h100e("t4", job("llama-3.1-70b")) is None


def test_two_kinds_together_beat_the_faster_one() -> None:
    found = across(job(), find_fleet("old-and-new"))
    assert sum(share.sequences for share in found.shares) == 512
    assert 0 < found.gain < 1.5
    slow = across(job(), find_fleet("64xh100+8xv100-32gb"))
    assert slow.gain < found.gain


def test_each_job_goes_where_the_last_ends_soonest() -> None:
    fleet = find_fleet("64xh100+64xa100-80gb")
    large, small = job("llama-3.1-70b", tokens=1e11), job("llama-3.2-1b", tokens=1e10)
    plans = assign([small, large], fleet)
    assert [each.pool.accelerator.id for each in plans] == ["a100-80gb", "h100"]
    with pytest.raises(UserError, match="part of its own"):
        assign([small, small, large], fleet)


def test_a_picture_is_drawn_twice_and_the_same(tmp_path: Path) -> None:
    pool = find_fleet("16xh100").pools[0]
    found, scaling = plan(job(), pool), by_count(job(), pool)
    png, svg = draw_plan(found, scaling, tmp_path / "plan.png")
    assert png.read_bytes()[:4] == b"\x89PNG"
    first = svg.read_text(encoding="utf-8")
    assert "Where the time goes" in first or "<svg" in first
    draw_plan(found, scaling, tmp_path / "plan.png")
    assert svg.read_text(encoding="utf-8") == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.png", "plan.svg"]
    with pytest.raises(UserError, match="written"):
        draw_plan(found, scaling, tmp_path / "no" / "plan.png")


def test_models_are_found_by_name_or_folder(tmp_path: Path) -> None:
    assert find_model_config("Llama-3.1-8B") == PRESETS["llama-3.1-8b"]
    with pytest.raises(UserError, match=r"llama-3\.1-8b"):
        find_model_config("llama-9")
    assert find_model_config("ladder-4x256").width == 256
    assert [find_model_config(f"ladder-{n}x128").layers for n in (2, 3)] == [2, 3]
    with pytest.raises(UserError, match="ladder-2x128"):
        find_model_config("ladder-1")
