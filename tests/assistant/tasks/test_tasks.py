"""The tasks: a model that makes the right calls does them all, one that does not does none; faults; traces."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from ayllu.assistant.models.driver import Asked, Driver, Turned
from ayllu.assistant.models.scripted import ScriptedDriver, call, says
from ayllu.assistant.session import text_of
from ayllu.assistant.tasks.faults import faulty
from ayllu.assistant.tasks.run import Outcome, run_tasks, summary
from ayllu.assistant.tasks.sets import load_tasks
from ayllu.assistant.tasks.task import Task
from ayllu.assistant.tools.tool import RunnableTool
from ayllu.assistant.tools.words import spans
from ayllu.assistant.trace import read_trace, replay
from ayllu.lab.error import UserError
from ayllu.serve.state.store import Store


def right(tools: Sequence[RunnableTool], task: Task) -> Driver:
    """Makes the task's calls one after the other, again where one went wrong, and then says what they gave."""

    def script(asked: Asked) -> Turned:
        given = [text_of(item) for item in asked.items if item["type"] == "function_call_output"]
        good = [text for text in given if "error:" not in text and "\ufffd" not in text]
        if len(good) < len(task.calls):
            wanted = task.calls[len(good)]
            return Turned(items=[call(wanted["name"], wanted["arguments"])])
        return says(" and ".join(good))

    return ScriptedDriver(script)


def idle(tools: Sequence[RunnableTool], task: Task) -> Driver:
    return ScriptedDriver(lambda asked: says("I am only a language model: 0"))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[Outcome], Path]]:
    found = {}
    for name in ("everyday", "drawn", "steps", "dev"):
        out = tmp_path_factory.mktemp(name)
        found[name] = (asyncio.run(run_tasks(load_tasks(name), right, out=out)), out)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("name", ["everyday", "drawn", "steps", "dev"])
def test_right_calls_do_every_task(outcomes: dict[str, tuple[list[Outcome], Path]], name: str) -> None:
    found = summary(outcomes[name][0])
    assert found["failures"] == {} and found["success"] == 1.0 and found["interval"][1] == 1.0


def test_a_model_that_calls_nothing_does_no_task() -> None:
    tasks = [*load_tasks("everyday")[::5], *load_tasks("steps")[::3]]
    found = asyncio.run(run_tasks(tasks, idle))
    assert all(outcome.why for outcome in found)


def test_there_are_fifty_and_none_is_an_example_of_a_tool() -> None:
    from ayllu.assistant.tools.everyday import everyday_tools

    tasks = load_tasks("everyday")
    assert len(tasks) == 50 and len({task.request for task in tasks}) == 50
    shown = {example.request for tool in everyday_tools(None, [Path()]) for example in tool.examples}
    developed = {task.request for task in load_tasks("dev")}
    assert not shown & {task.request for task in tasks} and not developed & {task.request for task in tasks}
    free = [task for task in tasks if task.calls[0]["name"] in ("take_note", "set_reminder", "remember", "calculate")]
    for task in free:
        assert all(value in spans(task.request) for value in task.calls[0]["arguments"].values()), task.id


def test_every_seed_draws_fifty_others_in_other_words() -> None:
    fixed = {task.request for name in ("everyday", "dev") for task in load_tasks(name)}  # type: ignore[arg-type]
    counts = Counter(task.id.partition("-")[0] for task in load_tasks("everyday"))
    for seed in range(20):
        drawn = load_tasks("drawn", seed=seed)
        assert Counter(task.id.partition("-")[0] for task in drawn) == counts and len({t.request for t in drawn}) == 50
        assert not fixed & {task.request for task in drawn}
        free = [task for task in drawn if task.calls[0]["name"] in ("take_note", "set_reminder", "calculate")]
        for task in free:
            assert all(value in spans(task.request) for value in task.calls[0]["arguments"].values()), task.request
    assert load_tasks("drawn", seed=1) == load_tasks("drawn", seed=1) != load_tasks("drawn", seed=2)
    with pytest.raises(UserError, match="--seed"):
        load_tasks("everyday", seed=1)


def test_right_calls_do_tasks_of_other_seeds() -> None:
    found = asyncio.run(run_tasks([task for seed in (1, 2) for task in load_tasks("drawn", seed=seed)], right))
    assert summary(found)["failures"] == {}


def test_faults_are_overcome_by_calling_again() -> None:
    found = asyncio.run(run_tasks(load_tasks("everyday")[::3], right, wrap=faulty))
    assert summary(found)["failures"] == {} and sum(outcome.errors for outcome in found) >= 2


def test_traces_are_replayed_without_the_model(
    outcomes: dict[str, tuple[list[Outcome], Path]], store: Store, tmp_path: Path
) -> None:
    for name in ("s5", "s8", "s10"):
        trace = read_trace(outcomes["steps"][1] / f"{name}.trace.jsonl")
        assert asyncio.run(replay(trace, store)) == []
    kept = outcomes["steps"][1] / "s8.trace.jsonl"
    changed = tmp_path / "changed.jsonl"
    changed.write_text(kept.read_text().replace('"answer": "52 and 29 and 23"', '"answer": "52 and 29 and 24"'))
    assert kept.read_text() != changed.read_text()
    assert len(asyncio.run(replay(read_trace(changed), store))) == 1


def test_what_is_there_is_not_run_again(outcomes: dict[str, tuple[list[Outcome], Path]]) -> None:
    before, out = outcomes["dev"]
    assert asyncio.run(run_tasks(load_tasks("dev"), idle, out=out)) == before
