"""Mean power of the A100s of Seren and Kalos, each by the other's curve: `python bench/reproduce/a100_power.py`."""

from __future__ import annotations

import numpy as np
import record
from job_curves import read_table

WINDOWS = (62.062, 69.886)
"""Mean utilisation of the GPUs of Kalos in two stretches of time, per cent (AcmeTrace util_gpu_kalos.pkl and
util_gpu_kalos_full.pkl @6d6ac9cd, means of the published curves): how much busier one month is than another."""

ACME = ("Seren", "Kalos")
"""The two clusters whose A100s were measured: activity and power, but never of one accelerator at one time."""


def power_curve(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Activity and watts of the A100s of a cluster at equal ranks (`data/a100_activity.csv`): the busiest draws most.

    The file is from AcmeTrace util_gpu_seren.pkl, util_gpu_kalos_full.pkl (active multiprocessors, DCGM),
    gpu_power_seren.pkl and gpu_power_kalos.pkl (August 2023) @6d6ac9cd, CC BY 4.0. Ranks of one activity share a mean.
    """
    rows = read_table("a100_activity.csv")
    activity = np.array([float(row[f"{name.lower()}_activity"]) for row in rows])
    watts = np.array([float(row[f"{name.lower()}_watts"]) for row in rows])
    levels, rank = np.unique(activity, return_inverse=True)
    return levels, np.bincount(rank, watts) / np.bincount(rank)


def accelerator_power(name: str, seed: int, accelerators: int = 2048) -> float:
    """Mean watts over accelerators with the published activity of one cluster and the power curve of the other.

    Power was measured in another month than activity: the share of accelerators that are busy differs by as much as
    between two stretches of Kalos.
    """
    rng = np.random.default_rng(seed)
    rows = read_table("a100_activity.csv")
    ranks = [float(row["percent_of_samples"]) / 100 for row in rows]
    levels = [float(row[f"{name.lower()}_activity"]) for row in rows]
    idle = max(rank for rank, level in zip(ranks, levels, strict=True) if level == 0)
    drift = rng.normal(0.0, np.log(WINDOWS[1] / WINDOWS[0]))
    idle_then = 1 - min(1.0, (1 - idle) * np.exp(drift))
    rank = np.interp(rng.random(accelerators), [0.0, idle_then, 1.0], [0.0, idle, 1.0])
    activity = np.interp(rank, [0.0, *ranks], [0.0, *levels])
    (other,) = (each for each in ACME if each != name)
    return float(np.mean(np.interp(activity, *power_curve(other))))


def a100_power(seeds: int) -> record.Reproduction:
    """Mean watts of both clusters over so many runs."""
    published = {
        row["what"].split()[0]: float(row["mean_w"]) for row in read_table("power.csv") if "A100" in row["what"]
    }
    watts = {name: [accelerator_power(name, seed) for seed in range(seeds)] for name in ACME}
    return record.Reproduction(
        figures={f"{name.lower()}_a100_watts": values for name, values in watts.items()},
        targets=[
            record.Target(
                figure=f"{name}: mean power of an A100, W",
                published=published[name],
                values=values,
                source="bench/reproduce/data/power.csv (DCGM, August 2023)",
            )
            for name, values in watts.items()
        ],
        notes=NOTES,
    )


NOTES = [
    "Charging 400 W for every A100 would give 2.1 to 2.4 times the measured energy. A straight line from 60 to 400 W "
    "gives 203 and 194 W: half-active multiprocessors draw far less than half.",
    "Activity is of other months than power (August): Seren was the busier cluster in one, and drew less in the other. "
    "No curve of activity can give both, and the interval holds what months differ by.",
]

if __name__ == "__main__":
    record.main({"a100-power": (a100_power, 40)})
