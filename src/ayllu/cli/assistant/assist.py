"""`ayllu assist`: one request for a script, a conversation in the terminal, and what belongs to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

from ayllu.api.home import find_home
from ayllu.cli.assistant import mcp as mcp_command
from ayllu.cli.assistant import measure
from ayllu.cli.options import Flag, Home, Json, print_json, print_lines
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.assistant.tools.tool import Ask

app = cyclopts.App(name="assist", help="An assistant with tools, memory and documents, on this machine.")


@app.default
def assist(
    *,
    model: str = "cria",
    once: str | None = None,
    tool: list[str] | None = None,
    folder: list[Path] | None = None,
    camera: Path | None = None,
    mcp: list[str] | None = None,
    approve: list[str] | None = None,
    resume: str | None = None,
    system: str | None = None,
    engine: str = "auto",
    guide: Literal["auto", "yes", "no"] = "auto",
    turns: int = 8,
    seconds: float = 600.0,
    tokens: int = 40_000,
    trace: Path | None = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Let a model work with tools: a conversation in the terminal, or one request with --once.

    Parameters
    ----------
    model
        A model's name or folder, or the URL of any server that speaks OpenAI's API (URL#MODEL for one of its models;
        its key in $AYLLU_API_KEY or $OPENAI_API_KEY).
    once
        Do this, print the answer and leave; --json needs it.
    tool
        Offer only this tool; can be given several times. All of them unless given.
    folder
        A folder whose files the assistant may read; can be given several times.
    camera
        A picture, or a folder whose newest picture is what the assistant sees when it looks (extra `glasses`).
    mcp
        An MCP server whose tools are offered too: a command line, or a URL (its token in $AYLLU_MCP_TOKEN); can be
        given several times. What it says of its tools counts as text of others.
    approve
        A tool that needs no approval this time; can be given several times. It does not count once the model has read
        text that others may have written.
    resume
        Go on with a conversation, by its name.
    system
        What the model is told before the conversation.
    engine
        What computes the answers of a local model: auto, native, llama.cpp or torch.
    guide
        Whether calls are guided by examples and made of your own words, which small models need: auto, yes or no.
    turns
        Most turns of the model for one request.
    seconds
        Longest time for one request, without the time in which you are asked.
    tokens
        Most tokens read and written for one request.
    trace
        File to write the steps to; it must be new.
    """
    from ayllu.cli.assistant.talk import Options, run_once, talk

    if json and once is None and resume is None:
        raise UserError("--json gives one answer, so it needs one request: give it with --once")
    options = Options(
        model=model,
        home=find_home(home),
        folders=tuple(folder or ()),
        camera=camera,
        tools=tuple(tool or ()),
        mcp=tuple(mcp or ()),
        approve=tuple(approve or ()),
        resume=resume,
        system=system or "",
        engine=engine,
        guide=guide,
        turns=turns,
        seconds=seconds,
        tokens=tokens,
        trace=trace,
    )
    if once is not None or json:
        found = run_once(options, once, quiet=json)
        if json:
            print_json(found)
        return 0 if found["reason"] == "answered" else 1
    talk(options)
    return 0


app.command(measure.tasks)
app.command(measure.replay)
app.command(measure.injections)
app.command(measure.approve)
app.command(mcp_command.mcp)
approvals = cyclopts.App(name="approvals", help="See and take back what you have allowed the assistant.")
app.command(approvals)


@approvals.command(name="list")
def list_approvals(*, home: Home = None, json: Json = False) -> None:
    """List what was allowed for good: tools, and single calls."""
    from ayllu.assistant.approvals.book import ApprovalBook

    kept = ApprovalBook(find_home(home)).kept
    if json:
        print_json(kept)
        return
    lines = [f"{name}: ask {entry['ask']} (since {entry['since']})" for name, entry in kept["tools"].items()]
    lines += [f"{call['tool']}({call['arguments']}) is allowed (since {call['since']})" for call in kept["calls"]]
    print_lines(lines or ["nothing was allowed for good"])


@approvals.command(name="set")
def set_approval(
    tool: str,
    ask: Literal["never", "once", "always", "argument"],
    /,
    *,
    reads: Flag = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Say when to ask before a tool runs. After text that others wrote, what has an effect is asked for all the same.

    Parameters
    ----------
    tool
        The tool's name.
    ask
        never; once in each conversation; always; or argument: once for each new arguments.
    reads
        You know that this tool only reads: it changes nothing and sends nothing away that may not leave.
    """
    from ayllu.assistant.approvals.book import ApprovalBook

    book = ApprovalBook(find_home(home))
    book.set_ask(tool, ask, reads=reads)
    said = f"{tool}: ask {ask}{', it only reads' if reads else ''}"
    _told({"tool": tool, "ask": ask, "reads": bool(reads)}, said, json)


@approvals.command
def revoke(tool: str, /, *, home: Home = None, json: Json = False) -> None:
    """Forget what was allowed for a tool: it is asked for again.

    Parameters
    ----------
    tool
        The tool's name.
    """
    from ayllu.assistant.approvals.book import ApprovalBook

    gone = ApprovalBook(find_home(home)).revoke(tool)
    if not gone:
        raise UserError(f"nothing was allowed for {tool!r}; see `ayllu assist approvals list`")
    _told({"tool": tool, "revoked": gone}, f"{tool}: {gone} entries revoked", json)


@app.command
def tools(
    *,
    folder: Annotated[list[Path] | None, Parameter(help="A folder whose files the assistant may read.")] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """List the tools: what each does, whether it has an effect, and when you are asked."""
    from ayllu.assistant.approvals.book import ApprovalBook
    from ayllu.assistant.documents.tool import document_tools
    from ayllu.assistant.memory.memory import Memories, memory_tools
    from ayllu.assistant.tools.everyday import everyday_tools

    place = find_home(home)
    book = ApprovalBook(place)
    found: list[dict[str, Any]] = []
    memories = Memories(place)
    for tool in [*everyday_tools(place, tuple(folder or ())), *memory_tools(memories), *document_tools(place)]:
        ask: Ask = book.ask(tool.name) or tool.ask
        found.append(
            {
                "name": tool.name,
                "description": tool.definition.description,
                "parameters": dict(tool.definition.parameters),
                "effect": tool.effect,
                "untrusted": tool.untrusted,
                "ask": ask,
                "source": tool.source,
            }
        )
    if json:
        print_json({"tools": found})
        return
    print_lines(
        f"{tool['name']}: {tool['description']} "
        f"({'has an effect' if tool['effect'] else 'only reads'}, ask {tool['ask']}, {tool['source']})"
        for tool in found
    )


def _told(value: dict[str, Any], line: str, json: bool) -> None:
    if json:
        print_json(value)
    else:
        print_lines([line])
