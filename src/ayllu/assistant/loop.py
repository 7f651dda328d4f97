"""The agent loop: the model's turn, the gate before each call, the calls, and again until there is an answer.

What has happened is in the session before the loop goes on, so that a loop that was killed goes on from there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from ayllu.assistant.approvals.gate import Decision, Gate
from ayllu.assistant.approvals.origins import origins_of
from ayllu.assistant.marks import instructions, marked_items
from ayllu.assistant.models.driver import Asked, Driver, ModelError, Turned, Words
from ayllu.assistant.session import INTERRUPTED, Session, arguments_of, message, output, text_of
from ayllu.assistant.steps import Called, Decided, Ended, Limits, Recalled, Returned, Step, Took, Wrote
from ayllu.assistant.tools.tool import RunnableTool, ToolError, ToolResult, Unlucky, call_tool, is_torn
from ayllu.assistant.tools.trust import TRUST, Trust
from ayllu.lab.visible import valid_text
from ayllu.serve.state.items import Item

Recall = Callable[[Session], Sequence[tuple[str, str, bool]]]
"""What is remembered for a conversation: ids, texts, and whether others may have written it."""


@dataclass(kw_only=True)
class Agent:
    """A model, its tools, and the gate before them; `run` goes on with a session until it has ended."""

    driver: Driver
    tools: Sequence[RunnableTool]
    gate: Gate
    limits: Limits = field(default_factory=Limits)
    recall: Recall | None = None
    system: str = ""
    """What the user wants the model to be told."""
    untrusted: tuple[str, ...] = ()
    """Where text of others comes from that the model always sees, such as what servers say of their tools."""
    now: Callable[[], datetime] = datetime.now

    async def run(self, session: Session) -> AsyncGenerator[Step]:
        """The steps from where the session stands; the last is an `Ended`. Closing it stops at once."""
        spent = _Spent(self.limits)
        if session.waiting and self.recall is not None:
            spent.see(self.recall(session))
        try:
            while True:
                if not session.waiting:
                    if (reason := spent.over()) is not None:
                        yield spent.ended(reason, "")
                        return
                    async with aclosing(self._turn(session, spent)) as steps:
                        async for step in steps:
                            yield step
                if session.waiting:
                    async with aclosing(self._calls(session, spent)) as steps:
                        async for step in steps:
                            yield step
                if spent.answer is not None:
                    yield spent.ended("answered", spent.answer)
                    return
        except ModelError as error:
            yield spent.ended("failed", str(error))

    async def _turn(self, session: Session, spent: _Spent) -> AsyncGenerator[Step]:
        """One turn of the model."""
        remembered = self.recall(session) if self.recall is not None else ()
        if remembered:
            yield Recalled(memories=[name for name, _, _ in remembered])
        spent.see(remembered)
        asked = Asked(
            items=marked_items(session),
            instructions=instructions(
                session, self.system, [(text, theirs) for _, text, theirs in remembered], self.now()
            ),
            tools=[tool.definition for tool in self.tools],
            most=self.limits.answer_tokens,
        )
        spent.turns += 1
        turned = Turned()
        try:
            async with asyncio.timeout(spent.left()), aclosing(self.driver.turn(asked)) as parts:
                async for part in parts:
                    if isinstance(part, Words):
                        yield Wrote(text=part.text)
                    else:
                        turned = part
        except TimeoutError:
            return
        spent.tokens += turned.read + turned.written
        spent.say = turned.say
        kept = session.add(*turned.items)
        yield Took(items=kept, read=turned.read, written=turned.written, say=turned.say)
        if not session.waiting:
            spent.answer = "".join(text_of(item) for item in kept if item["type"] == "message")

    async def _calls(self, session: Session, spent: _Spent) -> AsyncGenerator[Step]:
        """All calls that wait: first the gate, one after the other, then those that may run, side by side."""
        running: list[tuple[Item, RunnableTool, Mapping[str, Any]]] = []
        said: dict[str, str | None] = {}
        untrusted = (*self.untrusted, *(source for source, _ in session.untrusted), *spent.memories)
        for item in session.waiting:
            tool = next((tool for tool in self.tools if tool.name == item["name"]), None)
            try:
                arguments = arguments_of(item)
            except ValueError as error:
                arguments, tool = {}, None
                refusal = f"the arguments of {item['name']} cannot be read ({error})"
            else:
                refusal = f"there is no tool {item['name']}"
            origins = origins_of(arguments, user_words=session.user_words, untrusted=session.untrusted)
            yield Called(call=item["call_id"], name=item["name"], arguments=arguments, origins=origins)
            if tool is not None and item["call_id"] in session.begun and tool.effect:
                tool, refusal = None, INTERRUPTED.format(name=item["name"])
            if tool is None:
                yield self._returned(session, item, refusal, error=True)
                continue
            with spent.paused():
                decision = await self.gate.decide(tool, arguments, origins=origins, untrusted=untrusted)
            yield _decided(item, decision)
            if decision.allowed:
                running.append((item, tool, arguments))
            else:
                yield self._returned(session, item, f"not allowed: {decision.why}", error=True)
                said[item["call_id"]] = f"I did not do that: {decision.why}."
        async with aclosing(self._run(session, running, said, guided=spent.say)) as steps:
            async for step in steps:
                yield step
        if spent.say and said and all(said.values()):
            spent.answer = "\n".join(str(text) for text in said.values())
            session.add(message("assistant", spent.answer))

    async def _run(
        self,
        session: Session,
        calls: Sequence[tuple[Item, RunnableTool, Mapping[str, Any]]],
        said: dict[str, str | None],
        *,
        guided: bool,
    ) -> AsyncGenerator[Step]:
        """Run calls side by side; each result is kept as it comes, and in `said` the sentence that it answers with."""
        session.begin(item["call_id"] for item, _, _ in calls)
        theirs = bool(session.untrusted or self.untrusted)
        token = TRUST.set(Trust(conversation=session.name, message=session.last_asked, untrusted=theirs))
        try:
            tasks = {
                asyncio.create_task(_timed(tool, arguments, guided=guided)): (item, tool)
                for item, tool, arguments in calls
            }
        finally:
            TRUST.reset(token)
        waiting = set(tasks)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    item, tool = tasks[task]
                    result, error, seconds = task.result()
                    said[item["call_id"]] = result.say
                    yield self._returned(
                        session, item, result.text, tool=tool, result=result, error=error, seconds=seconds
                    )
                    session.end([item["call_id"]])
        finally:
            for task in waiting:
                task.cancel()

    def _returned(
        self,
        session: Session,
        item: Item,
        text: str,
        *,
        tool: RunnableTool | None = None,
        result: ToolResult | None = None,
        error: bool = False,
        seconds: float = 0.0,
    ) -> Returned:
        """Keep a result."""
        theirs = False
        if tool is not None and result is not None:
            theirs = tool.untrusted if result.untrusted is None else result.untrusted
        session.add(output(item["call_id"], text, untrusted=item["name"] if theirs else ""))
        citations = [asdict(citation) for citation in result.citations] if result is not None else []
        return Returned(
            call=item["call_id"],
            name=item["name"],
            output=text,
            error=error,
            untrusted=theirs,
            seconds=round(seconds, 4),
            citations=citations,
            say=result.say if result is not None else None,
        )


class _Spent:
    """What a run has used of its limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._start, self._thinking = limits, time.monotonic(), 0.0
        self.turns = self.tokens = 0
        self.answer: str | None = None
        self.say = False
        self.memories: list[str] = []
        """Those in sight that others may have written."""

    def see(self, remembered: Sequence[tuple[str, str, bool]]) -> None:
        """Memories come into sight."""
        self.memories = [f"memory {name}" for name, _, theirs in remembered if theirs]

    def paused(self) -> _Pause:
        """While the user thinks, no time is spent."""
        return _Pause(self)

    def thought(self, seconds: float) -> None:
        """The user has thought for so long."""
        self._thinking += seconds

    def left(self) -> float:
        """Seconds."""
        return max(self._limits.seconds - self._seconds(), 0.001)

    def over(self) -> Literal["turns", "seconds", "tokens"] | None:
        """Which limit is reached."""
        if self._seconds() >= self._limits.seconds:
            return "seconds"
        if self.tokens >= self._limits.tokens:
            return "tokens"
        return "turns" if self.turns >= self._limits.turns else None

    def ended(self, reason: Any, answer: str) -> Ended:
        """The last step."""
        seconds = round(self._seconds(), 3)
        return Ended(reason=reason, answer=answer, turns=self.turns, tokens=self.tokens, seconds=seconds)

    def _seconds(self) -> float:
        return time.monotonic() - self._start - self._thinking


