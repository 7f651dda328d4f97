"""Many jobs on one fleet: against queueing theory, against schedules worked out by hand, and at full size."""

from __future__ import annotations

import math
import resource
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ayllu.fleet.simulate import fleet_year, scenarios
from ayllu.fleet.simulate.cluster.accounts import ClusterOutcome
from ayllu.fleet.simulate.cluster.config import Cluster, Queue
from ayllu.fleet.simulate.cluster.placement import Placement
from ayllu.fleet.simulate.cluster.power import PowerModel
from ayllu.fleet.simulate.cluster.scheduler import GangScheduler
from ayllu.fleet.simulate.cluster.simulation import simulate_cluster
from ayllu.fleet.simulate.fleet_year import simulate_year, smaller, year_cluster, year_figures, year_jobs
from ayllu.fleet.simulate.job_trace import DAY, HOUR, JobStream, JobTrace, hold_back
from ayllu.fleet.simulate.picture import draw_page, draw_png
from ayllu.lab.error import UserError

ONE_QUEUE = (Queue(name="all", priority=0, quota=1.0),)


def fleet(accelerators: int, **fields) -> Cluster:
    fields = {"queues": ONE_QUEUE, "failures_per_1000_node_days": 0.0, "diurnal_swing": 0.0, **fields}
    return Cluster(accelerators=accelerators, **fields)


def jobs(*rows: tuple[float, int, float, int]) -> JobTrace:
    arrive, accelerators, work, queue = zip(*rows, strict=True)
    return JobTrace(
        arrive=np.array(arrive, dtype=float),
        accelerators=np.array(accelerators),
        work=np.array(work, dtype=float),
        queue=np.array(queue),
    )


def waits(year: ClusterOutcome) -> list[float]:
    return [None if math.isnan(wait) else round(wait, 6) for wait in year.wait]


STRICT = (
    Queue(name="a", priority=0, quota=0.3, borrows=False),
    Queue(name="b", priority=2, quota=0.7, preempts=True),
)
HARSH = {
    "queues": STRICT,
    "start_seconds": (60.0, 1.0),
    "failures_per_1000_node_days": 200.0,
    "drain_share": 0.9,
    "power_cap_mw": 6.0,
}


@pytest.mark.parametrize(
    ("changes", "counts", "sums"),
    [
        (
            {},
            (1695, 34_212, 16, 174, 158),
            (21677115.989058275, 81.08890133579312, 80.01267301689498, 848.2314902622888, 94.92215844061889),
        ),
        (
            HARSH,
            (10_738, 25_167, 441, 0, 59),
            (1295857313.18419, 68.43129137457845, 53.88128351468545, 552.536583479036, 78.34783500589276),
        ),
    ],
)
def test_one_seed_gives_what_the_first_simulator_gave(
    changes: dict[str, Any], counts: tuple[int, ...], sums: tuple[float, ...]
) -> None:
    """Recorded from the one class that the parts were made of: the order of their draws is what a seed means."""
    trace = year_jobs(4, 7, 8192, load=2.5)
    found = simulate_cluster(replace(smaller(8192, 0.4), **changes), trace, days=4, seed=7)
    never = int(np.isnan(found.wait).sum())
    assert (never, found.finished, found.failures, found.preemptions, found.across_pods) == counts
    hours = [found.hours[name].sum() for name in ("utilisation", "goodput", "power_mw", "speed")]
    assert [np.nansum(found.wait), *hours] == pytest.approx(sums, rel=1e-9)


def test_waiting_follows_erlang_c() -> None:
    """8 servers, exponential times: mean wait = C(8, a) / (8 mu - lambda)."""
    rng = np.random.default_rng(1)
    count, mean, load = 60_000, 600.0, 0.8
    rate = 8 * load / mean
    stream = JobTrace(
        arrive=np.cumsum(rng.exponential(1 / rate, count)),
        accelerators=np.ones(count, dtype=int),
        work=rng.exponential(mean, count),
        queue=np.zeros(count, dtype=int),
    )
    year = simulate_cluster(fleet(8), stream, days=float(stream.arrive[-1]) / DAY)
    offered = 8 * load
    last = offered**8 / math.factorial(8) / (1 - load)
    erlang = last / (sum(offered**k / math.factorial(k) for k in range(8)) + last)
    assert year.started.mean() == pytest.approx(erlang / (8 / mean - rate), rel=0.1)
    assert year.hours["utilisation"].mean() == pytest.approx(load, abs=0.02)


