"""Reading published runs, fitting on them, and scoring on what was left out."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ayllu.fleet.catalogue import read_table
from ayllu.fleet.planner.constants import CONSTANTS, believed, shipped
from ayllu.fleet.planner.cost import step_time
from ayllu.fleet.validation.fit import fit_constants, fit_expert_constants, predict
from ayllu.fleet.validation.measured_run import Unusable, read_measured_run
from ayllu.fleet.validation.measured_runs import MeasuredRuns, gather, read_measured_runs
from ayllu.fleet.validation.validate import leave_one_out, plan_groups, validate
from ayllu.lab.error import UserError
from support.fleet.runs_table import ROW, write


@pytest.fixture(scope="module")
def packaged() -> MeasuredRuns:
    return read_measured_runs()


def run(**changes: str) -> Any:
    return read_measured_run(ROW | changes)


def test_a_row_is_read_as_it_says() -> None:
    found = run()
    assert (found.seconds, found.columns["tp"], found.columns["dp_shard"]) == (2.0, 2, 32)
    assert (found.columns["gates"], found.columns["tied"], found.columns["head_width"]) == (2, 0, 128)
    assert found.kinds == ("h100",)


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"step_time_s": "", "tokens_per_s": "524288"}, 2.0),
        # 6 N + 12 L H h T per token, over 64 accelerators at 400 TFLOP/s
        (
            {"step_time_s": "", "tflops_per_gpu": "400"},
            128 * 8192 * (6 * 7.5047e9 + 12 * 32 * 4096 * 8192) / 64 / 400e12,
        ),
        ({"step_time_s": "", "mfu_pct": "40.4449"}, 128 * 8192 * (6 * 7.5047e9 + 12 * 32 * 4096 * 8192) / 64 / 400e12),
    ],
)
def test_time_is_found_in_every_convention(changes: dict[str, str], seconds: float) -> None:
    assert run(**changes).seconds == pytest.approx(seconds, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "Nemotron_3_Nano"}, "dense"),
        ({"model": "DeepSeek-V3"}, "name disagree"),
        ({"ep": "8"}, "dense"),
        ({"gpu_type": "Abacus 9000"}, "catalogue"),
        ({"dp": "16"}, "multiply"),
        ({"step_time_s": "-1"}, "above 0"),
        ({"step_time_s": "soon"}, "no number"),
        ({"step_time_s": ""}, "no time"),
        ({"step_time_s": "0.002"}, "unit"),
        ({"seq_len": ""}, "sequence"),
        ({"layers": "", "model": "Unheard-of"}, "architecture"),
        ({"model": "Unheard-of", "params_b": "80"}, "disagree"),
        ({"gpus": ""}, "device count"),
        ({"global_batch_seqs": ""}, "batch"),
        ({"tp": "", "pp": "", "dp": ""}, "layout"),
    ],
)
def test_what_cannot_be_scored_says_why(changes: dict[str, str], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        run(**changes)


def test_public_shapes_fill_what_a_row_leaves_out() -> None:
    names = ("params_b", "layers", "hidden", "heads", "kv_heads", "ffn", "vocab")
    assert run(**dict.fromkeys(names, "")).columns == run().columns


def test_row_wise_8_bit_runs_at_16_bit_speed_and_two_kinds_at_the_slower() -> None:
    assert run(dtype="fp8 rowwise").columns["narrow_rate"] == run().columns["narrow_rate"]
    mixed, slower = (run(gpu_type=kind, step_time_s="20").columns for kind in ("H100+A100-80GB", "A100-80GB"))
    assert mixed["narrow_rate"] == slower["narrow_rate"]


def test_out_of_memory_rows_are_scored_apart() -> None:
    rows = [
        dict(ROW),
        ROW | {"step_time_s": "", "notes": "OOM", "micro_batch": "4", "tp": "1", "dp": "64", "gpus": "64"},
    ]
    table = gather(rows)
    assert len(table.runs) == 1
    assert table.out_of_memory is not None and len(table.out_of_memory.tp) == 1


def test_a_table_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    for content in ("", "a,b\n1,2\n", "\x00\x01"):
        path = tmp_path / "runs.csv"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=r"columns|read"):
            read_measured_runs(path)
    with pytest.raises(UserError, match="read"):
        read_measured_runs(tmp_path / "missing.csv")
    with pytest.raises(UserError, match="none of the 1 rows"):
        read_measured_runs(write(tmp_path / "runs.csv", [ROW | {"model": "Mixtral-8x7B"}]))


def test_the_packaged_table_is_large_and_its_reasons_add_up(packaged: MeasuredRuns) -> None:
    assert len(packaged.runs) >= 400
    assert len(packaged.runs) + sum(packaged.left_out.values()) == len(read_table("training_runs.csv"))


def test_fitting_finds_the_constants_that_made_the_data(packaged: MeasuredRuns) -> None:
    values = believed().values | {"product_16": 0.80, "attention_tuned": 0.45, "tp_overlapped": 0.7}
    made = replace(packaged, seconds=step_time(packaged.queries, replace(believed(), values=values)).total)
    found = fit_constants(made)
    assert predict(made, found) == pytest.approx(made.seconds, rel=0.05)
    for name in ("product_16", "attention_tuned"):
        # The beliefs, and the factors of families and generations, keep a part of the move to themselves.
        assert abs(np.log(found[name] / values[name])) < 0.6 * abs(np.log(CONSTANTS[name].believed / values[name]))


def test_fitting_on_a_few_runs_stays_near_the_beliefs(packaged: MeasuredRuns) -> None:
    few = packaged.take(np.arange(len(packaged.runs)) < 3)
    found = fit_constants(few)
    for name, constant in CONSTANTS.items():
        assert abs(np.log(found[name] / constant.believed)) < 4 * constant.spread


def test_a_held_out_source_cannot_be_seen(packaged: MeasuredRuns) -> None:
    """Predictions of a source stay the same whatever its own times are: they were not looked at."""
    sources = [run.source for run in packaged.runs]
    held = next(source for source in sources if source.startswith("Korthikanti"))
    rows = np.array([source == held for source in sources])
    doubled = replace(packaged, seconds=np.where(rows, 2 * packaged.seconds, packaged.seconds))
    part = packaged.take(rows)
    ours, theirs = (leave_one_out(part, table, lambda run: run.source, title="test") for table in (packaged, doubled))
    assert ours.seconds == pytest.approx(theirs.seconds, rel=1e-9)
    assert ours.spread == pytest.approx(theirs.spread, rel=1e-9)


def test_a_part_of_the_packaged_table_is_held_out_as_in_the_whole(tmp_path: Path, report: Any) -> None:
    """One source alone must not be predicted by the shipped constants, which were fitted on it too."""
    rows = [row for row in read_table("training_runs.csv") if row["source"].startswith("Narayanan")]
    with (tmp_path / "part.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    alone = validate(tmp_path / "part.csv", by_family=False)
    assert alone.protocol == "leave-one-source-out"
    for source, found in alone.by_source.items():
        assert found["median_abs_error_pct"] == pytest.approx(report.by_source[source]["median_abs_error_pct"])


def test_the_shipped_constants_are_the_fit_on_the_packaged_table(packaged: MeasuredRuns) -> None:
    assert packaged.experts is not None
    found, kept = fit_expert_constants(packaged.experts, fit_constants(packaged)), shipped()
    assert dict(found.values) == pytest.approx(dict(kept.values), rel=1e-2)
    assert dict(found.effects) == pytest.approx(dict(kept.effects), abs=5e-3)


def test_held_out_errors_meet_the_targets(report: Any) -> None:
    assert report.rows >= 400
    assert report.median_abs_error_pct <= 8
    assert report.p90_abs_error_pct <= 18.5
    assert 78 <= report.coverage_pct <= 88
    assert report.winkler <= 0.55
    assert report.plan_regret_pct <= 3
    assert report.median_abs_error_pct < report.baseline["median_abs_error_pct"] / 2
    memory = report.memory
    assert memory["ran_but_refused"] <= 0.02 * memory["ran"]
    assert memory["median_abs_error_pct"] <= 12


def test_errors_are_told_apart_by_whether_the_software_is_known_from_elsewhere(
    packaged: MeasuredRuns, report: Any
) -> None:
    """A source that is held out may have a sibling in the fit: its error says little of software never seen."""
    apart = report.other_protocols
    known, new = apart["software known from another source"], apart["software of no other source"]
    assert known["rows"] + new["rows"] == report.rows
    homes: dict[str, set[str]] = {}
    for measured in packaged.runs:
        homes.setdefault(measured.family, set()).add(measured.source)
    assert new["rows"] == sum(not measured.family or len(homes[measured.family]) == 1 for measured in packaged.runs)
    assert known["median_abs_error_pct"] < report.median_abs_error_pct < new["median_abs_error_pct"]


def test_the_report_has_what_others_read(report: Any) -> None:
    value = report.as_json()
    assert {"coverage_pct", "coverage_unseen_software_pct", "winkler"} <= set(value)
    assert value["inferred"]["recomputation, for it could not fit without"] > 0
    for name in ("rows", "median_abs_error_pct", "mean_abs_error_pct", "p90_abs_error_pct", "plan_regret_pct"):
        assert value[name] is not None
    assert value["memory_rows"] > 50
    assert sum(found["rows"] for found in value["by_source"].values()) == value["rows"]
    for found in value["by_source"].values():
        assert {"median_abs_error_pct", "p90_abs_error_pct", "bias_pct", "plan_regret_pct", "memory_rows"} <= set(found)


def test_memory_is_near_the_measured_peaks(report: Any) -> None:
    simumax = next(found for source, found in report.by_source.items() if source.startswith("SimuMax"))
    assert simumax["memory_median_abs_error_pct"] < 5
    assert report.memory["median_abs_error_pct"] < 15


def test_new_runs_are_scored_by_the_shipped_constants(tmp_path: Path) -> None:
    rows = [ROW | {"tp": str(tp), "dp": str(64 // tp), "step_time_s": str(2 + tp / 10)} for tp in (1, 2, 4)]
    rows.append(ROW | {"model": "Nemotron_3_Nano"})
    found = validate(write(tmp_path / "runs.csv", rows))
    assert found.protocol == "shipped-constants"
    assert (found.rows, found.left_out) == (3, {"not a dense decoder": 1})
    assert found.groups[0].layouts == 3
    assert found.plan_regret_pct is not None and 0 <= found.plan_regret_pct <= 15


def test_the_packaged_table_under_another_name_is_still_held_out(tmp_path: Path) -> None:
    rows = [row for row in read_table("training_runs.csv") if row["source"].startswith(("Narayanan", "Korthikanti"))]
    found = validate(write(tmp_path / "copy.csv", rows), by_family=False)
    assert found.protocol == "leave-one-source-out"


def test_regret_is_the_time_of_the_pick_over_the_best() -> None:
    rows = [
        ROW | {"tp": str(tp), "dp": str(64 // tp), "step_time_s": time} for tp, time in ((1, "2"), (2, "3"), (4, "4"))
    ]
    table = gather(rows)
    (group,) = plan_groups(table, np.array([9.0, 1.0, 5.0]))
    assert (group.regret_pct, group.worst_pct) == (50, 100)
    assert plan_groups(gather(rows[:2]), np.ones(2)) == ()
