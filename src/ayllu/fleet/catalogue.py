"""What machines can do: accelerators with their sources, the fleets built of them, and H100 equivalents.

Rates are in TFLOP/s of dense products, memory in GB (1e9 bytes) and TB/s, links in GB/s per direction and accelerator,
power in watts. A rate that a vendor quotes with sparsity is halved.

Every row of `data/accelerators.csv` names its sources, and its column `unsourced` the figures that none of them gave:
they are from memory, mostly node sizes, networks per accelerator and tf32 rates, and marked in every output."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from ayllu.fleet.part_names import KnownPart, find_part, find_part_within, read_name
from ayllu.lab.error import UserError
from ayllu.lab.store import user_folder

Precision = Literal["float32", "bf16", "float8", "float4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

ACHIEVABLE_SHARE: Mapping[str, float] = {"float32": 0.80, "bf16": 0.78, "float8": 0.72, "float4": 0.60}
"""Share of the peak that the best matrix product reaches where nobody published one: the medians of the published
shares."""

DEFAULT_LINK_GB_S = 12.0
"""Effective bandwidth of a PCIe 4 x16 slot through the host, for parts without a published link."""
DEFAULT_NETWORK_GB_S = 12.5
"""One 100 Gb/s port, for parts without a published network."""

LARGEST_NODE, TRAY = 16, 4
"""A node of more is a rack of trays that share a link, and a tray has four (GB200 NVL72: 18 of them)."""


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """One device. None means that nobody published the figure."""

    id: str
    name: str
    vendor: str = ""
    year: int | None = None
    generation: str = ""
    """Family of dies that share their software's efficiency, such as `hopper`."""
    peak_tflops: Mapping[str, float]
    """Dense peak by type of the operands: bf16, float8, float4, fp16, tf32, fp32."""
    achieved_tflops: Mapping[str, float]
    """Best measured matrix product (MAMF) by precision: bf16, float8, and float32 on a calibrated machine."""
    memory_gb: float | None = None
    memory_tb_s: float | None = None
    link_gb_s: float | None = None
    """Scale-up link (NVLink, ICI, Infinity Fabric), per direction."""
    link_domain: int = 1
    """Accelerators that reach one another over that link."""
    node_size: int = 1
    network_gb_s: float | None = None
    """Scale-out network per accelerator, per direction."""
    tdp_w: float | None = None
    announced: bool = False
    aliases: tuple[str, ...] = ()
    training_precision: Precision = "bf16"
    """What a run computes products in where the user names nothing."""
    training: tuple[tuple[int, float], ...] = ()
    """On this very machine: width of a model, and measured over predicted seconds of its training step."""
    optimizer_s_per_parameter: float = 0.0
    """On this very machine: seconds of a step that do not grow with the batch, per parameter."""
    source: str = ""
    unsourced: tuple[str, ...] = ()
    """Figures that no source gave, by their columns in `data/accelerators.csv`: they are from memory."""

    def peak(self, precision: Precision) -> float:
        """Dense peak, TFLOP/s, of the fastest unit that computes `precision`; a missing narrow type runs as the next
        wider one."""
        order = {
            "float32": ("tf32", "fp32"),
            "bf16": ("bf16", "fp16", "fp32"),
            "float8": ("float8", "bf16", "fp16", "fp32"),
            "float4": ("float4", "float8", "bf16", "fp16", "fp32"),
        }[precision]
        for kind in order:
            if kind in self.peak_tflops:
                return self.peak_tflops[kind]
        raise UserError(f"accelerator {self.id}: no peak rate is known for {precision}; choose another part")

    def achieved(self, precision: Precision) -> float:
        """Achievable rate of a large matrix product, TFLOP/s: measured where published, else a share of the peak."""
        if precision in self.achieved_tflops:
            return self.achieved_tflops[precision]
        if precision in ("float8", "float4") and self.peak(precision) == self.peak("bf16"):
            return self.achieved("bf16")
        share = ACHIEVABLE_SHARE[precision]
        if "bf16" in self.achieved_tflops:
            # Parts whose bf16 product falls short of its peak fall as short in the other types (power and clocks are
            # shared).
            share *= min(1.0, self.achieved_tflops["bf16"] / (self.peak("bf16") * ACHIEVABLE_SHARE["bf16"]))
        return self.peak(precision) * share

    def training_factor(self, width: int) -> float:
        """Measured over predicted time of a training step at that model width; 1 where none was timed."""
        if not self.training:
            return 1.0
        widths, factors = zip(*self.training, strict=True)
        return float(np.exp(np.interp(np.log(width), np.log(widths), np.log(factors))))

    @property
    def labels(self) -> tuple[str, ...]:
        """All that it is called; the full name first."""
        return (self.name, self.id, *self.aliases)

    @property
    def per_node(self) -> int:
        """Accelerators that one operating system has; 0 where the processors themselves do the work."""
        if self.generation == "cpu":
            return 0
        return TRAY if self.node_size > LARGEST_NODE else max(self.node_size, 1)

    @property
    def best_peak(self) -> float:
        """Highest dense rate at any precision of 8 bits or more, TFLOP/s."""
        return max(rate for kind, rate in self.peak_tflops.items() if kind != "float4")


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Like accelerators that one network joins. `accelerator` carries the node and the link; the rest is the
    building's."""

    accelerator: Accelerator
    count: int
    pod_size: int
    """Accelerators with full bisection between them."""
    oversubscription: float = 1.0
    """Between pods: 7 means that a seventh of the bandwidth leaves the pod."""
    network_gb_s: float
    pue: float = 1.2
    """Power drawn by the building over power drawn by its machines."""

    @property
    def unsourced(self) -> tuple[str, ...]:
        """Figures that plans start from and that are from memory; the network is the building's, where that says it."""
        own = {"network_gb_s"} if self.network_gb_s != self.accelerator.network_gb_s else set()
        return tuple(name for name in self.accelerator.unsourced if name not in {"year", *own})

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"fleet: {self.accelerator.id} has a count of {self.count}; it must be at least 1")
        if self.oversubscription < 1 or self.network_gb_s <= 0 or self.pue < 1:
            raise UserError(
                f"fleet: {self.accelerator.id} has oversubscription {self.oversubscription}, network "
                f"{self.network_gb_s} GB/s and PUE {self.pue}; they must be at least 1, above 0 and at least 1"
            )


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Named pools of accelerators."""

    name: str
    pools: tuple[Pool, ...]
    note: str = ""
    source: str = ""

    @property
    def count(self) -> int:
        return sum(pool.count for pool in self.pools)

    def pool(self, accelerator: str | None = None) -> Pool:
        """The pool of `accelerator`, or the largest by achievable bf16 rate. Raises UserError when there is none
        such."""
        if accelerator is None:
            return max(self.pools, key=lambda pool: pool.count * pool.accelerator.achieved("bf16"))
        wanted = find_accelerator(accelerator).id
        for pool in self.pools:
            if pool.accelerator.id == wanted:
                return pool
        raise UserError(
            f"fleet {self.name}: it has no {wanted}; its parts are {', '.join(p.accelerator.id for p in self.pools)}"
        )


def read_table(name: str) -> list[dict[str, str]]:
    """Rows of a CSV that the package ships in `ayllu/fleet/data`."""
    text = resources.files("ayllu.fleet").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def cache_folder() -> Path:
    """Where this user's measurements lie: `$AYLLU_CACHE`, or `~/.cache/ayllu`."""
    return user_folder("AYLLU_CACHE", ".cache", "ayllu")


