"""The assistant in a conversation by voice: its tools, and its approvals, which are asked aloud.

A call that needs the wearer's word ends the answer with a question; the next thing that is said answers it. Nothing of
what was said is kept: the conversation is put together anew for each answer from what was heard of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ayllu.assistant.approvals.book import ApprovalBook
from ayllu.assistant.approvals.gate import Answer, Gate, Question
from ayllu.assistant.documents.tool import document_tools
from ayllu.assistant.loop import Agent, Recall
from ayllu.assistant.memory.memory import Memories, memory_tools, recall
from ayllu.assistant.models.driver import Driver
from ayllu.assistant.models.guided import GuidedDriver
from ayllu.assistant.models.local import LocalDriver
from ayllu.assistant.models.open import SMALL
from ayllu.assistant.session import Session, message, output
from ayllu.assistant.steps import Called, Decided, Ended, Limits, Recalled, Returned, Step, Took, Wrote
from ayllu.assistant.tools.everyday import everyday_tools
from ayllu.assistant.tools.tool import RunnableTool
from ayllu.device.privacy.consent import NO, YES
from ayllu.device.see.scene import parted
from ayllu.device.think.mind import Asked, Counts, Mind, Written
from ayllu.lab.error import UserError
from ayllu.lab.visible import visible
from ayllu.serve.errors import ApiError
from ayllu.serve.responses.items import new_id
from ayllu.serve.served import Models
from ayllu.serve.state.conversations import Conversation, ConversationStore
from ayllu.serve.state.items import Item
from ayllu.serve.turn.reader import call_id
from ayllu.text.chat import Message

Tell = Callable[[Step], Awaitable[None]]
PLEASE = "Please say yes or no."
MOST_WORDS = 5
"""A longer sentence is no answer to a question, though it may begin with "okay"."""
LONGEST = 120
"""Characters of an argument that are read out."""
LIMITS = Limits(turns=6, seconds=60.0, tokens=12_000, answer_tokens=200)
"""Of one spoken request: nobody listens for longer."""
REFUSED = "not allowed: "
LEFT = "not allowed: the user was asked and said something else"
CUT = "the user spoke while {name} ran; whether it took effect is not known, and it was not run again"


class _Forgetful(ConversationStore):
    """Keeps nothing."""

    def __init__(self) -> None:
        pass

    def add_items(self, name: str, items: Sequence[Item]) -> None:
        pass

    def describe_conversation(self, name: str, metadata: dict[str, str]) -> Conversation | None:
        return None


class _Asks(Exception):
    """The loop cannot go on before the wearer has answered."""

    def __init__(self, question: Question) -> None:
        self.question = question


@dataclass(frozen=True, kw_only=True)
class Assistant:
    """What all sessions share: the model, the tools, and what was allowed for good."""

    driver: Driver
    tools: Sequence[RunnableTool]
    book: ApprovalBook
    recall: Recall | None = None
    allowed: frozenset[str] = frozenset()
    """Tools that need no approval as long as the server runs."""

    def joined(self, plain: Mind, tell: Tell) -> Assisted:
        """What answers in one session; `plain` does where a client brings tools of its own."""
        return Assisted(shared=self, plain=plain, tell=tell, granted=set(self.allowed))


@contextmanager
def assistant(
    models: Models, *, home: Path, folders: Sequence[Path] = (), allowed: Iterable[str] = ()
) -> Iterator[Assistant]:
    """The assistant of a home with the first of `models`, as `ayllu assist` has it, its code interpreter aside.

    Raises UserError for a folder that is none, and for a tool in `allowed` that there is not.
    """
    if wrong := [folder for folder in folders if not folder.expanduser().is_dir()]:
        raise UserError(f"--folder {wrong[0]} is no folder")
    memories = Memories(home)
    try:
        tools = [*everyday_tools(home, folders), *memory_tools(memories), *document_tools(home)]
        if unknown := sorted(set(allowed) - {tool.name for tool in tools}):
            raise UserError(f"--approve {unknown[0]}: there is no such tool; see `ayllu assist tools`")
        local = LocalDriver(models)
        driver: Driver = GuidedDriver(local, tools) if local.parameters < SMALL else local
        yield Assistant(
            driver=driver, tools=tools, book=ApprovalBook(home), recall=recall(memories), allowed=frozenset(allowed)
        )
    finally:
        memories.close()


@dataclass
class Assisted:
    """The assistant in one session."""

    shared: Assistant
    plain: Mind
    tell: Tell
    """Takes each step, before it is spoken of."""
    granted: set[str]
    _past: list[tuple[int, list[Item]]] = field(default_factory=list)
    """Calls and results, and how many messages of the user stood before them."""
    _session: Session | None = None
    """The one whose call waits for an answer."""
    _begun: int = 0
    """Messages of the user when the request under way began."""
    _known: int = 0
    """Items of its session that were there before it."""
    _question: tuple[str, str] | None = None
    """Which call was asked about, and the words."""
    _asked: int = 0
    """Messages of the user when it was asked: only the next one answers it."""
    _answers: dict[str, Answer] = field(default_factory=dict)
    _say: bool = False
    """Whether the results of the call that waits answer by themselves."""

    @property
    def name(self) -> str:
        return self.shared.driver.name

    async def answer(self, asked: Asked) -> AsyncGenerator[Written]:
        if asked.tools:
            async with aclosing(self.plain.answer(asked)) as written:
                async for piece in written:
                    yield piece
            return
        users = [one for one in asked.messages if one.role == "user"]
        since = len(users) - self._asked
        if self._question is not None and (since < 1 or (since == 1 and not self._was_heard(asked.messages))):
            self._asked = len(users)
            yield self._question[1]
            yield Counts(read=0, written=0, cut=False)
            return
        session = self._resumed(users[-1].content if since == 1 else "") or self._anew(asked.messages)
        async with aclosing(self._run(session, asked)) as written:
            async for piece in written:
                yield piece

    async def _run(self, session: Session, asked: Asked) -> AsyncGenerator[Written]:
        """The steps of a request as words, until it is answered or the wearer has to say something."""
        said: list[str | None] = []
        wrote = spoke = False
        read = written = 0
        resumed = self._say and bool(session.waiting)
        try:
            async with aclosing(self._agent(asked).run(session)) as steps:
                async for step in steps:
                    match step:
                        case Wrote():
                            wrote = spoke = True
                            yield step.text
                        case Took():
                            read, written, self._say = read + step.read, written + step.written, step.say
                            spoke = spoke and not session.waiting
                        case Called() | Decided() | Recalled():
                            await self.tell(step)
                        case Returned():
                            await self.tell(step)
                            said.append(
                                f"I did not do that: {step.output.removeprefix(REFUSED)}." if step.error else step.say
                            )
                            if resumed and not session.waiting and all(said):
                                yield " ".join(filter(None, said))
                                break  # what a small model would add could only spoil it
                        case Ended():
                            if not spoke:
                                yield _ending(step)
        except _Asks as asks:
            words = aloud(asks.question)
            self._session, self._question = session, (_key(asks.question), words)
            self._asked = sum(one.role == "user" for one in asked.messages)
            yield f" {words}" if wrote else words
        finally:
            if self._session is not session:
                self._note(session)
        yield Counts(read=read, written=written, cut=False)

    def _agent(self, asked: Asked) -> Agent:
        system = "\n".join(one.content for one in asked.messages if one.role == "system")
        return Agent(
            driver=self.shared.driver,
            tools=self.shared.tools,
            gate=Gate(book=self.shared.book, asker=self._ask, granted=self.granted),
            limits=replace(LIMITS, answer_tokens=min(asked.most or LIMITS.answer_tokens, LIMITS.answer_tokens)),
            recall=self.shared.recall,
            system=system,
        )

    async def _ask(self, question: Question) -> Answer:
        answer = self._answers.get(_key(question))
        if answer is None:
            raise _Asks(question)
        return answer

    def _was_heard(self, messages: Sequence[Message]) -> bool:
        """Whether the wearer has heard all that was asked; without that a yes is none."""
        assert self._question is not None
        told = next((one.content for one in reversed(messages) if one.role == "assistant"), "")
        return _plain(self._question[1].removesuffix(PLEASE)) in _plain(told)

    def _resumed(self, words: str) -> Session | None:
        """The session whose question was answered; None where something else was said, and its call is refused."""
        session, question = self._session, self._question
        if session is None or question is None:
            return None
        answer = understood(parted(words)[1])
        self._session = self._question = None
        if answer is not None:
            self._answers[question[0]] = answer
            return session
        for item in session.waiting:
            session.add(output(item["call_id"], LEFT))
        self._note(session)
        return None

    def _note(self, session: Session) -> None:
        """Remember the calls of the request and what they gave."""
        for item in session.waiting:  # an answer that was cut
            session.add(output(item["call_id"], CUT.format(name=item["name"])))
        calls = [item for item in session.items[self._known :] if item["type"] != "message"]
        if calls:
            self._past.append((self._begun, calls))

    def _anew(self, messages: Sequence[Message]) -> Session:
        """The conversation as it was heard, with the calls and results of earlier requests in their places."""
        self._answers.clear()
        items: list[Item] = []
        past = list(self._past)
        users = 0
        for one in messages:
            if one.role == "assistant" and one.content:
                while past and past[0][0] <= users:
                    items += past.pop(0)[1]
                items.append(message("assistant", one.content))
            elif one.role == "user":
                users += 1
                seen, words = parted(one.content)
                if seen:
                    items += _look(seen)
                items.append(message("user", words or "Look."))
        self._begun = users
        late = [item for _, items in past for item in items]
        place = len(items) - 1 if items and items[-1]["type"] == "message" else len(items)
        items[place:place] = late  # of requests whose answers nobody heard: before what was said last
        self._known = len(items)
        return Session(_Forgetful(), new_id("conv"), items)


def _look(seen: str) -> list[Item]:
    """What the camera showed, as a call and its result, which others may have written."""
    call = {"id": new_id("fc"), "type": "function_call", "status": "completed", "call_id": call_id()}
    return [{**call, "name": "look", "arguments": "{}"}, output(call["call_id"], seen, untrusted="the camera")]


def _key(question: Question) -> str:
    return json.dumps([question.tool.name, dict(question.arguments)], sort_keys=True, ensure_ascii=False)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _ending(step: Ended) -> str:
    if step.reason == "answered":
        return step.answer or "I have no answer."
    if step.reason == "failed":
        raise ApiError(503, step.answer)
    return f"I stopped, because my limit of {step.reason} was reached."


def aloud(question: Question) -> str:
    """What the wearer is asked: the tool, all of its arguments, and whether others may be behind it."""
    given = []
    for name, value in question.arguments.items():
        text = visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        more = f" and {len(text) - LONGEST} more characters" if len(text) > LONGEST else ""
        given.append(f"{name.replace('_', ' ')}: {text[:LONGEST]}{more}")
    words = visible(question.tool.name).replace("_", " ")
    others = " I have read text that others may have written." if question.untrusted else ""
    return f"May I {words}{', with ' if given else ''}{', '.join(given)}?{others} {PLEASE}"


def understood(words: str) -> Answer | None:
    """Yes or no, where a few words say so; None for anything else."""
    if len(words.split()) > MOST_WORDS:
        return None
    if NO.search(words):
        return "no"
    return "yes" if YES.search(words) else None
