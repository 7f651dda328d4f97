"""One model over many processes: every layout gives the single process's losses, and goes on from any other's state."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ayllu.data.tokens.loader import Loader
from ayllu.data.tokens.pack import Tokens
from ayllu.train.machine import compiler_available
from support.parts import need
from support.programs import PROGRAMS
from support.programs.layouts import BATCH, STEPS
from support.training.jobs import finish, start

PROGRAM = PROGRAMS / "layouts.py"
# Where each matrix takes messages, two micro-batches a step, and four where a pipeline is filled with them: eight would
# spend minutes on the messages alone.
TWO = ("dp_shard=2", "dp_replicate=2", "tp=2,micro_batch=4", "cp=2,micro_batch=4", "pp=2")
FLOAT8 = tuple(f"{axis}=2,micro_batch=4" for axis in ("dp_shard", "cp", "pp", "dp_replicate"))
FOUR = (
    "dp_shard=2,tp=2,micro_batch=2",
    "cp=2,tp=2,micro_batch=4",
    "pp=2,dp_shard=2",
    "pp=2,virtual=2,tp=2,micro_batch=2",
    "dp_replicate=2,dp_shard=2,micro_batch=2,recompute=full",
)
META = (
    "dp_shard=2,tp=2,micro_batch=2",
    "cp=2,tp=2,micro_batch=4",
    "pp=2,virtual=3,dp_shard=2",
    "dp_replicate=2,dp_shard=2",
)
KINDS = (("tied", "muon"), ("untied", "adamw"))
# Past the warm-up: what a layout gets wrong shows in the second step, and messages between four processes take long.
FEW = 5


def run(processes: int, tokens: Path, *runs: str) -> None:
    """One torchrun for many runs: starting processes takes longer than training."""
    torchrun = ["--standalone", f"--nproc-per-node={processes}"] if processes > 1 else ()
    log = tokens.with_name(f"log-{processes}")
    finish(start(PROGRAM, str(tokens), *runs, log=log, torchrun=torchrun), log, seconds=500)


def losses(folder: Path) -> list[float]:
    return json.loads((folder / "losses.json").read_text())


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layouts")
    runs = [f"{folder}/{kind}-{matrices}:one:{kind}:{matrices}:{STEPS}" for kind, matrices in KINDS]
    runs += [f"{folder}/{kind}-{matrices}-few:one:{kind}:{matrices}:{FEW}" for kind, matrices in KINDS]
    run(1, folder / "tokens", *runs)
    return folder


def of_kinds(folder: Path, layouts: tuple[str, ...]) -> list[str]:
    """A run under each layout, tied with Muon and untied with AdamW in turns."""
    return [f"{folder}/{layout}:{layout}:{':'.join(KINDS[n % 2])}:{FEW}" for n, layout in enumerate(layouts)]


@pytest.fixture(scope="module")
def two(single: Path) -> Path:
    """All runs of two processes; `moving` is a run that goes on, from step to step, under other layouts."""
    runs = of_kinds(single, TWO)
    runs += [f"{single}/float8-{layout}:{layout},precision=float8:untied:adamw:{FEW}" for layout in FLOAT8]
    if compiler_available():
        runs += [f"{single}/compiled:tp=2,micro_batch=4:untied-compiled:adamw:{FEW}"]
    runs += [f"{single}/moving:tp=2,micro_batch=4:tied:muon:{STEPS}:5", f"{single}/moving:pp=2:tied:muon:{STEPS}:8"]
    run(2, single / "tokens", *runs)
    return single


@pytest.fixture(scope="module")
def four(two: Path) -> Path:
    """All runs of four processes."""
    runs = of_kinds(two, FOUR)
    for kind, matrices in KINDS:
        runs += [f"{two}/meta-{kind}-{layout}:{layout}:{kind}-meta:{matrices}:{FEW}" for layout in META]
    runs += [
        f"{two}/moving:dp_shard=2,cp=2,micro_batch=2:tied:muon:{STEPS}:12",
        f"{two}/moving:dp_shard=4:tied:muon:{STEPS}:16",
    ]
    run(4, two / "tokens", *runs)
    return two


@pytest.mark.parametrize(("processes", "layouts"), [("two", TWO), ("four", FOUR)], ids=["two", "four"])
def test_every_layout_gives_the_losses_of_one_process(
    request: pytest.FixtureRequest, processes: str, layouts: tuple[str, ...]
) -> None:
    """Steps with clipping, in float32, tied with Muon and untied with AdamW in turns; the weights at the end too."""
    folder: Path = request.getfixturevalue(processes)
    for number, layout in enumerate(layouts):
        place, expected = folder / layout, folder / "-".join([*KINDS[number % 2], "few"])
        assert losses(place) == pytest.approx(losses(expected), rel=1e-5), layout
        ours, theirs = (torch.load(end / "model.pt", weights_only=True) for end in (place, expected))
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            torch.testing.assert_close(values, theirs[name], rtol=1e-3, atol=2e-5, msg=f"{layout}: {name}")


def test_a_model_that_is_never_whole_is_the_same_model(four: Path) -> None:
    """Built on the meta device and filled shard by shard: also where a process has several pipeline stages, of which
    the first is the embedding alone and the last the output.
    """
    for kind, matrices in KINDS:
        for layout in META:
            expected = losses(four / f"{kind}-{matrices}-few")
            assert losses(four / f"meta-{kind}-{layout}") == pytest.approx(expected, rel=1e-5), (kind, layout)


def test_compiled_blocks_take_the_stream_of_a_sharded_embedding(two: Path) -> None:
    """In float32, where no cast lies between the two."""
    need(compiler_available(), "no C++ compiler, so nothing is compiled here")
    assert losses(two / "compiled") == pytest.approx(losses(two / "untied-adamw-few"), rel=1e-4)


def test_matmuls_in_8_bits_under_layouts(two: Path) -> None:
    """Scales are those of what a process sees, so losses are near those of one process and not the same."""
    for layout in FLOAT8:
        found = losses(two / f"float8-{layout}")
        assert found != losses(two / "untied-adamw-few")
        assert found[0] == pytest.approx(losses(two / "untied-adamw-few")[0], rel=0.01), layout
        assert found == pytest.approx(losses(two / "untied-adamw-few"), rel=0.15), layout


def test_a_checkpoint_of_any_layout_goes_on_under_any_other(four: Path) -> None:
    """Some steps each under one layout after the other, data order and all; the losses are those of one process."""
    folder = four / "moving"
    run(1, four / "tokens", f"{folder}:one:tied:muon:{STEPS}")
    assert losses(folder) == pytest.approx(losses(four / "tied-muon"), rel=1e-5)
    each_sample_was_used_once_a_pass(folder, four / "tokens", halts=(5, 8, 12, 16, 20))


def each_sample_was_used_once_a_pass(folder: Path, tokens: Path, *, halts: tuple[int, ...]) -> None:
    """Of what each attempt read, the part that the next one did not take back is in the weights."""
    attempts = [
        {tuple(map(int, line.split())) for path in folder.glob(f"samples-until-{halt}-*") for line in path.open()}
        for halt in halts
    ]
    begins = [min(first for first, _ in attempt) for attempt in attempts]
    assert begins == sorted(begins)
    assert begins[0] == 0 < begins[1]
    kept = [
        sample
        for attempt, end in zip(attempts, [*begins[1:], STEPS * BATCH], strict=True)
        for first, size in attempt
        if first < end
        for sample in range(first, first + size)
    ]
    assert sorted(kept) == list(range(STEPS * BATCH))
    loader = Loader(Tokens(tokens), seed=0)
    rows = loader._tokens.header.sources["a"].rows
    assert rows < len(kept), "the run takes more than one pass"
    assert sorted(row for _, row in loader.locate(np.arange(rows))) == list(range(rows))


def test_losses_on_a_cpu_are_those_of_the_golden_run(single: Path) -> None:
    """Step by step, so that a change of the mathematics shows that no other test sees: made with torch 2.13."""
    golden = json.loads(Path(__file__).with_name("golden_losses.json").read_text())
    for kind, matrices in KINDS:
        assert losses(single / f"{kind}-{matrices}") == pytest.approx(golden[f"{kind}-{matrices}"], rel=1e-4)
