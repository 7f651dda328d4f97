"""From the figures of trained rungs to the forecast, and from the forecast to the report: nothing is trained here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ayllu.evals.scaling.law import Law
from ayllu.lab.graph import Context
from ayllu.recipes.scaling.ladder import Ladder, build_ladder, shape
from ayllu.recipes.scaling.stages import law_so_far, open_law, open_report, scaling_report

TRUE = Law(floor=0.9, a=12.0, alpha=0.3, b=400.0, beta=0.45)
SHAPES = [shape(rung, head=32, vocabulary=4096, length=256) for rung in range(5)]
LADDER = build_ladder(SHAPES, [4e4, 2e4, 12e3, 7e3, 4e3], seconds=2400, length=256, precision="bf16")


def context(folder: Path) -> Context:
    for name in ("artifact", "scratch"):
        (folder / name).mkdir(parents=True)
    return Context(folder=folder / "artifact", scratch=folder / "scratch", cache=folder)


def rung(index: int, ladder: Ladder) -> Any:
    """A rung as one that came to what the law says, within a third of a per cent."""
    plan = ladder.rungs[index]
    points = []
    for number, (tokens, flops) in enumerate(zip(plan.tokens, plan.flops, strict=True)):
        loss = TRUE.loss(plan.parameters, tokens) * (1 + 0.003 * (-1) ** (index + number))
        points.append({"tokens": tokens, "flops": flops, "loss": loss, "low": loss - 0.01, "high": loss + 0.01})
    record = {"points": points, "matrix_parameters": plan.parameters, "source": "everyday-english"}
    manifest = {"record": record, "started": "2026-11-29T12:00:00+00:00", "machine": {}}
    return SimpleNamespace(artifact=SimpleNamespace(record=record, manifest=manifest))


@pytest.fixture(scope="module")
def laws(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each `scaling_law` of the ladder holds, but for the last rung's."""
    folder, found, before = tmp_path_factory.mktemp("laws"), [], None
    ladder = SimpleNamespace(value=LADDER)
    for index in range(4):
        ctx = context(folder / str(index))
        law_so_far.run(
            ctx, {"before": before, "rung": rung(index, LADDER), "ladder": ladder}, {"index": index, "seed": 0}
        )
        found.append(open_law(ctx.folder))
        before = SimpleNamespace(
            value=found[-1], artifact=SimpleNamespace(manifest={"finished": "2026-11-29T11:00:00"})
        )
    return found


def test_the_third_rung_makes_a_law_and_each_law_predicts_the_next(laws: list[dict[str, Any]]) -> None:
    assert [law["next"] and law["next"]["rung"] for law in laws] == [None, None, 4, 5]
    assert [len(law["points"]) for law in laws] == [3, 6, 9, 12]
    plan = LADDER.rungs[4]
    for expected, tokens in zip(laws[3]["next"]["losses"], plan.tokens, strict=True):
        assert expected["low"] < expected["loss"] < expected["high"]
        assert expected["loss"] == pytest.approx(TRUE.loss(plan.parameters, tokens), rel=0.015)


def test_the_report_holds_forecast_and_measurement_and_draws_them(laws: list[dict[str, Any]], tmp_path: Path) -> None:
    law = SimpleNamespace(value=laws[3], artifact=SimpleNamespace(manifest={"finished": "2026-11-29T11:00:00+00:00"}))
    ctx = context(tmp_path)
    inputs = {"law": law, "rung": rung(4, LADDER), "ladder": SimpleNamespace(value=LADDER)}
    scaling_report.run(ctx, inputs, {"recipe": "cria", "index": 4, "seed": 0})
    report = open_report(ctx.folder)
    assert {"fit", "predicted", "measured"} <= report.keys()
    assert report["predicted"]["made"] < report["measured"]["began"]
    assert abs(report["error_pct"]) < 1.5
    assert report["inside"]
    assert report["refit"]["points"] == 15
    assert (ctx.folder / "scaling.png").read_bytes().startswith(b"\x89PNG")
