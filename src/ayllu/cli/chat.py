"""`ayllu chat`: a conversation in the terminal, or one answer for a script."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any, TextIO

from ayllu.api.models import Model
from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.model.sampling import Sampling
from ayllu.serve.conversation import Conversation
from ayllu.text.chat import NO_TEMPLATE

HELP = """/reset forgets the conversation · /system TEXT tells the model how to behave (no TEXT: nothing) · /quit leaves
Ctrl-C stops an answer · Ctrl-D leaves · a line that ends in \\ goes on in the next"""
PROMPT, GOES_ON = "› ", "… "
UNSEEN = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
"""Control characters: a terminal would obey them, and a model must not command the user's terminal."""


def chat_terminal(
    model: Model,
    *,
    message: str | None = None,
    system: str | None = None,
    sampling: Sampling | None = None,
    max_tokens: int | None = None,
    json: bool = False,
) -> dict[str, Any]:
    """Chat with a model.

    With `message`, or with text piped into stdin (all of it is one message), one answer is written to stdout; else a
    conversation begins. An answer has at most `max_tokens` ids, or as many as fit; where `sampling` is None the model
    recommends it. With `json` nothing is written to stdout: the caller prints what is returned, which for one answer is
    `model`, `message`, `answer`, `finish_reason`, `usage` and `seconds`, and for a conversation `model` and `messages`.
    Raises UserError when the model cannot be served, the message is empty or too long, or `json` has no message.
    """
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if message is None and terminal and json:
        raise UserError("--json gives one answer, so it needs one question: give it with --message or on stdin")
    if message is None and not terminal:
        message = _piped()
    if message is not None and not message.strip():
        raise UserError("the message is empty; give some text with --message or on stdin")
    if not model.engine.tokenizer.holds_conversations:
        raise UserError(NO_TEMPLATE)
    conversation = model.conversation(system=system, sampling=sampling, max_tokens=max_tokens)
    title = model.about.name
    if message is None:
        engine = model.engine
        say(f"{title} · {engine.parameters:,} parameters · {engine.context:,} tokens of context · /help tells more")
        _converse(conversation, sys.stdout)
        return {"model": title, "messages": [{"role": m.role, "content": m.content} for m in conversation.messages]}
    return {"model": title, **_answer(conversation, message, None if json else sys.stdout)}


def _piped() -> str:
    if sys.stdin is None:
        raise UserError("there is no stdin to read a message from; give it with --message")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UserError(f"stdin is not {error.encoding} text ({error.reason}); convert it first") from error


def _answer(conversation: Conversation, message: str, out: TextIO | None) -> dict[str, Any]:
    """One answer, written to `out` as it comes if there is one."""
    start, answer = time.monotonic(), ""
    try:
        for text in conversation.ask(message):
            answer += text
            if out is not None:
                _write(out, text)
    except ValueError as error:
        raise UserError(str(error)) from error
    if out is not None:
        out.write("\n")
        out.flush()
    return {
        "message": message,
        "answer": answer,
        "finish_reason": conversation.finish_reason,
        "usage": conversation.usage,
        "seconds": round(time.monotonic() - start, 3),
    }


def _converse(conversation: Conversation, out: TextIO) -> None:
    """Read, answer, and so on, until Ctrl-D or `/quit`."""
    with contextlib.suppress(ImportError):  # where Python has it, it gives line editing and the arrow keys
        import readline  # noqa: F401
    while (line := _read(out)) is not None:
        command, _, rest = line.partition(" ")
        match command:
            case "":
                pass
            case "/quit" | "/exit":
                return
            case "/help":
                say(*HELP.split("\n"))
            case "/reset":
                conversation.reset()
                say("The conversation begins anew.")
            case "/system":
                conversation.system = rest.strip() or None
                say("The model will be told that." if conversation.system else "The system message is gone.")
            case _ if command.startswith("/") and "/" not in command[1:]:
                say(f"{command} is no command; /help lists them")
            case _:
                _reply(conversation, line, out)


def _read(out: TextIO) -> str | None:
    """What the user typed; None when the user is done."""
    lines: list[str] = []
    while True:
        try:
            line = input(GOES_ON if lines else PROMPT)
        except EOFError:
            out.write("\n")
            return None
        except KeyboardInterrupt:
            # At the prompt there is no answer to stop: the line is thrown away, as shells do.
            out.write("\n")
            return ""
        except UnicodeDecodeError as error:
            say(f"that was not {error.encoding} text; the line is ignored")
            return ""
        lines.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            return "\n".join(lines).strip()


def _reply(conversation: Conversation, message: str, out: TextIO) -> None:
    answer = conversation.ask(message)
    try:
        for text in answer:
            _write(out, text)
    except ValueError as error:
        say(str(error))
        return
    except KeyboardInterrupt:
        answer.close()
        out.write("\n")
        say("stopped")
        return
    out.write("\n")
    if conversation.dropped:
        say(f"({conversation.dropped} of the oldest messages no longer fitted and were forgotten)")
    if conversation.finish_reason == "length":
        say("(cut: the longest answer, or the end of the model's context, was reached)")


def _write(out: TextIO, text: str) -> None:
    out.write(text.translate(UNSEEN) if out.isatty() else text)
    out.flush()
