"""One request, or a conversation, with the assistant: its parts put together, and its steps shown."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ayllu.assistant.approvals.book import ApprovalBook
from ayllu.assistant.approvals.gate import Asker, Gate
from ayllu.assistant.documents.tool import document_tools
from ayllu.assistant.loop import Agent
from ayllu.assistant.mcp.client import mcp_tools
from ayllu.assistant.memory.memory import Memories, memory_tools, recall
from ayllu.assistant.models.open import Guide, open_driver
from ayllu.assistant.session import Session
from ayllu.assistant.steps import Ended, Limits, Returned, Step, as_json
from ayllu.assistant.tools.code import code_tool
from ayllu.assistant.tools.everyday import everyday_tools
from ayllu.assistant.tools.files import Folders
from ayllu.assistant.tools.tool import RunnableTool
from ayllu.assistant.trace import Words, write_trace
from ayllu.cli.assistant.terminal import Screen, ask_in_terminal, typed
from ayllu.cli.interrupt import run_async
from ayllu.lab.channel import find_model
from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.lab.visible import valid_text
from ayllu.sandbox.session import Session as Interpreter
from ayllu.serve.state.choose import open_home_store
from ayllu.serve.state.items import Missing
from ayllu.serve.state.store import Store

if TYPE_CHECKING:
    from ayllu.device.see.taught import Taught

T = TypeVar("T")
PROMPT = "› "
HELP = "/new begins anew · /tools lists the tools · /quit leaves · Ctrl-C stops what is under way · Ctrl-D leaves"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `ayllu assist` was told."""

    model: str
    home: Path
    folders: tuple[Path, ...] = ()
    camera: Path | None = None
    """A picture, or the folder that a camera writes to."""
    tools: tuple[str, ...] = ()
    """The only ones that are offered; all where there are none."""
    mcp: tuple[str, ...] = ()
    approve: tuple[str, ...] = ()
    resume: str | None = None
    system: str = ""
    engine: str = "auto"
    guide: Guide = "auto"
    turns: int = 8
    seconds: float = 600.0
    tokens: int = 40_000
    trace: Path | None = None


def run_once(options: Options, request: str | None, *, quiet: bool) -> dict[str, Any]:
    """Answer one request, or go on with what was interrupted; gives what `--json` prints."""
    return run_async(_once(options, request, quiet=quiet))


def talk(options: Options) -> None:
    """A conversation, until Ctrl-D."""
    run_async(_talk(options))


async def _once(options: Options, request: str | None, *, quiet: bool) -> dict[str, Any]:
    if request is not None and not request.strip():
        raise UserError("the request is empty; give some words with --once")
    request = request and valid_text(request)
    _check_place(options.trace)
    asker = ask_in_terminal if sys.stdin.isatty() and not quiet else None
    async with _assistant(options, asker) as (agent, store, memories):
        session = _session(store, options.resume)
        if request is not None:
            session.say(request)
        elif session.ended:
            raise UserError(f"nothing was interrupted in {session.name}; give a request with --once")
        words = session.user_words
        screen = Screen(None if quiet else sys.stdout)
        steps = await _cancellable(_run(agent, session, screen.show if not quiet else lambda _: None))
        if options.trace is not None:
            request = words[-1] if words else ""
            about = {"request": request, "system": options.system}
            kept = Words(home=options.home.absolute(), memories=memories, session=session)
            write_trace(options.trace, steps, tools=agent.tools, words=kept, model=agent.driver.name, **about)
    end = steps[-1]
    assert isinstance(end, Ended)
    cited = [citation for step in steps if isinstance(step, Returned) for citation in step.citations]
    return {
        "model": agent.driver.name,
        "conversation": session.name,
        "request": request,
        "answer": end.answer,
        "reason": end.reason,
        "steps": [as_json(step) for step in steps if step.kind != "turn"],
        "citations": cited,
        "usage": {"turns": end.turns, "tokens": end.tokens},
        "seconds": end.seconds,
    }


def _check_place(trace: Path | None) -> None:
    """UserError where a trace cannot be written: before the work of which it tells."""
    if trace is None:
        return
    place = trace.expanduser()
    if place.exists():
        raise UserError(f"{trace} exists; give a new file for the trace")
    if not place.parent.is_dir():
        raise UserError(f"{trace} cannot be written: there is no folder {place.parent}")


async def _talk(options: Options) -> None:
    async with _assistant(options, ask_in_terminal) as (agent, store, _):
        session = _session(store, options.resume)
        say(f"{agent.driver.name} · {len(agent.tools)} tools · conversation {session.name} · /help tells more")
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401
        screen = Screen(sys.stdout)
        if session.waiting:
            await _cancellable(_run(agent, session, screen.show))
        while (line := _read()) is not None:
            match line.strip():
                case "":
                    continue
                case "/quit" | "/exit":
                    return
                case "/help":
                    say(HELP)
                case "/tools":
                    say(*(f"{tool.name}: {tool.definition.description}" for tool in agent.tools))
                case "/new":
                    session = Session.new(store)
                    agent.gate.granted.clear()
                    say(f"conversation {session.name}")
                case words:
                    session.say(words)
                    await _cancellable(_run(agent, session, screen.show))


