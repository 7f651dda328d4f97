"""What `ayllu fleet show` tells: the catalogue, one accelerator, or a fleet in H100 equivalents, as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ayllu.fleet.catalogue import (
    H100E_CONVENTIONS,
    Accelerator,
    Fleet,
    Pool,
    accelerators,
    find_accelerator,
    find_fleet,
    fleets,
    h100_equivalents,
    read_table,
    with_rest,
)
from ayllu.fleet.planner.choice import power
from ayllu.fleet.planner.find_job import find_model_config
from ayllu.fleet.planner.plan import workload_h100e
from ayllu.fleet.planner.training_job import TrainingJob, default_batch
from ayllu.lab.error import UserError

ANNOUNCED_H100E = 600_000
"""H100 equivalents of the announcement of 18 January 2024; its convention was not named."""
OPEN_FLEET = "meta-2024"
WORKLOAD_COUNT = 64
"""Accelerators on which the workload convention compares."""


def overview(
    name: str | None,
    *,
    rest: str = "a100-80gb",
    rest_count: int | None = None,
    prices: Mapping[str, float] | None = None,
    workload: str = "llama-3.1-8b",
) -> dict[str, Any]:
    """Everything without a `name`, else an accelerator or a fleet. Raises UserError when nothing is called so."""
    if name is None:
        return {
            "accelerators": [accelerator_value(each) for each in accelerators().values()],
            "fleets": {each: find_fleet(each).note for each in fleets()},
            "conventions": dict(H100E_CONVENTIONS),
        }
    if name in fleets() or ("x" in name and name[0].isdigit()) or name == "this-machine":
        fleet = find_fleet(name)
        if name == OPEN_FLEET:
            fleet = _with_rest(fleet, rest, rest_count)
        return fleet_value(fleet, prices or {}, workload)
    return {"accelerator": accelerator_value(find_accelerator(name)), "prices": _examples(find_accelerator(name))}


def parse_prices(given: Sequence[str]) -> dict[str, float]:
    """`["h100=33600"]` as a table by accelerator. Raises UserError on anything else."""
    prices = {}
    for text in given:
        name, _, amount = text.partition("=")
        try:
            prices[find_accelerator(name).id] = float(amount)
        except ValueError as error:
            raise UserError(f"--price {text}: write it as h100=33600") from error
        if not 0 <= prices[find_accelerator(name).id] < math.inf:
            raise UserError(f"--price {text}: a price must be 0 or more")
    return prices


def accelerator_value(accelerator: Accelerator) -> dict[str, Any]:
    """One accelerator as plain values."""
    return {
        "id": accelerator.id,
        "name": accelerator.name,
        "vendor": accelerator.vendor,
        "year": accelerator.year,
        "announced": accelerator.announced,
        "peak_tflops": dict(accelerator.peak_tflops),
        "achieved_bf16_tflops": round(accelerator.achieved("bf16"), 4),
        "achieved_is_measured": "bf16" in accelerator.achieved_tflops and "estimated" not in accelerator.source,
        "memory_gb": accelerator.memory_gb,
        "memory_tb_s": accelerator.memory_tb_s,
        "link_gb_s": accelerator.link_gb_s,
        "link_domain": accelerator.link_domain,
        "node_size": accelerator.node_size,
        "network_gb_s": accelerator.network_gb_s,
        "tdp_w": accelerator.tdp_w,
        "h100e": {
            name: round(h100_equivalents(accelerator, name), 4) for name in H100E_CONVENTIONS if name != "workload"
        },
        "source": accelerator.source,
        "unsourced": list(accelerator.unsourced),
    }


def fleet_value(fleet: Fleet, prices: Mapping[str, float], workload: str) -> dict[str, Any]:
    """A fleet as plain values: each part and the whole, in H100 equivalents under every convention."""
    model = find_model_config(workload)
    sequence = min(8192, model.context)
    batch = default_batch(model, sequence)
    job = TrainingJob(name=workload, model=model, sequence=sequence, global_batch=batch, tokens=1e12)
    parts = [_part_value(pool, prices, job) for pool in fleet.pools]
    totals = {name: [part["h100e"][name] for part in parts] for name in H100E_CONVENTIONS}
    return {
        "fleet": fleet.name,
        "note": fleet.note,
        "source": fleet.source,
        "count": fleet.count,
        "parts": parts,
        "h100e": {name: None if None in values else sum(values) for name, values in totals.items()},
        "conventions": dict(H100E_CONVENTIONS)
        | {"workload": f"{H100E_CONVENTIONS['workload']}; here {workload} on {WORKLOAD_COUNT}"},
        "power_mw": _sum(part["power_mw"] for part in parts),
        "price": _sum(part["price"] for part in parts),
        "price_examples": [example for pool in fleet.pools for example in _examples(pool.accelerator)],
    }


def _part_value(pool: Pool, prices: Mapping[str, float], job: TrainingJob) -> dict[str, Any]:
    part = pool.accelerator
    each: dict[str, float | None] = {
        name: h100_equivalents(part, name) for name in H100E_CONVENTIONS if name != "workload"
    }
    each["workload"] = workload_h100e(part.id, job, count=WORKLOAD_COUNT) if pool.count > 1 else None
    watts = power(pool, pool.count)
    return {
        "accelerator": part.id,
        "count": pool.count,
        "h100e_each": {name: None if value is None else round(value, 4) for name, value in each.items()},
        "h100e": {name: None if value is None else round(value * pool.count) for name, value in each.items()},
        "bf16_exaflops": part.peak("bf16") * pool.count / 1e6,
        "memory_tb": None if part.memory_gb is None else part.memory_gb * pool.count / 1000,
        "power_mw": None if watts is None else watts / 1e6,
        "price": prices[part.id] * pool.count if part.id in prices else None,
        "pod_size": pool.pod_size,
        "oversubscription": pool.oversubscription,
        "network_gb_s": pool.network_gb_s,
        "unsourced": list(pool.unsourced),
    }


def _with_rest(fleet: Fleet, rest: str, count: int | None) -> Fleet:
    part = find_accelerator(rest)
    if count is None:
        count = round((ANNOUNCED_H100E - fleet.count) / h100_equivalents(part, "bf16-peak"))
    if count < 0:
        raise UserError(f"--rest-count is {count}; it cannot be negative")
    return with_rest(fleet, rest, count) if count else fleet


def _examples(accelerator: Accelerator) -> list[dict[str, str]]:
    return [row for row in read_table("prices.csv") if row["accelerator"] == accelerator.id]


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)