def test_a_gang_waits_for_all_and_a_short_job_goes_before_it_without_delaying_it() -> None:
    plan = jobs(
        (0, 8, 1000, 0),  # one of two nodes, until 1000
        (10, 16, 500, 0),  # needs both: starts at 1000
        (20, 8, 900, 0),  # would end before 1000: goes ahead at once
        (30, 8, 2000, 0),  # would delay the gang: starts after it, at 1500
    )
    assert waits(simulate_cluster(fleet(16), plan, days=1)) == [0, 990, 0, 1470]


def test_small_jobs_share_a_node_and_large_ones_take_whole_nodes() -> None:
    plan = jobs((0, 4, 1000, 0), (1, 4, 1000, 0), (2, 8, 100, 0), (3, 1, 100, 0))
    assert waits(simulate_cluster(fleet(16), plan, days=1)) == [0, 0, 0, 99]


def test_production_takes_its_quota_back_and_research_goes_on_later() -> None:
    queues = (
        Queue(name="research", priority=0, quota=0.5),
        Queue(name="production", priority=1, quota=0.5, preempts=True),
    )
    rules = fleet(32, queues=queues, preempt_after=100.0, checkpoint_interval=0.0)
    plan = jobs((0, 8, 5000, 0), (1, 8, 5000, 0), (2, 8, 5000, 0), (3, 8, 5000, 0), (2000, 16, 1000, 1))
    year = simulate_cluster(rules, plan, days=1)
    assert waits(year)[4] == 0
    assert year.preemptions == 2
    assert year.finished == 5
    young = jobs((1950, 32, 5000, 0), (2000, 16, 1000, 1))
    year = simulate_cluster(rules, young, days=1)
    assert waits(year)[1] > 0, "a job that has just begun is not preempted"


def test_a_queue_that_may_not_borrow_stays_in_its_quota() -> None:
    queues = (Queue(name="a", priority=0, quota=0.5, borrows=False), Queue(name="b", priority=0, quota=0.5))
    plan = jobs((0, 8, 1000, 0), (1, 8, 1000, 0), (2, 8, 1000, 1))
    assert waits(simulate_cluster(fleet(16, queues=queues), plan, days=1)) == [0, 999, 0]


def test_whoever_has_a_batch_waiting_submits_no_other_and_waits_from_when_he_does() -> None:
    plan = jobs((0, 8, 1000, 0), (10, 8, 500, 0), (10, 8, 500, 0), (20, 8, 100, 0), (30, 8, 100, 0))
    user, batch = np.array([1, 2, 2, 2, 3]), np.array([0, 1, 1, 2, 3])
    after = hold_back(user, batch)
    assert after.tolist() == [-1, -1, -1, 2, -1]
    held = JobTrace(arrive=plan.arrive, accelerators=plan.accelerators, work=plan.work, queue=plan.queue, after=after)
    # The batch of two starts at 1000 and 1500; only then is the next one submitted, behind the other user's.
    assert waits(simulate_cluster(fleet(8), held, days=1)) == [0, 990, 1490, 600, 1970]
    assert waits(simulate_cluster(fleet(8), plan, days=1)) == [0, 990, 1490, 1980, 2070]


def test_who_is_still_held_back_at_the_end_never_waited() -> None:
    plan = jobs((0, 8, 2 * DAY, 0), (1, 8, 10, 0), (2, 8, 10, 0))
    held = JobTrace(
        arrive=plan.arrive,
        accelerators=plan.accelerators,
        work=plan.work,
        queue=plan.queue,
        after=np.array([-1, -1, 1]),
    )
    assert waits(simulate_cluster(fleet(8), held, days=1)) == [0, None, None]


