"""Tables of runs as strangers write them: read where they can be, counted with a reason where not, no tracebacks."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ayllu.fleet.catalogue import read_table
from ayllu.fleet.validation.columns import OTHER_NAMES, number, read_rows
from ayllu.fleet.validation.measured_run import Unusable, read_measured_run
from ayllu.fleet.validation.measured_runs import read_measured_runs
from ayllu.fleet.validation.validate import validate
from ayllu.lab.error import UserError
from support.fleet.runs_table import ROW

# 6 N + 12 L H h T per token, over 64 accelerators at half of 989 TFLOP/s
AT_HALF = 128 * 8192 * (6 * 7.5047e9 + 12 * 32 * 4096 * 8192) / 64 / 494.5e12


def table(rows: list[dict[str, str]], separator: str = ",", line: str = "\n") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator, lineterminator=line)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def seconds(tmp_path: Path, content: str | bytes) -> float:
    path = tmp_path / "runs.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    (found,) = read_measured_runs(path).seconds
    return float(found)


@pytest.mark.parametrize(
    "content",
    [
        table([dict(reversed(ROW.items()))]),
        table([ROW | {"colour of the rack": "blue", "": "x"}]),
        table(
            [{k: v for k, v in ROW.items() if k not in ("source", "where", "dtype", "notes", "cp", "dp", "mfu_pct")}]
        ),
        "\ufeff" + table([ROW]),
        table([ROW], line="\r\n"),
        table([ROW], separator=";"),
        table([ROW], separator="\t"),
        table([{name.upper().replace("_", " "): value for name, value in ROW.items()}]),
        table([ROW]).rstrip("\n") + ",beyond,the,header\n",
        table([ROW]) + "\n\n",
        table([ROW | {"cp": "n/a", "ep": "-", "mfu_pct": "NaN", "vpp": "none", "recompute": "none"}]),
        table([ROW | {"step_time_s": "2.0 s", "gpus": "64 GPUs", "seq_len": "8K", "params_b": "8.03B"}]),
        table([ROW | {"step_time_s": "2000 ms", "seq_len": "8,192"}]),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_the_same_run_is_read_however_it_is_written(tmp_path: Path, content: str) -> None:
    assert seconds(tmp_path, content) == 2.0


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("step_time_ms", "2000", 2.0),
        ("tokens_per_s_per_gpu", "8192", 2.0),
        ("Tokens/s/GPU", "8192", 2.0),
        ("tokens_per_s", "524.288k", 2.0),
        ("mfu", "0.5", AT_HALF),
        ("MFU %", "50", AT_HALF),
        ("mfu_pct", "50 %", AT_HALF),
    ],
)
def test_times_are_found_in_other_forms(tmp_path: Path, column: str, value: str, found: float) -> None:
    row = {name: text for name, text in ROW.items() if name not in ("step_time_s", "tokens_per_s", "mfu_pct")}
    assert seconds(tmp_path, table([row | {column: value}])) == pytest.approx(found, rel=1e-3)


def test_every_synonym_names_the_column(tmp_path: Path) -> None:
    for ours, others in OTHER_NAMES.items():
        for other in others:
            (tmp_path / "runs.csv").write_text(f"{other}\n7\n")
            (row,) = read_rows(tmp_path / "runs.csv")
            assert row[ours] == "7", other


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("gpus", "1,024", 1024),
        ("gpus", "1,02", None),
        ("step_time_s", "2,5", None),
        ("step_time_s", "1.5 fortnights", None),
        ("step_time_s", "-3 s", -3),
        ("mfu_pct", "43 %", 43),
        ("tflops_per_gpu", "0.4 PFLOP/s", 400),
        ("tp", "8k", None),
        ("step_time_s", "1e-3", 0.001),
    ],
)
def test_a_number_is_read_with_its_unit_or_not_at_all(column: str, text: str, value: float | None) -> None:
    assert number(column, text) == (value if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"gpus": "-64"}, "gpus is not above 0"),
        ({"seq_len": "0"}, "seq_len is not above 0"),
        ({"tp": "1.5"}, "tp is no whole number"),
        ({"step_time_s": "2 fortnights"}, "step_time_s is no number in a known unit"),
        ({"gpus": "1e300"}, "gpus is too large to be true"),
        ({"gpu_type": "RTX A1000"}, "not in the catalogue"),
        ({"gpu_type": ""}, "not in the catalogue"),
        ({"heads": "1e14"}, "more heads than features"),
    ],
)
def test_what_cannot_be_is_counted_with_its_reason(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        read_measured_run(ROW | changes)
    path = tmp_path / "runs.csv"
    path.write_text(table([ROW | {"ep": ""}, ROW | {"ep": ""} | changes]))
    report = validate(path)
    assert report.rows == 1
    assert [count for said, count in report.left_out.items() if reason in said] == [1]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("H100 PCIe", "h100-pcie"),
        ("8xH100", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("Tesla V100-SXM2-32GB", "v100-32gb"),
        ("AMD Instinct MI300X OAM", "mi300x"),
        ("GB200 NVL72", "gb200"),
        ("TPUv5e", "tpu-v5e"),
        ("trn1.32xlarge", "trainium1"),
        ("Intel Gaudi 3", "gaudi3"),
    ],
)
def test_accelerators_are_known_by_the_names_that_people_use(name: str, part: str) -> None:
    assert read_measured_run(ROW | {"gpu_type": name, "step_time_s": "90"}).kinds == (part,)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no rows"),
        (b"\n\n", "no rows"),
        (table([ROW]).splitlines()[0].encode(), "no rows"),
        (b"a,b\n1,2\n", "no column model, gpus, gpu_type, step_time_s or another time"),
        (b"\xff\xfe\x00\x01", "cannot be read"),
        (b"model,gpus\x00\n1,2\n", "no column gpu_type"),
        (b"model,gpus,gpu_type,step_time_s\n,,,\n", "an empty row"),
    ],
)
def test_a_file_that_is_no_table_is_one_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_measured_runs(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    assert said in str(error.value) or "cannot be read" in str(error.value)


CELLS = st.one_of(
    st.sampled_from(["", "0", "-1", "1", "2", "8", "64", "8192", "1e9", "1e400", "nan", "inf", "1,5", "2 s", "½", "٣"]),
    st.sampled_from(["H100", "A100+H100", "+", "TPU", "deepseek-v3", "Llama-3.1-8B", "fp8", "full", "FSDP", "OOM"]),
    st.sampled_from(["peak memory=1.2.3", "GiB=.", "max_mem=" + "9" * 400, "local batch 0", "0x0 Gb/s", "0 Gb/s RoCE"]),
    st.text(max_size=8),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    changes=st.lists(st.dictionaries(st.sampled_from([*ROW, "ep", "vpp", "fsdp", "interconnect"]), CELLS), min_size=1)
)
@example(changes=[{"model": "deepseek-v3", "layers": "", "hidden": "", "ep": "8", "seq_len": "1"}])
@example(changes=[{"heads": "1e14", "layers": "1e14", "hidden": "1e14", "vocab": "1e15", "params_b": ""}])
def test_no_cell_makes_a_traceback(changes: list[dict[str, str]]) -> None:
    names = list(dict.fromkeys([*ROW, *(name for change in changes for name in change)]))
    rows = [dict.fromkeys(names, "") | ROW | change for change in changes]
    check(table(rows).encode("utf-8", "surrogatepass"))


@settings(max_examples=75, deadline=None)
@given(
    content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
)
def test_no_file_makes_a_traceback(content: bytes) -> None:
    check(content)
    check(b"model,gpus,gpu_type,step_time_s\n" + content)


def check(content: bytes) -> None:
    """Either a report whose counts add up and which is JSON, or one sentence."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        path.write_bytes(content)
        try:
            report = validate(path, by_family=False)
        except UserError as error:
            assert "\n" not in str(error)
            return
        json.dumps(report.as_json(), allow_nan=False)
        assert report.rows + sum(report.left_out.values()) == len(read_rows(path))


