"""smol with traces of the assistant: only approved ones, never of held-out tasks, the same way as own conversations."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from ayllu.assistant.lessons import approve, lessons_of, trace_files
from ayllu.assistant.models.driver import Asked, Driver, Turned
from ayllu.assistant.models.scripted import ScriptedDriver, call, says
from ayllu.assistant.session import text_of
from ayllu.assistant.tasks.drawn import drawn_tasks
from ayllu.assistant.tasks.run import run_tasks
from ayllu.assistant.tasks.sets import load_tasks
from ayllu.assistant.tasks.task import Task
from ayllu.assistant.tools.tool import RunnableTool
from ayllu.data.archive import default_cache
from ayllu.data.conversations.chats import name_of_copy, stored_copy
from ayllu.lab.error import UserError
from ayllu.lab.run import Place, order, resolve
from ayllu.lab.store import Store
from ayllu.recipes.smol import smol
from ayllu.recipes.stages.dataset import build_dataset
from ayllu.recipes.stages.own import score_own
from ayllu.recipes.stages.posttrain import plan_posttraining, posttrain
from ayllu.recipes.taught import own_sources
from support.programs.smol import tiny


def right(tools: Sequence[RunnableTool], task: Task) -> Driver:
    """Makes the task's call, and says what it gave."""

    def script(asked: Asked) -> Turned:
        given = [text_of(item) for item in asked.items if item["type"] == "function_call_output"]
        wanted = task.calls[0]
        return says(f"It is {given[-1]}.") if given else Turned(items=[call(wanted["name"], wanted["arguments"])])

    return ScriptedDriver(script)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Traces of eight sums that may be learnt, and of one that is held out."""
    out = tmp_path / "traces"
    out.mkdir()
    sums = [task for task in load_tasks("everyday") if task.id.startswith("sum")][:8]
    held_out = next(task for task in drawn_tasks() if task.id == "sum-9")
    asyncio.run(run_tasks([*sums, held_out], right, out=out))
    return out


def lessons(**options: object) -> str:
    """The digest of the conversations that the recipe with the options learns from."""
    found = [node for node in order(smol(**options)) if node.stage.identity == "lessons"]  # type: ignore[arg-type]
    return str(dict(found[-1].arguments)["chats"])


def test_only_approved_traces_are_lessons_and_held_out_tasks_never(folder: Path) -> None:
    assert len(trace_files(folder)) == 9, "outcomes beside them are no traces"
    with pytest.raises(UserError, match="9 not approved"):
        lessons_of(folder)
    for file in trace_files(folder)[2:]:
        approve(file)
    found, left = lessons_of(folder)
    asked = {lesson["messages"][0]["content"] for lesson in found}
    assert left["of a held-out task"] == 1 and sum(left.values()) + len(found) == 9
    assert not asked & {task.request for task in drawn_tasks()}
    first = found[0]
    assert [message["role"] for message in first["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert [tool["function"]["name"] for tool in first["tools"]] == ["calculate"]
    approve(trace_files(folder)[-2], approved=False)
    assert len(lessons_of(folder)[0]) == len(found) - 1, "what was approved can be taken back"


def test_traces_are_learnt_beside_ones_own_conversations(folder: Path, tmp_path: Path) -> None:
    own = {"licence": "MIT", "only_chats": True, "methods": ("sft",)}
    with pytest.raises(UserError, match="ayllu assist approve"):
        smol(traces=folder, **own)  # type: ignore[arg-type]
    for file in trace_files(folder):
        approve(file)
    chats = tmp_path / "chats.json"
    chats.write_text(json.dumps([{"instruction": "Say 1", "output": "1, a llama."}]))
    both = lessons(traces=folder, chats=chats, **own)
    rows = [json.loads(line) for line in stored_copy(both, default_cache()).read_text().splitlines()]
    assert len(rows) == 9 and rows[0]["instruction"] == "Say 1"
    assert both != lessons(traces=folder, **own)
    assert name_of_copy(both, default_cache()) == f"{chats} + {folder}"
    (named,) = own_sources((("chats", both, "MIT"),), default_cache())
    assert named["title"].endswith(f"(chats.json + {folder.name})"), "both stand in the release's licences"


def test_a_trace_that_cannot_be_learnt_is_told_of_by_its_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in trace_files(folder):
        approve(file)
    monkeypatch.setattr("ayllu.recipes.smol.LONGEST", 1)
    with pytest.raises(UserError, match=rf"^{re.escape(str(folder))} cannot be used: line 1: it has"):
        smol(traces=folder, licence="MIT", only_chats=True, methods=("sft",))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"licence": "MIT", "methods": ("grpo",)}, "--traces is what SFT learns from"),
        ({}, "could not be released: .*--licence"),
    ],
)
def test_what_cannot_be_honoured_is_refused(folder: Path, options: dict[str, object], said: str) -> None:
    for file in trace_files(folder):
        approve(file)
    with pytest.raises(UserError, match=said):
        smol(traces=folder, **options)  # type: ignore[arg-type]


def test_a_tiny_model_learns_from_traces(folder: Path, tmp_path: Path) -> None:
    for file in trace_files(folder):
        approve(file)
    digest = lessons(traces=folder, licence="MIT", only_chats=True, methods=("sft",))
    start = tiny()
    data = build_dataset(start, seed=0, groups=60, chats=digest, preferences=None, only_own=True, held_out=0.25)
    plan = plan_posttraining(start, data, budget=1, seed=0, steps=(6,), items=10, methods=("sft",))
    final = posttrain(start, data, plan, method="sft", seed=0, lr=2e-2, rank=4, adopted=start)
    handle = score_own(start, final, plan, chats=digest, held_out=0.25)
    kept = resolve(handle, Place(store=Store(tmp_path / "home"), cache=default_cache()))[handle].folder
    told = json.loads((kept / "own.json").read_text())
    assert told["conversations"] == 2 and told["nats_per_token_after"] < told["nats_per_token_before"]
