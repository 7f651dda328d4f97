from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ayllu import Model
from ayllu.cli.chat import _write, chat_terminal
from ayllu.lab.error import UserError
from ayllu.model.sampling import Sampling
from ayllu.serve.conversation import given_sampling
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.text.chat import Message, render

PROGRAM = """
import signal, sys, time, torch
from pathlib import Path
from ayllu import Model
from ayllu.serve.engines import torch_engine
from ayllu.cli.chat import chat_terminal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has its children ignore it
torch.set_num_threads(1)
plain = torch_engine.generate
def slow(*args, **options):
    for token in plain(*args, **options | {"stop": frozenset()}):
        time.sleep(0.03)
        yield token
torch_engine.generate = slow
chat_terminal(Model(Path(sys.argv[1])), max_tokens=40)
"""


class Piped(io.StringIO):
    def isatty(self) -> bool:
        return False


def test_one_answer_for_a_script(folder: Path, engine: TorchEngine, capsys: pytest.CaptureFixture[str]) -> None:
    result = chat_terminal(Model(folder), message="Hello", system="Be kind.", sampling=Sampling(seed=1), max_tokens=12)
    shown = capsys.readouterr().out
    assert shown == result["answer"] + "\n"
    prompt = render(
        [Message(role="system", content="Be kind."), Message(role="user", content="Hello")], engine.tokenizer
    )
    assert result["usage"]["prompt_tokens"] == len(prompt)
    assert 0 < result["usage"]["completion_tokens"] <= 12
    assert result["finish_reason"] in ("stop", "length")
    assert result["model"] == "tiny"


def test_with_json_stdout_is_left_to_the_caller(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # What random weights say differs between processors, and may be nothing at all.
    assert 0 < chat_terminal(Model(folder), message="Hello", max_tokens=5, json=True)["usage"]["completion_tokens"] <= 5
    assert capsys.readouterr().out == ""


def test_piped_text_is_one_message(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Piped("two\nlines\n"))
    assert chat_terminal(Model(folder), max_tokens=5)["message"] == "two\nlines\n"
    monkeypatch.setattr("sys.stdin", Piped("not read"))
    assert chat_terminal(Model(folder), message="given", max_tokens=5)["message"] == "given"


@pytest.mark.parametrize(
    ("message", "piped", "words"),
    [(" \n", "", "message is empty"), (None, "", "message is empty"), ("word " * 500, "", "shorten it")],
)
def test_a_message_that_cannot_be_answered_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, message: str | None, piped: str, words: str
) -> None:
    monkeypatch.setattr("sys.stdin", Piped(piped))
    with pytest.raises(UserError, match=words):
        chat_terminal(Model(folder), message=message)


@pytest.mark.parametrize(
    ("option", "value"),
    [("temperature", float("nan")), ("temperature", float("inf")), ("top_p", float("nan")), ("seed", 10**22)],
)
def test_numbers_that_no_distribution_has_are_one_sentence(option: str, value: float) -> None:
    with pytest.raises(UserError, match=option):
        given_sampling(**{option: value})


@pytest.mark.parametrize("sampling", [Sampling(temperature=1e-300), Sampling(top_p=1e-300, temperature=3.0)])
def test_numbers_next_to_zero_are_answered(folder: Path, sampling: Sampling) -> None:
    greedy = chat_terminal(Model(folder), message="Hello", sampling=Sampling(temperature=0.0), max_tokens=5, json=True)
    answer = chat_terminal(Model(folder), message="Hello", sampling=sampling, max_tokens=5, json=True)
    assert answer["answer"] == greedy["answer"]


def test_a_model_cannot_command_the_terminal() -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen, file = Screen(), io.StringIO()
    for out in (screen, file):
        _write(out, "\x1b[2Jred\tand\ngreen\x9b31m")
    assert screen.getvalue() == "\ufffd[2Jred\tand\ngreen\ufffd31m"
    assert file.getvalue() == "\x1b[2Jred\tand\ngreen\x9b31m"


class Terminal:
    """A real process on a pseudo-terminal."""

    def __init__(self, folder: Path) -> None:
        self.terminal, theirs = pty.openpty()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TERM": "dumb", "PYTHONUTF8": "1"}
        command = [sys.executable, "-c", PROGRAM, str(folder)]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
            preexec_fn=_control_terminal,
        )  # fmt: skip
        os.close(theirs)
        self.received = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.terminal, 4096)
            except OSError:
                return
            self.received += data

    @property
    def screen(self) -> str:
        """What came since the last typing."""
        return self.received.decode(errors="replace")

    def type(self, text: str) -> None:
        self.received = b""
        os.write(self.terminal, text.encode())

    def wait(self, pattern: str) -> str:
        deadline = time.monotonic() + 60
        while not re.search(pattern, self.screen):
            assert time.monotonic() < deadline, f"waited for {pattern!r}, saw {self.screen!r}"
            time.sleep(0.02)
        return self.screen


def _control_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def terminal(folder: Path) -> Iterator[Terminal]:
    terminal = Terminal(folder)
    yield terminal
    terminal.process.kill()
    terminal.process.wait()
    os.close(terminal.terminal)


def test_a_conversation_in_a_terminal(terminal: Terminal) -> None:
    assert "tiny" in terminal.wait("› $")
    terminal.type("Hello\n")
    terminal.wait(r"Hello\r\n[\s\S]+\(cut: [\s\S]*› $")
    terminal.type("Hello\n")
    terminal.wait(r"Hello\r\n[^›]")
    terminal.type("\x03")
    terminal.wait(r"stopped[\s\S]*› $")
    for typed, reply in [
        ("/system Be kind.", "told that"),
        ("/system", "is gone"),
        ("/reset", "anew"),
        ("/nonsense", "is no command"),
        ("/help", "Ctrl-D leaves"),
        ("", ""),
        ("word " * 500, "shorten it"),
    ]:
        terminal.type(typed + "\n")
        terminal.wait(rf"{reply}[\s\S]*› $")
    terminal.type("a line that goes on\\\n")
    terminal.wait("… $")
    terminal.type("\x03")
    terminal.wait("› $")
    terminal.type("\x04")
    assert terminal.process.wait(60) == 0
    assert "Traceback" not in terminal.screen
