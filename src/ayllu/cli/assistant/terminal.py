"""What the assistant does, in the terminal: its steps as they come, and the questions before calls."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TextIO

from ayllu.assistant.approvals.gate import Answer, Question
from ayllu.assistant.steps import Called, Decided, Ended, Recalled, Returned, Step, Wrote
from ayllu.lab.progress import say
from ayllu.lab.visible import visible

LONGEST = 300
"""Characters of a result or an argument that are shown."""
ANSWERS: dict[str, Answer] = {
    "n": "no",
    "no": "no",
    "y": "yes",
    "yes": "yes",
    "c": "conversation",
    "a": "always",
    "t": "argument",
}


class Screen:
    """Shows steps: words of the model on `out`, all else on stderr."""

    def __init__(self, out: TextIO | None) -> None:
        self._out, self._wrote = out, False

    def show(self, step: Step) -> None:
        """Show one step."""
        match step:
            case Wrote(text=text):
                if self._out is not None:
                    self._out.write(visible(text, keep="\n\t"))
                    self._out.flush()
                self._wrote = True
            case Called():
                self._end_line()
                given = ", ".join(
                    f"{name}={visible(repr(value), longest=LONGEST)} (from {visible(step.origins.get(name, ''))})"
                    for name, value in step.arguments.items()
                )
                say(f"→ {visible(step.name)}({given})")
            case Decided(allowed=False):
                say(f"✗ {visible(step.why)}")
            case Returned():
                mark = "✗" if step.error else "←"
                theirs = " [others may have written this]" if step.untrusted else ""
                say(f"{mark} {visible(step.output, longest=LONGEST)}{theirs}")
            case Recalled():
                say(f"remembered: {', '.join(step.memories)}")
            case Ended():
                self._ended(step)

    def _ended(self, step: Ended) -> None:
        if self._out is not None and step.reason == "answered" and not self._wrote:
            self._out.write(visible(step.answer, keep="\n\t"))
            self._wrote = True
        self._end_line()
        if step.reason == "failed":
            say(f"the model gave no answer: {visible(step.answer)}")
        elif step.reason == "cancelled":
            say("stopped")
        elif step.reason != "answered":
            say(f"stopped: the limit of {step.reason} was reached after {step.turns} turns and {step.tokens:,} tokens")

    def _end_line(self) -> None:
        if self._wrote and self._out is not None:
            self._out.write("\n")
            self._out.flush()
        self._wrote = False


async def ask_in_terminal(question: Question) -> Answer:
    """Ask the user on the terminal; anything that is no answer is a no."""
    lines = [f"{visible(question.tool.name)} ({visible(question.tool.source)}) wants to run:"]
    for name, value in question.arguments.items():
        origin = question.origins.get(name, "the model")
        lines.append(f"  {visible(name)} = {visible(repr(value), longest=2000)}   from {visible(origin)}")
    choices = "[y]es, [n]o, [c]onversation, [a]lways, [t]his very call always"
    if question.untrusted:
        lines.append(f"  The model has read text of others: {', '.join(map(visible, question.untrusted))}.")
        choices = "[y]es, [n]o"
    say(*lines)
    try:
        given = typed(f"  Allow it? {choices}: ", sys.stderr)
    except EOFError:
        return "no"
    except KeyboardInterrupt:
        raise asyncio.CancelledError from None
    return ANSWERS.get(given.strip().lower(), "no")


def typed(prompt: str, out: TextIO) -> str:
    """A line of the user's; Ctrl-C is a KeyboardInterrupt at once.

    It is read in this thread, and nothing else runs meanwhile: one that waits for a line in another thread cannot be
    stopped, and would take the next line.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    loop = signal.set_wakeup_fd(-1)  # which would hear of it afterwards, and stop what comes next
    try:
        if out is sys.stdout:
            return input(prompt)  # readline has to know the prompt, to draw it again
        out.write(prompt)
        out.flush()
        return input()
    finally:
        signal.set_wakeup_fd(loop)
        signal.signal(signal.SIGINT, before)