THIS_MACHINE = "this-machine"
"""Name of the calibrated machine, as an accelerator and as a fleet."""


OWN: ContextVar[Mapping[str, Accelerator]] = ContextVar("own accelerators", default=MappingProxyType({}))
"""Accelerators of the user's own by id (`own_accelerators`)."""


def accelerators() -> dict[str, Accelerator]:
    """Every accelerator by id: the packaged ones, the user's own and, where it was calibrated, this machine."""
    known = {**_packaged_accelerators(), **OWN.get()}
    path = cache_folder() / "fleet" / f"{THIS_MACHINE}.json"
    if path.exists():
        known[THIS_MACHINE] = _from_calibration(path)
    return known


def find_accelerator(name: str) -> Accelerator:
    """The accelerator called `name` by id, full name or alias, in any case, or as drivers print it (`NVIDIA
    A100-SXM4-80GB`). Raises UserError when unknown."""
    known = accelerators()
    found = match_accelerator(name)
    if found is not None:
        return found
    if _plain(name) == _plain(THIS_MACHINE):
        raise UserError("this machine is not in the catalogue yet; run `ayllu fleet calibrate` first")
    said = read_name(name)
    if said.is_slice:
        raise UserError(f"{name!r} is a slice of an accelerator (MIG), and the catalogue has whole ones")
    near = [key for key in known if said.model[:3] and said.model[:3] in _plain(key)]
    hint = f"did you mean {', '.join(near[:6])}?" if near else "`ayllu fleet show` lists all"
    raise UserError(f"no accelerator is called {name!r}; {hint}")


