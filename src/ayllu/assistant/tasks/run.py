"""Running tasks: each in a home and a folder of its own, its trace kept, and what is there already not run again."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ayllu.assistant.approvals.book import ApprovalBook
from ayllu.assistant.approvals.gate import Answer, Gate, Question
from ayllu.assistant.loop import Agent
from ayllu.assistant.memory.memory import Memories, memory_tools, recall
from ayllu.assistant.models.driver import Driver
from ayllu.assistant.session import Session
from ayllu.assistant.steps import Ended, Limits, Returned, Step
from ayllu.assistant.tasks.task import Task, done
from ayllu.assistant.tools.everyday import everyday_tools
from ayllu.assistant.tools.notes import FILE as NOTES
from ayllu.assistant.tools.notes import Notes
from ayllu.assistant.tools.tool import RunnableTool
from ayllu.assistant.trace import write_trace
from ayllu.evals.statistics import wilson
from ayllu.lab.error import UserError
from ayllu.lab.progress import Bar
from ayllu.serve.state.choose import open_store

NOW = datetime(2026, 11, 28, 14, 0)
"""The tasks' day and time, a Saturday."""
Drivers = Callable[[Sequence[RunnableTool], Task], Driver]
Wrap = Callable[[Sequence[RunnableTool], Task], list[RunnableTool]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a task."""

    id: str
    why: str
    """Why it was not done; "" where it was."""
    answer: str
    calls: int
    errors: int
    tokens: int
    seconds: float
    overhead: float
    """Processor seconds of a turn that are neither the model's nor the tools', where they were measured."""


async def run_tasks(
    tasks: Sequence[Task],
    drivers: Drivers,
    *,
    out: Path | None = None,
    wrap: Wrap | None = None,
    gate: Callable[[Task], Gate] | None = None,
) -> list[Outcome]:
    """Run tasks in their order; with `out` traces and outcomes are kept there, and what is there is not run again."""
    found, bar = [], Bar("tasks", total=len(tasks), unit="tasks")
    for task in tasks:
        kept = out / f"{task.id}.json" if out is not None else None
        if kept is not None and kept.exists():
            outcome = _read(kept)
        else:
            outcome = await run_task(task, drivers, trace=out and out / f"{task.id}.trace.jsonl", wrap=wrap, gate=gate)
            if kept is not None:
                kept.write_text(json.dumps(outcome.__dict__, ensure_ascii=False) + "\n")
        found.append(outcome)
        bar.advance(1, f"{sum(not one.why for one in found)} done right")
    return found


async def run_task(
    task: Task,
    drivers: Drivers,
    *,
    trace: Path | None = None,
    wrap: Wrap | None = None,
    gate: Callable[[Task], Gate] | None = None,
) -> Outcome:
    """Run one task in a home and a folder made for it. Without a `gate` of its own the user allows what is asked."""
    place = scratch("ayllu-task-")
    store = open_store(None, home=place / "home")
    assert store is not None
    memories = Memories(place / "home")
    try:
        tools = _tools(task, place, memories)
        run_with = wrap(tools, task) if wrap is not None else tools
        driver = _Timed(drivers(tools, task))
        agent = Agent(
            driver=driver,
            tools=run_with,
            gate=gate(task) if gate is not None else Gate(book=ApprovalBook(None), asker=_allow),
            limits=Limits(turns=6, answer_tokens=256),
            recall=recall(memories),
            now=lambda: NOW,
        )
        session = Session.new(store)
        session.say(task.request)
        steps: list[Step] = []
        start = time.process_time()
        async with aclosing(agent.run(session)) as coming:
            steps = [step async for step in coming]
        loop_seconds = time.process_time() - start - driver.seconds
        if trace is not None:
            trace.unlink(missing_ok=True)
            write_trace(trace, steps, tools=run_with, model=driver.name, request=task.request, task=task.id)
        return _outcome(task, steps, place / "home", memories, loop_seconds)
    finally:
        memories.close()
        store.close()
        shutil.rmtree(place, ignore_errors=True)


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Success with its 95 % interval, and what it took."""
    right = sum(not outcome.why for outcome in outcomes)
    share = wilson(right, len(outcomes))
    return {
        "tasks": len(outcomes),
        "done": right,
        "success": round(right / len(outcomes), 4),
        "interval": [round(bound or 0.0, 4) for bound in (share.low, share.high)],
        "seconds": round(sum(outcome.seconds for outcome in outcomes), 1),
        "failures": {outcome.id: outcome.why for outcome in outcomes if outcome.why},
    }


def scratch(prefix: str) -> Path:
    """A folder for a short while: in memory where the system has a place for that, since each step is synchronised."""
    memory = Path("/dev/shm")
    inside = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix=prefix, dir=inside))


class _Timed:
    """A driver whose turns' processor time is counted."""

    def __init__(self, inner: Driver) -> None:
        self._inner, self.name, self.seconds = inner, inner.name, 0.0

    async def turn(self, asked: Any) -> Any:
        start = time.process_time()
        async with aclosing(self._inner.turn(asked)) as parts:
            async for part in parts:
                self.seconds += time.process_time() - start
                yield part
                start = time.process_time()
        self.seconds += time.process_time() - start

    async def close(self) -> None:
        await self._inner.close()


async def _allow(question: Question) -> Answer:
    return "yes"


def _tools(task: Task, place: Path, memories: Memories) -> list[RunnableTool]:
    folder = place / "files"
    folder.mkdir(parents=True)
    for name, text in task.files.items():
        (folder / name).write_text(text)
    notes = Notes(place / "home", lambda: NOW)
    for text in task.notes:
        notes.take_note(text)
    for text, when in task.reminders:
        notes.set_reminder(text, when)
    for text in task.memories:
        memories.add(text)
    tools = everyday_tools(place / "home", [folder], now=lambda: NOW)
    return [*tools, *memory_tools(memories)]


def _outcome(task: Task, steps: Sequence[Step], home: Path, memories: Memories, seconds: float) -> Outcome:
    kept = home / NOTES
    entries: list[Mapping[str, Any]] = json.loads(kept.read_text())["entries"] if kept.exists() else []
    made = [memory.text for memory in memories.all() if memory.text not in task.memories]
    end = steps[-1]
    assert isinstance(end, Ended)
    returned = [step for step in steps if isinstance(step, Returned)]
    return Outcome(
        id=task.id,
        why=done(task, steps, [entry for entry in entries if entry["text"] not in task.notes], made),
        answer=end.answer,
        calls=len(returned),
        errors=sum(step.error for step in returned),
        tokens=end.tokens,
        seconds=end.seconds,
        overhead=round(seconds / max(end.turns, 1), 5),
    )


def _read(path: Path) -> Outcome:
    try:
        return Outcome(**json.loads(path.read_text()))
    except (ValueError, TypeError):
        raise UserError(f"{path} is no outcome of a task; delete it") from None