def test_failures_come_at_their_rate_and_cost_goodput() -> None:
    plan = jobs(*[(0, 1024, 29 * DAY, 0) for _ in range(4)])
    year = simulate_cluster(fleet(4096 + 512, failures_per_1000_node_days=10.0), plan, days=30)
    assert year.failures == pytest.approx(10 / 1000 * 512 * 30, rel=0.2)
    assert 0.0 < year.hours["utilisation"].mean() - year.hours["goodput"].mean() < 0.1


def test_a_power_cap_slows_the_fleet_and_is_kept() -> None:
    plan = jobs((0, 800, 10 * HOUR, 0))
    free = simulate_cluster(fleet(800), plan, days=1)
    full = float(free.hours["power_mw"].max())
    capped = simulate_cluster(fleet(800, power_cap_mw=0.8 * full), plan, days=1)
    assert capped.hours["power_mw"].max() <= 0.8 * full + 1e-9
    assert capped.hours["speed"].min() < 0.95
    assert (capped.hours["utilisation"] > 0.5).sum() > (free.hours["utilisation"] > 0.5).sum()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=80), st.integers(1, 12))
def test_placement_never_gives_twice_and_gets_all_back(moves: list[tuple[bool, int]], per_pod: int) -> None:
    place = Placement(20, per_pod, 8)
    held: list = []
    for take, size in moves:
        if take or not held:
            whole = place.nodes_for(size)
            got = place.take_nodes(whole) if whole else place.take_part(size)
            if got is not None:
                held.append((got, size))
        else:
            place.give_back(*held.pop(size % len(held)))
        assert sum(place.free) == place.free_nodes >= 0
        assert all(0 <= free <= most for free, most in zip(place.free, place.size, strict=True))
        asked = sum(-(-size // 8) * 8 if size >= 8 else size for _, size in held)
        assert asked <= 160 - 8 * place.free_nodes
    for got, size in held:
        place.give_back(got, size)
    assert place.free == place.size


def test_large_jobs_stay_inside_a_pod_when_one_has_room() -> None:
    place = Placement(30, 10, 8)
    assert [place.take_nodes(4) for _ in range(3)] == [0, 0, 1]
    assert place.take_nodes(10) == 2
    assert place.take_nodes(8) == [(1, 6), (0, 2)]
    assert place.take_nodes(1) is None


def test_a_stream_has_the_sizes_times_and_load_that_were_asked_for() -> None:
    stream = JobStream(
        per_day=3608,
        mean_accelerators=5.68,
        largest=1024,
        median_seconds=122,
        mean_seconds=1414,
        mean_accelerator_seconds=32_404,
    )
    drawn = stream.jobs(60, 0, np.random.default_rng(0))
    assert len(drawn) == pytest.approx(3608 * 60, rel=0.02)
    assert drawn.accelerators.mean() == pytest.approx(5.68, rel=0.05)
    assert np.median(drawn.accelerators) == 1
    assert np.median(drawn.work) == pytest.approx(122, rel=0.25)
    assert drawn.work.mean() == pytest.approx(1414, rel=0.05)
    assert (drawn.work * drawn.accelerators).mean() == pytest.approx(32_404, rel=0.3)


def test_watts_at_both_ends_and_under_a_cap() -> None:
    power = PowerModel(idle=60, limit=400, around=100, pue=1.0)
    assert power.accelerator(0) == 60
    assert power.accelerator(1) == 400
    need = power.total(1000, 0)
    assert power.speed_under_cap(1000, 0, need) == 1
    assert 0.1 <= power.speed_under_cap(1000, 0, 0.6 * need) < 0.8


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The jobs that the scheduler looks at, one entry for each look."""
    looked: list[int] = []
    look = GangScheduler._try
    monkeypatch.setattr(
        GangScheduler, "_try", lambda self, job, queue, size: (looked.append(job), look(self, job, queue, size))[1]
    )
    return looked


def test_the_full_fleet_needs_few_looks_at_a_job_and_little_memory(tries: list[int]) -> None:
    """What a year of 1.8 million jobs costs is how often the scheduler looks at one."""
    year = simulate_year(days=14)
    assert len(tries) < 10 * len(year.jobs)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 2**20
    assert len(year.jobs) == pytest.approx(14 * 5000, rel=0.05)
    figures = year_figures(year)
    assert 0 < figures["goodput"] < figures["utilisation"] <= 1


def test_the_filling_of_an_empty_fleet_counts_in_no_figure() -> None:
    small = smaller(8_192, 0.4)
    whole = simulate_cluster(small, year_jobs(10, 0, small.accelerators), days=10)
    later = whole.after(4)
    assert len(later.hours["utilisation"]) == 6 * 24
    assert later.hours["utilisation"].mean() > whole.hours["utilisation"].mean()
    assert later.jobs.arrive.min() >= 4 * DAY and len(later.wait) == len(later.jobs)
    nothing_cut = whole.after(0)
    for name in ("failures", "finished", "preemptions", "across_pods"):
        assert getattr(nothing_cut, name) == getattr(whole, name) >= getattr(later, name)


def test_the_picture_of_some_days_does_not_say_a_year(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster is a small one here; what is asked of it and how it is drawn are the scenario's own."""
    small = smaller(8_192, 0.4)
    asked: list[float] = []

    def year(days: float, seed: int = 0) -> ClusterOutcome:
        asked.append(days)
        return simulate_cluster(small, year_jobs(days, seed, small.accelerators), days=days)

    monkeypatch.setattr(fleet_year, "simulate_year", year)
    monkeypatch.setattr(fleet_year, "LEAD_DAYS", 2)
    found = scenarios.simulate("meta-2024-year", days=3, page=tmp_path / "year.html")
    assert asked == [3 + 2]
    page = (tmp_path / "year.html").read_text()
    assert "3 days" in found["title"] and "3 days" in page and "one year" not in page + found["title"]
    assert found["jobs"] < 4 * 0.45 * 8_192
    assert "one year" in fleet_year.year_title(365) and "one day" in fleet_year.year_title(1)


@pytest.mark.slow
def test_a_whole_year_needs_few_looks_at_a_job(tries: list[int]) -> None:
    year = simulate_year()
    assert len(year.hours["utilisation"]) == 365 * 24
    assert len(tries) < 10 * len(year.jobs)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.charts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.charts += tag == "svg"
        self.outside += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]
        self.outside += [tag] if tag in ("script", "link", "iframe", "img") else []


def test_the_picture_is_a_png_and_a_page_that_needs_nothing_else(tmp_path: Path) -> None:
    small = smaller(8_192, 0.4)
    year = simulate_cluster(small, year_jobs(10, 0, small.accelerators), days=10)
    draw_png(year, "ten days", tmp_path / "year.png")
    assert (tmp_path / "year.png").read_bytes().startswith(b"\x89PNG")
    draw_page(year, "ten <days>", year_figures(year), tmp_path / "year.html")
    text = (tmp_path / "year.html").read_text()
    page = _Links()
    page.feed(text)
    assert page.charts == 5
    assert not page.outside
    assert "ten &lt;days&gt;" in text
    assert "url(" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["year.html", "year.png"]


def test_what_cannot_be_is_refused_in_one_sentence() -> None:
    with pytest.raises(UserError, match="never start"):
        simulate_cluster(fleet(8), jobs((0, 16, 10, 0)), days=1)
    with pytest.raises(UserError, match="add up"):
        fleet(8, queues=(Queue(name="a", priority=0, quota=0.7), Queue(name="b", priority=0, quota=0.7)))
    with pytest.raises(UserError, match="less than one node"):
        year_cluster(4)
    with pytest.raises(UserError, match="median"):
        JobStream(per_day=1, mean_accelerators=1, largest=8, median_seconds=10, mean_seconds=5)