def _eyes(camera: Path | None, model: str, home: Path) -> list[RunnableTool]:
    """The tool that looks, where there is a camera; its models, and the eyes of `model`, are loaded when it is
    called."""
    if camera is None:
        return []
    if not camera.expanduser().exists():
        raise UserError(f"--camera {camera} is not there: give a picture, or the folder that a camera writes to")
    from ayllu.data.archive import default_cache
    from ayllu.device.see.eyes import Eyes
    from ayllu.device.see.tool import look_tool

    return [look_tool(camera, functools.cache(lambda: Eyes(default_cache())), _taught(model, home))]


def _taught(model: str, home: Path) -> Taught | None:
    """The model, where it takes pictures."""
    from ayllu.device.see.taught import taught_in
    from ayllu.evals.endpoint.client import is_address

    if is_address(model):
        say(f"{model} is told of pictures by statements: whether a model behind an address takes pictures is not known")
        return None
    taught = taught_in(find_model(model, home), Path(model).name)
    if taught is not None:
        say(taught.summary)
    return taught


@asynccontextmanager
async def _assistant(options: Options, asker: Asker | None) -> AsyncGenerator[tuple[Agent, Store, Memories]]:
    memories = Memories(options.home)
    interpreter = Interpreter()
    folders = Folders(options.folders) if options.folders else None
    code = code_tool(interpreter, folders, options.home / "assistant" / "made")
    own = [
        *everyday_tools(options.home, options.folders),
        *memory_tools(memories),
        *document_tools(options.home),
        code,
        *_eyes(options.camera, options.model, options.home),
    ]
    taken, token = {tool.name for tool in own}, os.environ.get("AYLLU_MCP_TOKEN")
    async with (
        mcp_tools(options.mcp, taken=taken, token=token) as others,
        _with_tools(options, asker, memories, [*own, *others], bool(others)) as made,
    ):
        try:
            yield made
        finally:
            interpreter.close()


@asynccontextmanager
async def _with_tools(
    options: Options, asker: Asker | None, memories: Memories, tools: list[RunnableTool], others: bool
) -> AsyncGenerator[tuple[Agent, Store, Memories]]:
    names = {tool.name for tool in tools}
    for option, given in (("--approve", options.approve), ("--tool", options.tools)):
        if missing := [name for name in given if name not in names]:
            raise UserError(f"{option} {missing[0]}: there is no such tool; see `ayllu assist tools`")
    tools = [tool for tool in tools if not options.tools or tool.name in options.tools]
    for folder in options.folders:
        if not folder.expanduser().is_dir():
            raise UserError(f"--folder {folder} is no folder")
    limits = Limits(turns=options.turns, seconds=options.seconds, tokens=options.tokens)
    store = open_home_store(options.home)
    try:
        driver = open_driver(options.model, tools, home=options.home, engine=options.engine, guide=options.guide)
        gate = Gate(book=ApprovalBook(options.home), asker=asker, granted=set(options.approve))
        try:
            agent = Agent(
                driver=driver,
                tools=tools,
                gate=gate,
                limits=limits,
                recall=recall(memories),
                system=options.system,
                untrusted=("what MCP servers say of their tools",) if others else (),
            )
            yield agent, store, memories
        finally:
            await driver.close()
    finally:
        memories.close()
        store.close()


def _session(store: Store, resume: str | None) -> Session:
    if resume is None:
        return Session.new(store)
    try:
        return Session.load(store, resume)
    except Missing:
        raise UserError(f"there is no conversation {resume[:80]!r}; leave --resume out to begin one") from None


async def _run(agent: Agent, session: Session, show: Callable[[Step], None]) -> list[Step]:
    """All steps, the words of the model aside; cancelled, they end with an `Ended` that says so."""
    steps: list[Step] = []
    try:
        async with aclosing(agent.run(session)) as coming:
            async for step in coming:
                show(step)
                if step.kind != "wrote":
                    steps.append(step)
    except asyncio.CancelledError:
        steps.append(Ended(reason="cancelled", answer="", turns=0, tokens=0, seconds=0.0))
        show(steps[-1])
    return steps


async def _cancellable(work: Coroutine[Any, Any, T]) -> T:
    """Ctrl-C cancels `work`, and nothing else."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows
        loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        return await task
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)


def _read() -> str | None:
    try:
        return typed(PROMPT, sys.stdout)
    except EOFError:
        return None
    except KeyboardInterrupt:
        say("Ctrl-D leaves")
        return ""
    except UnicodeDecodeError:
        say("that was no text; the line is ignored")
        return ""