def test_the_command_ends_with_2_and_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    words = [sys.executable, "-m", "ayllu.cli", "fleet", "validate", "--truth", str(tmp_path / "empty.csv")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no rows" in done.stderr and "Traceback" not in done.stderr


BARE = {"layers": "", "hidden": "", "heads": "", "kv_heads": "", "ffn": "", "vocab": "", "params_b": ""}
QWEN3_32B = {"layers": "64", "hidden": "5120", "heads": "64", "kv_heads": "8", "ffn": "25600", "vocab": "151936"}


@pytest.mark.parametrize(
    ("changes", "width"),
    [
        # head_dim of the published config.json, and arXiv:2204.02311 for PaLM
        (BARE | {"model": "Qwen3-32B"}, 128),
        (BARE | {"model": "Qwen3 4B"}, 128),
        (BARE | {"model": "google/gemma-2-9b"}, 256),
        (BARE | {"model": "PaLM-540B", "gpus": "2048", "dp": "1024", "global_batch_seqs": "2048"}, 256),
        (QWEN3_32B | {"model": "Qwen3-32B", "params_b": "32.8"}, 128),
        ({"head_dim": "128", "heads": "64", "kv_heads": "8"}, 128),
        ({"kv_channels": "64", "model": "ours", "params_b": ""}, 64),
        ({"head width": "256", "model": "ours", "params_b": ""}, 256),
        ({}, 128),
        ({"heads": "64"}, 64),
    ],
)
def test_the_width_of_a_head_is_the_rows_own_or_the_published_one(changes: dict[str, str], width: float) -> None:
    path_row = {**ROW, "step_time_s": "500"} | changes
    text = table([path_row])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        path.write_text(text)
        (run,) = read_measured_runs(path).runs
    assert run.columns["head_width"] == width


def test_published_widths_of_heads_give_the_published_counts_of_parameters() -> None:
    """Billions of parameters by the model cards; with heads of an equal part of the width each is off by more."""
    published = {"qwen3-0.6b": 0.596, "qwen3-1.7b": 1.72, "qwen3-4b": 4.02, "qwen3-14b": 14.77, "qwen3-32b": 32.76}
    published |= {"gemma-7b": 8.54, "gemma-2-2b": 2.61, "gemma-2-9b": 9.24, "gemma-2-27b": 27.2}
    published |= {"mistral-nemo": 12.25, "mistral-small-24b": 23.57, "gemma-2b": 2.51}
    rows = {row["name"]: row for row in read_table("models.csv")}
    for name, billions in published.items():
        row = {key: int(value) for key, value in rows[name].items() if value.isdigit()}
        attention = row["width"] * row["head_width"] * 2 * (row["heads"] + row["kv_heads"])
        blocks = row["layers"] * (attention + 3 * row["width"] * row["feed_forward"])
        assert (blocks + row["vocabulary"] * row["width"] * (2 - row["tied"])) / 1e9 == pytest.approx(
            billions, rel=0.01
        )


def test_a_slice_of_an_accelerator_is_left_out_with_its_reason() -> None:
    with pytest.raises(Unusable, match="slice"):
        read_measured_run(ROW | {"gpu_type": "NVIDIA H100 80GB HBM3 MIG 1g.10gb"})
    assert read_measured_run(ROW | {"gpu_type": "NVIDIA A100 80GB PCIe", "step_time_s": "90"}).kinds == ("a100-pcie",)