def match_accelerator(name: str, *, within: bool = False) -> Accelerator | None:
    """The accelerator that `name` names whole, or (`within`) that it names beside other words; None where none is."""
    known = accelerators()
    wanted = _plain(name)
    if wanted == _plain(THIS_MACHINE):
        return known.get(THIS_MACHINE)
    # A calibrated machine bears its driver's name, and is not every machine with that part.
    known.pop(THIS_MACHINE, None)
    for accelerator in known.values():
        if wanted in {_plain(label) for label in accelerator.labels}:
            return accelerator
    parts = [
        KnownPart(id=part.id, names=tuple(map(read_name, part.labels)), memory_gb=part.memory_gb)
        for part in known.values()
    ]
    found = find_part(name, parts) or (find_part_within(name, parts) if within else None)
    return known[found] if found else None


def fleets() -> tuple[str, ...]:
    """Names of the packaged fleets."""
    return tuple(dict.fromkeys(row["fleet"] for row in read_table("fleets.csv")))


def find_fleet(name: str) -> Fleet:
    """A packaged fleet, `this-machine`, or one written as `64xh100` or `64xh100+128xa100-80gb`. Raises UserError when
    unknown."""
    if name == THIS_MACHINE:
        machine = find_accelerator(THIS_MACHINE)
        return Fleet(
            name=name, pools=(_pool(machine, machine.node_size, pue=1.0),), note="measured by `ayllu fleet calibrate`"
        )
    rows = [row for row in read_table("fleets.csv") if row["fleet"] == name]
    if rows:
        pools = tuple(
            Pool(
                accelerator=find_accelerator(row["accelerator"]),
                count=int(row["count"]),
                pod_size=int(row["pod_size"]),
                oversubscription=float(row["oversubscription"]),
                network_gb_s=float(row["network_gb_s"]),
                pue=float(row["pue"]),
            )
            for row in rows
        )
        return Fleet(name=name, pools=pools, note=rows[0]["note"], source=rows[0]["source"])
    parts = [re.fullmatch(r"\s*(\d+)\s*[x*]\s*([^+]+?)\s*", part) for part in name.split("+")]
    if all(parts):
        found = tuple(_pool(find_accelerator(part[2]), int(part[1])) for part in parts if part)
        return Fleet(name=name, pools=found, note="as written on the command line")
    raise UserError(
        f"no fleet is called {name!r}; write one as 64xh100 or 64xh100+128xa100-80gb, "
        f"or name one of: {', '.join(fleets())}"
    )


def with_rest(fleet: Fleet, accelerator: str, count: int) -> Fleet:
    """`fleet` with `count` more accelerators of another kind beside it."""
    return replace(fleet, pools=(*fleet.pools, _pool(find_accelerator(accelerator), count)))


H100E_CONVENTIONS: Mapping[str, str] = {
    "bf16-peak": "dense bf16 peak over the H100's 989 TFLOP/s",
    "best-peak": "best dense peak at 8 bits or more over the H100's 1,979 TFLOP/s (Epoch AI's)",
    "achieved": "best measured bf16 matrix product over the H100's 794.5 TFLOP/s",
    "workload": "tokens/s of one recipe, each part with its own best layout, over the H100's",
}
"""Name of each convention of H100 equivalents, and what it compares. The last is computed by
`ayllu.fleet.planner.plan.workload_h100e`."""