class _Pause:
    def __init__(self, spent: _Spent) -> None:
        self._spent, self._start = spent, time.monotonic()

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._spent.thought(time.monotonic() - self._start)


async def _timed(tool: RunnableTool, arguments: Mapping[str, Any], *, guided: bool) -> tuple[ToolResult, bool, float]:
    """A call's result, whether it is an error, and the seconds it took."""
    start = time.monotonic()
    try:
        return await _called(tool, arguments, guided=guided), False, time.monotonic() - start
    except ToolError as error:
        text = valid_text(str(error))
        told = ToolResult(text=f"error: {text}", say=f"That did not work: {text}.", untrusted=error.untrusted)
        return told, True, time.monotonic() - start


async def _called(tool: RunnableTool, arguments: Mapping[str, Any], *, guided: bool) -> ToolResult:
    """A call's result. What has no effect is called once more where it failed by bad luck or came back torn.

    A guided model cannot weigh what an error says, so that its calls are made once more whatever it was.
    """
    try:
        found = await call_tool(tool, arguments)
        if tool.effect or not is_torn(found):
            return found
    except ToolError as error:
        if tool.effect or not (guided or isinstance(error, Unlucky)):
            raise
    return await call_tool(tool, arguments)


def _decided(item: Item, decision: Decision) -> Decided:
    return Decided(
        call=item["call_id"], name=item["name"], allowed=decision.allowed, asked=decision.asked, why=decision.why
    )
