"""What `ayllu fleet show` shows: the catalogue, an accelerator, or a fleet in H100 equivalents."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ayllu.fleet.catalogue import (
    H100E_CONVENTIONS,
    Accelerator,
    Fleet,
    accelerators,
    find_accelerator,
    find_fleet,
    fleets,
    h100_equivalents,
    read_table,
    with_rest,
)
from ayllu.fleet.planner.plan import TrainingJob, default_batch, find_model_config, power, workload_h100e
from ayllu.lab.error import UserError

ANNOUNCED_H100E = 600_000
"""H100 equivalents of the announcement of 18 January 2024; its convention was not named."""
OPEN_FLEET = "meta-2024"
WORKLOAD_COUNT = 64
"""Accelerators on which the workload convention compares."""


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


def shown(
    name: str | None, *, rest: str, rest_count: int | None, prices: Mapping[str, float], workload: str
) -> dict[str, Any]:
    """What to print, as plain values. Raises UserError when nothing is called `name`."""
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
        return fleet_value(fleet, prices, workload)
    return {"accelerator": accelerator_value(find_accelerator(name)), "prices": _examples(find_accelerator(name))}


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
    }


def fleet_value(fleet: Fleet, prices: Mapping[str, float], workload: str) -> dict[str, Any]:
    """A fleet as plain values: each part and the whole, in H100 equivalents under every convention."""
    model = find_model_config(workload)
    sequence = min(8192, model.context)
    job = TrainingJob(
        name=workload, model=model, sequence=sequence, global_batch=default_batch(model, sequence), tokens=1e12
    )
    parts: list[dict[str, Any]] = []
    for pool in fleet.pools:
        part = pool.accelerator
        each: dict[str, float | None] = {
            name: h100_equivalents(part, name) for name in H100E_CONVENTIONS if name != "workload"
        }
        each["workload"] = workload_h100e(part.id, job, count=WORKLOAD_COUNT) if pool.count > 1 else None
        watts = power(pool, pool.count)
        parts.append(
            {
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
            }
        )
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


def as_lines(value: Mapping[str, Any]) -> Iterable[str]:
    """`shown`'s value for people."""
    if "accelerators" in value:
        heads = ("accelerator", "year", "bf16", "reached", "fp8", "GB", "TB/s", "link", "domain", "W")
        yield _row(heads) + f"   H100e by {', '.join(list(H100E_CONVENTIONS)[:3])}"
        for each in value["accelerators"]:
            peaks = each["peak_tflops"]
            mark = "" if each["achieved_is_measured"] else "~"
            h100e = " / ".join(f"{number:.3g}" for number in each["h100e"].values())
            reached = mark + _text(each["achieved_bf16_tflops"])
            rates = (each["year"], peaks.get("bf16") or peaks.get("fp16"), reached, peaks.get("float8"))
            rest = (each[name] for name in ("memory_gb", "memory_tb_s", "link_gb_s", "link_domain", "tdp_w"))
            yield _row((each["id"], *rates, *rest)) + f"   {h100e}"
        yield "TFLOP/s dense; reached: best matrix product measured (~ estimated); link: GB/s per direction\n"
        yield from (f"{name:16} {note}" for name, note in value["fleets"].items())
    elif "accelerator" in value:
        yield from (f"{name.replace('_', ' '):22} {_flat(entry)}" for name, entry in value["accelerator"].items())
        yield from (
            f"{'price example':22} {each['usd']} USD, {each['kind']}, {each['date']}: {each['source']}"
            for each in value["prices"]
        )
    else:
        yield f"{value['fleet']}: {value['count']:,} accelerators. {value['note']}"
        names = list(H100E_CONVENTIONS)
        yield f"{'part':16}{'count':>10}" + "".join(f"{name:>14}" for name in names) + f"{'power':>10}{'price':>18}"
        for part in value["parts"]:
            numbers = "".join(f"{_count(part['h100e'][name]):>14}" for name in names)
            end = f"{_mw(part['power_mw']):>10}{_count(part['price']):>18}"
            yield f"{part['accelerator']:16}{part['count']:>10,}{numbers}{end}"
        numbers = "".join(f"{_count(value['h100e'][name]):>14}" for name in names)
        yield f"{'H100 equivalents':16}{'':>10}{numbers}{_mw(value['power_mw']):>10}{_count(value['price']):>18}"
        yield from (f"  {name}: {meaning}" for name, meaning in value["conventions"].items())
        yield from (
            f"  price example: {each['accelerator']} {each['usd']} USD, {each['kind']}, {each['date']}: "
            f"{each['source']}"
            for each in value["price_examples"]
        )


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


WIDTHS = (14, 6, 8, 9, 8, 7, 7, 7, 7, 6)


def _row(values: Iterable[Any]) -> str:
    first, *others = (_text(value) for value in values)
    return first.ljust(WIDTHS[0]) + "".join(text.rjust(width) for text, width in zip(others, WIDTHS[1:], strict=True))


def _flat(entry: Any) -> str:
    return (
        ", ".join(f"{name} {number:g}" for name, number in entry.items()) if isinstance(entry, dict) else _text(entry)
    )


def _text(number: Any) -> str:
    if number is None:
        return "-"
    if isinstance(number, float):
        return f"{number:.0f}" if number >= 1e3 else f"{number:.4g}"
    return str(number)


def _count(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _mw(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:,.3g} MW" if number >= 1 else f"{1000 * number:,.3g} kW"