def h100_equivalents(accelerator: Accelerator, convention: str) -> float:
    """H100 equivalents of one `accelerator` under a convention that needs no planner. Raises UserError on another
    name."""
    h100 = find_accelerator("h100")
    if convention == "bf16-peak":
        return accelerator.peak("bf16") / h100.peak("bf16")
    if convention == "best-peak":
        return accelerator.best_peak / h100.best_peak
    if convention == "achieved":
        return accelerator.achieved("bf16") / h100.achieved("bf16")
    raise UserError(f"no H100e convention is called {convention!r}; the names are {', '.join(H100E_CONVENTIONS)}")


def _pool(accelerator: Accelerator, count: int, *, pue: float = 1.2) -> Pool:
    network = accelerator.network_gb_s or DEFAULT_NETWORK_GB_S
    return Pool(accelerator=accelerator, count=count, pod_size=max(count, 1), network_gb_s=network, pue=pue)


def _plain(label: str) -> str:
    return re.sub(r"[^a-z0-9]", "", label.lower())


def _number(text: str) -> float | None:
    return float(text) if text.strip() else None


@cache
def _packaged_accelerators() -> Mapping[str, Accelerator]:
    return {row["id"]: accelerator_of(row) for row in read_table("accelerators.csv")}


RATES = {
    "bf16_tflops": "bf16",
    "fp8_tflops": "float8",
    "fp4_tflops": "float4",
    "fp16_tflops": "fp16",
    "tf32_tflops": "tf32",
    "fp32_tflops": "fp32",
}
"""Columns of peak rates, and the type of their operands."""
TEXTS = ("id", "name", "vendor", "generation", "announced", "aliases", "unsourced", "source")
"""Columns that hold no number."""


@cache
def columns() -> tuple[str, ...]:
    """The columns of the catalogue's table."""
    return tuple(read_table("accelerators.csv")[0])


def accelerator_of(row: Mapping[str, str]) -> Accelerator:
    """The accelerator of a row with the catalogue's columns."""
    peaks = {kind: _number(row[column]) for column, kind in RATES.items()}
    achieved = {"bf16": _number(row["achieved_bf16_tflops"]), "float8": _number(row["achieved_fp8_tflops"])}
    return Accelerator(
        id=row["id"],
        name=row["name"],
        vendor=row["vendor"],
        year=int(float(row["year"])) if row["year"] else None,
        generation=row["generation"],
        peak_tflops={kind: rate for kind, rate in peaks.items() if rate},
        achieved_tflops={kind: rate for kind, rate in achieved.items() if rate},
        memory_gb=_number(row["memory_gb"]),
        memory_tb_s=_number(row["memory_tb_s"]),
        link_gb_s=_number(row["link_gb_s"]),
        link_domain=int(float(row["link_domain"] or 1)),
        node_size=int(float(row["node_size"] or 1)),
        network_gb_s=_number(row["network_gb_s"]),
        tdp_w=_number(row["tdp_w"]),
        announced=row["announced"] == "yes",
        aliases=tuple(alias for alias in row["aliases"].split(";") if alias),
        source=row["source"],
        unsourced=tuple(name for name in row["unsourced"].split(";") if name),
    )


def _from_calibration(path: Path) -> Accelerator:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        gpus, narrow = int(found.get("gpus", 0)), found.get("float8_tflops")
        peaks = {"bf16": found["bf16_tflops"], "fp32": found["fp32_tflops"]} | ({"float8": narrow} if narrow else {})
        achieved = {"bf16": found["bf16_tflops"], "float32": found["fp32_tflops"]}
        return Accelerator(
            id=THIS_MACHINE,
            name=found["name"],
            generation="" if gpus else "cpu",
            peak_tflops=peaks,
            achieved_tflops=achieved | ({"float8": narrow} if narrow else {}),
            memory_gb=found["memory_gb"],
            memory_tb_s=found["memory_gb_s"] / 1000,
            link_gb_s=found.get("link_gb_s"),
            link_domain=max(gpus, 1),
            node_size=max(gpus, 1),
            network_gb_s=found["loopback_gb_s"],
            tdp_w=found.get("power_w"),
            training_precision=found["training_precision"],
            training=tuple((int(width), float(factor)) for width, factor in found["training"]),
            optimizer_s_per_parameter=float(found["optimizer_s_per_parameter"]),
            source=f"measured by `ayllu fleet calibrate` on {found['date']}",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: this calibration cannot be read ({error}); run `ayllu fleet calibrate` again"
        ) from error
