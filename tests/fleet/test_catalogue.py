"""The catalogue: rates against what vendors and measurements say, names, fleets, H100 equivalents."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ayllu.fleet.catalogue import (
    H100E_CONVENTIONS,
    Accelerator,
    accelerators,
    find_accelerator,
    find_fleet,
    fleets,
    h100_equivalents,
    match_accelerator,
    read_table,
)
from ayllu.fleet.overview import overview
from ayllu.lab.error import UserError

PUBLISHED_PEAKS = {
    # dense TFLOP/s by the vendors' data sheets
    ("v100-32gb", "fp16"): 125,
    ("a100-80gb", "bf16"): 312,
    ("a100-80gb", "tf32"): 156,
    ("h100", "bf16"): 989,
    ("h100", "float8"): 1979,
    ("h200", "bf16"): 989,
    ("b200", "bf16"): 2250,
    ("gb200", "float4"): 10_000,
    ("mi300x", "bf16"): 1300,
    ("tpu-v5p", "bf16"): 459,
    ("tpu-v5e", "bf16"): 197,
    ("gaudi2", "bf16"): 432,
    ("rtx-3090", "bf16"): 71,
}


@pytest.mark.parametrize(("part", "kind"), PUBLISHED_PEAKS)
def test_peaks_are_the_vendors(part: str, kind: str) -> None:
    assert find_accelerator(part).peak_tflops[kind] == PUBLISHED_PEAKS[part, kind]


def test_every_accelerator_is_plausible_and_has_a_source() -> None:
    known = accelerators()
    assert len(known) >= 45
    for part in known.values():
        assert part.source, part.id
        assert part.peak_tflops, part.id
        assert 0 < part.achieved("bf16") <= part.peak("bf16"), part.id
        assert part.achieved("float8") <= part.peak("float8"), part.id
        if "float8" in part.peak_tflops and "bf16" in part.peak_tflops:
            assert 1 <= part.peak("float8") / part.peak("bf16") <= 4.4, part.id
        assert part.memory_gb is None or 4 <= part.memory_gb <= 512, part.id
        assert part.memory_tb_s is None or 0.04 <= part.memory_tb_s <= 25, part.id
        assert part.tdp_w is None or 20 <= part.tdp_w <= 2500, part.id


def test_achieved_rates_are_the_measured_shares() -> None:
    shares = {"h100": 0.803, "a100-80gb": 0.869, "b200": 0.776, "gb200": 0.729, "mi300x": 0.514, "gaudi2": 0.969}
    for name, share in shares.items():
        part = find_accelerator(name)
        assert part.achieved("bf16") / part.peak("bf16") == pytest.approx(share, abs=0.002)


def test_a_part_without_8_bit_units_computes_8_bits_as_16() -> None:
    a100 = find_accelerator("a100-80gb")
    assert a100.peak("float8") == a100.peak("bf16")
    assert a100.achieved("float8") == a100.achieved("bf16")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("H100", "h100"),
        ("h100-sxm-80gb", "h100"),
        ("A100-80GB", "a100-80gb"),
        ("GH-96", "gh200"),
        ("tpu v6e", "tpu-v6e"),
    ],
)
def test_names_are_found_by_alias_in_any_case(name: str, found: str) -> None:
    assert find_accelerator(name).id == found


AS_DRIVERS_PRINT_THEM = {
    # what torch.cuda.get_device_name says
    "NVIDIA A100 80GB PCIe": "a100-pcie",
    "NVIDIA A100-PCIE-40GB": "a100-pcie-40gb",
    "NVIDIA A100-SXM4-40GB": "a100-40gb",
    "NVIDIA A100-SXM4-80GB": "a100-80gb",
    "NVIDIA H100 80GB HBM3": "h100",
    "NVIDIA H100 PCIe": "h100-pcie",
    "NVIDIA H100 NVL": "h100-nvl",
    "NVIDIA H200": "h200",
    "NVIDIA H200 NVL": "h200-nvl",
    "NVIDIA H20": "h20",
    "NVIDIA GH200 480GB": "gh200",
    "NVIDIA B200": "b200",
    "NVIDIA L4": "l4",
    "NVIDIA L40S": "l40s",
    "NVIDIA A10": "a10",
    "NVIDIA A10G": "a10g",
    "Tesla T4": "t4",
    "Tesla V100-PCIE-16GB": "v100-pcie-16gb",
    "Tesla V100-PCIE-32GB": "v100-pcie-32gb",
    "Tesla V100-SXM2-16GB": "v100-16gb",
    "Tesla V100-SXM2-32GB": "v100-32gb",
    "NVIDIA GeForce RTX 4090": "rtx-4090",
    "NVIDIA GeForce RTX 2080 Ti": "rtx-2080-ti",
    "NVIDIA RTX A6000": "rtx-a6000",
    "AMD Instinct MI300X": "mi300x",
    "AMD Instinct MI250X / MI250": "mi250x",
    # as Kubernetes labels nodes
    "nvidia-h100-80gb": "h100",
    "nvidia-tesla-t4": "t4",
}


@pytest.mark.parametrize("name", AS_DRIVERS_PRINT_THEM)
def test_a_part_is_found_by_the_name_that_its_driver_prints(name: str) -> None:
    assert find_accelerator(name).id == AS_DRIVERS_PRINT_THEM[name]
    assert find_fleet(f"8x{name}").pools[0].accelerator.id == AS_DRIVERS_PRINT_THEM[name]
    assert overview(name)["accelerator"]["id"] == AS_DRIVERS_PRINT_THEM[name]


@pytest.mark.parametrize(
    "name",
    [
        *("NVIDIA A100-SXM-64GB", "NVIDIA A800 80GB PCIe", "NVIDIA H800 PCIe", "NVIDIA GH200 144G HBM3e", "NVIDIA A40"),
        *("NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 4090 D", "NVIDIA GeForce RTX 3090 Ti", "A100X"),
        *("NVIDIA L40", "NVIDIA H20-3e", "Tesla P100-PCIE-16GB", "Quadro RTX 6000"),
    ],
)
def test_another_part_of_a_like_name_is_not_taken_for_it(name: str) -> None:
    with pytest.raises(UserError, match="no accelerator is called"):
        find_accelerator(name)
    assert match_accelerator(f"8x {name} nodes", within=True) is None


@pytest.mark.parametrize("name", ["NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA A100-SXM4-40GB MIG 3g.20gb"])
def test_a_slice_of_a_part_is_not_the_part(name: str) -> None:
    with pytest.raises(UserError, match="slice"):
        find_accelerator(name)
    assert match_accelerator(name, within=True) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [("8xH100 nodes, IB", "h100"), ("AWS p5.48xlarge H100", "h100"), ("GB200NVL72", "gb200"), ("H100SXM5", "h100")],
)
def test_a_part_is_found_among_other_words(text: str, found: str) -> None:
    part = match_accelerator(text, within=True)
    assert part is not None and part.id == found


def test_an_unknown_part_is_answered_with_near_names() -> None:
    with pytest.raises(UserError, match="h100"):
        find_accelerator("h101")


def test_conventions_rank_parts_as_published() -> None:
    # research: A100 0.315 by peak; V100 0.126 against 0.063; MI300X 1.31 by peak and 0.84 by what it achieves
    expected = {
        ("a100-80gb", "bf16-peak"): 0.315,
        ("v100-32gb", "bf16-peak"): 0.126,
        ("v100-32gb", "best-peak"): 0.063,
        ("mi250x", "bf16-peak"): 0.387,
        ("mi250x", "best-peak"): 0.194,
        ("tpu-v4", "best-peak"): 0.139,
        ("mi300x", "bf16-peak"): 1.314,
        ("mi300x", "achieved"): 0.841,
    }
    for (name, convention), value in expected.items():
        assert h100_equivalents(find_accelerator(name), convention) == pytest.approx(value, abs=0.001)
    assert all(
        h100_equivalents(find_accelerator("h100"), name) == 1 for name in H100E_CONVENTIONS if name != "workload"
    )


def test_an_unnamed_convention_is_refused() -> None:
    with pytest.raises(UserError, match="bf16-peak"):
        h100_equivalents(find_accelerator("h100"), "folk")


def test_epochs_fleet_of_gb200() -> None:
    # Epoch AI prints 700,000 GB200 as 1,768,570 H100 equivalents (best peak over 1.979e15)
    assert 700_000 * h100_equivalents(find_accelerator("gb200"), "best-peak") == pytest.approx(1_768_570, rel=1e-4)


def test_every_named_fleet_can_be_built() -> None:
    for name in fleets():
        assert find_fleet(name).count >= 1


def test_a_fleet_can_be_written() -> None:
    fleet = find_fleet("64xh100 + 128xA100-80GB")
    assert [(pool.accelerator.id, pool.count) for pool in fleet.pools] == [("h100", 64), ("a100-80gb", 128)]
    assert fleet.pool("A100").count == 128


@pytest.mark.parametrize("name", ["0xh100", "8xnothing", "lots of gpus", "this-machine"])
def test_an_impossible_fleet_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AYLLU_CACHE", str(tmp_path))
    with pytest.raises(UserError):
        find_fleet(name)


def test_a_broken_calibration_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AYLLU_CACHE", str(tmp_path))
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "this-machine.json").write_text(json.dumps({"name": "x"}), encoding="utf-8")
    with pytest.raises(UserError, match="calibrate"):
        find_accelerator("this-machine")


def test_a_calibrated_machine_is_not_every_machine_with_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AYLLU_CACHE", str(tmp_path))
    (tmp_path / "fleet").mkdir()
    found = {"name": "NVIDIA H100 80GB HBM3", "gpus": 8, "bf16_tflops": 700, "fp32_tflops": 50, "memory_gb": 80}
    found |= {"memory_gb_s": 3000, "loopback_gb_s": 1, "training_precision": "bf16", "training": [], "date": "today"}
    found["optimizer_s_per_parameter"] = 0
    (tmp_path / "fleet" / "this-machine.json").write_text(json.dumps(found), encoding="utf-8")
    assert find_accelerator("NVIDIA H100 80GB HBM3").id == "h100"
    assert find_accelerator("this machine").name == "NVIDIA H100 80GB HBM3"


def test_training_factors_are_interpolated_by_width() -> None:
    machine = Accelerator(id="x", name="x", peak_tflops={}, achieved_tflops={}, training=((256, 2.0), (1024, 8.0)))
    assert machine.training_factor(128) == pytest.approx(2)
    assert machine.training_factor(512) == pytest.approx(4)
    assert find_accelerator("h100").training_factor(4096) == 1


def test_what_is_from_memory_is_named_by_its_column() -> None:
    columns = set(read_table("accelerators.csv")[0])
    for part in accelerators().values():
        assert set(part.unsourced) <= columns, part.id
        row = next(row for row in read_table("accelerators.csv") if row["id"] == part.id)
        assert all(row[name] for name in part.unsourced), part.id
        assert ("from memory" in row["source"]) <= bool(part.unsourced), part.id
    assert "link_gb_s" in find_accelerator("h800").unsourced
    assert not set(find_accelerator("h100").unsourced) - {"tf32_tflops"}


def test_the_network_of_a_building_is_not_the_accelerators() -> None:
    assert "network_gb_s" in find_fleet("8xa800").pools[0].unsourced
    assert "network_gb_s" not in replace(find_fleet("8xa800").pools[0], network_gb_s=50.0).unsourced
