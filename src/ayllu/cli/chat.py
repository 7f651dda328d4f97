"""`ayllu chat`: a conversation in the terminal, or one answer for a script."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, TextIO

from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.model.generate import Sampling
from ayllu.serve.about import describe
from ayllu.serve.engines.choose import open_engine
from ayllu.serve.engines.engine import Engine, FinishReason, GenerationRequest
from ayllu.serve.history import fit_to_context
from ayllu.text.chat import Message

HELP = """/reset forgets the conversation · /system TEXT tells the model how to behave (no TEXT: nothing) · /quit leaves
Ctrl-C stops an answer · Ctrl-D leaves · a line that ends in \\ goes on in the next"""
PROMPT, GOES_ON = "› ", "… "
UNSEEN = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
"""Control characters: a terminal would obey them, and a model must not command the user's terminal."""


class Conversation:
    """What was said so far, and the engine that answers."""

    def __init__(self, engine: Engine, *, system: str | None, sampling: Sampling, tokens: int | None) -> None:
        self.system = system
        self.messages: list[Message] = []
        self.finish_reason: FinishReason | None = None
        self.usage = {"prompt_tokens": 0, "completion_tokens": 0}
        self.dropped = 0
        self._engine, self._sampling, self._tokens = engine, sampling, tokens

    def ask(self, text: str) -> Generator[str]:
        """Yield the answer's text as it comes; it belongs to the conversation even when the caller stops listening.

        ValueError when `text` does not fit into the model's context (ContextFull) or its chat template refuses it; then
        nothing was said.
        """
        head = [Message(role="system", content=self.system)] if self.system else []
        asked = [*self.messages, Message(role="user", content=text)]
        engine = self._engine
        fitted = fit_to_context([*head, *asked], engine.tokenizer, context=engine.context, max_tokens=self._tokens)
        # What no longer fits now never will again.
        self.messages, self.dropped = asked[fitted.dropped :], fitted.dropped
        self.usage = {"prompt_tokens": len(fitted.prompt), "completion_tokens": 0}
        self.finish_reason = None
        room = engine.context - len(fitted.prompt)
        request = GenerationRequest(
            prompt=fitted.prompt, max_tokens=min(self._tokens or room, room), sampling=self._sampling
        )
        answer = ""
        try:
            for chunk in engine.generate(request, threading.Event()):
                answer += chunk.text
                self.usage["completion_tokens"] += chunk.tokens
                self.finish_reason = chunk.finish_reason
                if chunk.text:
                    yield chunk.text
        finally:
            self.messages.append(Message(role="assistant", content=answer))

    def reset(self) -> None:
        """Forget what was said; the system message stays."""
        self.messages = []


def chat_terminal(
    model_folder: Path,
    *,
    message: str | None = None,
    system: str | None = None,
    sampling: Sampling | None = None,
    tokens: int | None = None,
    engine: str = "auto",
    json: bool = False,
) -> dict[str, Any]:
    """Chat with a release or weights.

    With `message`, or with text piped into stdin (all of it is one message), one answer is written to stdout; else a
    conversation begins. An answer has at most `tokens` ids, or as many as fit; where `sampling` is None the model's
    folder recommends it. With `json` nothing is written to stdout: the caller prints what is returned, which for one
    answer is `model`, `message`, `answer`, `finish_reason`, `usage` and `seconds`, and for a conversation `model` and
    `messages`.
    Raises UserError when the folder cannot be served, the message is empty or too long, or `json` has no message.
    """
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if message is None and terminal and json:
        raise UserError("--json gives one answer, so it needs one question: give it with --message or on stdin")
    if message is None and not terminal:
        message = _piped()
    if message is not None and not message.strip():
        raise UserError("the message is empty; give some text with --message or on stdin")
    opened = open_engine(model_folder, engine)
    about = describe(model_folder, context=opened.context, parameters=opened.parameters)
    model = about.name
    conversation = Conversation(opened, system=system, sampling=sampling or about.sampling, tokens=tokens)
    if message is None:
        say(f"{model} · {opened.parameters:,} parameters · {opened.context:,} tokens of context · /help tells more")
        _converse(conversation, sys.stdout)
        return {"model": model, "messages": [{"role": m.role, "content": m.content} for m in conversation.messages]}
    return {"model": model, **_answer(conversation, message, None if json else sys.stdout)}


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
                say(HELP)
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
