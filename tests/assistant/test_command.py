"""`ayllu assist` as a newcomer runs it, against a real server whose model's words are a script."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ayllu.assistant.session import Session
from ayllu.assistant.tools.tool import call_tool
from ayllu.assistant.trace import read_trace
from ayllu.cli.assistant.talk import PROMPT, _eyes
from ayllu.cli.main import main
from ayllu.serve.engines.engine import GenerationRequest, TextChunk
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.state.choose import open_store
from ayllu.text.tool_calls import ToolCall, write_calls
from support.models import TINY, save_tiny_model
from support.parts import need_module
from support.serving.server import serving
from support.training.seeing import QUESTION, circle, jpeg_of, save_seeing_model

TOOLS = ("--tool", "compute_column", "--tool", "calculate")


class Scripted(TorchEngine):
    """The real engine's tokenizer and checks; what it says is given."""

    says: list[str] = []  # noqa: RUF012

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        yield TextChunk(text=self.says.pop(0), tokens=1, finish_reason="stop")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    torch.set_num_threads(1)
    folder = save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", replace(TINY, context=16384))
    with serving(folder, Scripted(folder)) as address:
        yield address


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    with pytest.raises(SystemExit) as end:
        main(["assist", *arguments, "--json"])
    assert end.value.code == code
    return dict(json.loads(capsys.readouterr().out))


def test_once_gives_answer_steps_and_citations(url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "shop.csv").write_text("item,price\ntea,3.5\npen,2\n")
    sums = ToolCall(name="compute_column", arguments={"path": "shop.csv", "column": "price", "operation": "sum"})
    Scripted.says[:] = [
        write_calls([sums, ToolCall(name="calculate", arguments={"expression": "5.5 * 2"})]),
        "It is 11.",
    ]
    trace = tmp_path / "trace.jsonl"
    home, folder = str(tmp_path / "home"), str(tmp_path / "in")
    options = ("--model", url, "--home", home, "--folder", folder, "--trace", str(trace), *TOOLS)
    found = told(capsys, *options, "--once", "Twice the sum of the prices?")
    assert found["answer"] == "It is 11." and found["reason"] == "answered" and found["model"] == "tiny"
    assert [step["kind"] for step in found["steps"]].count("returned") == 2
    assert {step["output"] for step in found["steps"] if step["kind"] == "returned"} == {"5.5", "11"}
    assert found["citations"][0]["source"] == "shop.csv" and found["usage"]["turns"] == 2
    assert read_trace(trace).head["request"] == "Twice the sum of the prices?"
    with pytest.raises(SystemExit) as end:
        main(["assist", "replay", str(trace)])
    assert end.value.code == 0 and "came out as they were" in capsys.readouterr().out
    for more, approved in (([], True), (["--revoke"], False)):
        with pytest.raises(SystemExit) as end:
            main(["assist", "approve", str(trace), *more])
        assert end.value.code == 0 and read_trace(trace).head["approved"] is approved
        assert "approved" in capsys.readouterr().out
    defined = {tool["name"] for tool in read_trace(trace).head["tools"]}
    assert defined == {"compute_column", "calculate"}
    Scripted.says[:] = ["As I said, 11."]
    again = told(capsys, "--model", url, "--home", home, "--resume", found["conversation"], "--once", "?", *TOOLS[2:])
    assert again["answer"] == "As I said, 11." and again["conversation"] == found["conversation"]


TALKS = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from ayllu.cli.main import main
main(["assist", *sys.argv[1:]])
"""


def typed(arguments: Sequence[str], *script: tuple[str, str]) -> str:
    """What a conversation in a terminal shows: each text is typed when the one beside it has come; "^C" is Ctrl-C."""
    terminal, inside = pty.openpty()
    command = [sys.executable, "-c", TALKS, *arguments]
    process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside)
    os.close(inside)
    shown, place = b"", 0
    try:
        for wait, text in script:
            while wait.encode() not in shown[place:]:
                assert select.select([terminal], [], [], 120)[0], f"{wait!r} never came: {shown!r}"
                shown += os.read(terminal, 65536)
            place = len(shown)
            if text == "^C":
                process.send_signal(signal.SIGINT)
            else:
                os.write(terminal, text.encode())
        assert process.wait(timeout=120) == 0, shown
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    return shown.decode()


def test_ctrl_c_at_a_prompt_or_a_question_stops_only_that_and_loses_no_line(url: str, tmp_path: Path) -> None:
    delete = write_calls([ToolCall(name="delete_note", arguments={"query": "garage"})])
    Scripted.says[:] = [delete, "It is not deleted.", "Good day."]
    shown = typed(
        ("--model", url, "--home", str(tmp_path), "--tool", "delete_note"),
        (PROMPT, "^C"),
        ("Ctrl-D leaves", "delete the garage note\n"),
        ("Allow it?", "^C"),
        ("stopped", "go on\n"),
        ("It is not deleted.", "hello\n"),
        ("Good day.", "/quit\n"),
    )
    assert shown.count("delete_note (built in) wants to run") == 1 and "Traceback" not in shown


def test_what_was_interrupted_goes_on_for_a_script_and_nothing_else_does(
    url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = ("--model", url, "--home", str(tmp_path), *TOOLS[2:])
    store = open_store(None, home=tmp_path)
    assert store is not None
    session = Session.new(store)
    session.say("Twice 21?")
    store.close()
    Scripted.says[:] = ["It is 42."]
    assert told(capsys, *place, "--resume", session.name)["answer"] == "It is 42."
    with pytest.raises(SystemExit) as end:
        main(["assist", *place, "--resume", session.name, "--json"])
    assert end.value.code == 2 and "nothing was interrupted" in capsys.readouterr().err


def test_a_model_that_fails_is_a_reason_and_an_exit_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = told(capsys, "--model", "http://127.0.0.1:9", "--home", str(tmp_path), "--once", "Hello", code=1)
    assert found["reason"] == "failed" and "127.0.0.1:9" in found["answer"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json"], "--once"),
        (["--once", " "], "empty"),
        (["--once", "x", "--approve", "none"], "no such tool"),
        (["--once", "x", "--tool", "none"], "no such tool"),
        (["--once", "x", "--folder", "/nowhere"], "no folder"),
        (["--once", "x", "--resume", "conv_none"], "no conversation"),
        (["--once", "x", "--mcp", "/nowhere/server"], "MCP server"),
        (["--once", "x", "--mcp", " "], "give a command line or a URL"),
        (["--once", "x", "--trace", "/nowhere/x.jsonl"], "there is no folder /nowhere"),
        (["--once", "x", "--trace", "/etc/hostname"], "exists; give a new file"),
    ],
)
def test_mistakes_are_one_sentence(
    url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["assist", "--model", url, "--home", str(tmp_path), *arguments])
    error = capsys.readouterr().err
    assert end.value.code == 2 and words in error and "Traceback" not in error


@pytest.mark.parametrize(("arguments", "words"), [([], "no trace is named"), (["/nowhere.jsonl"], "is not there")])
def test_a_trace_that_is_none_is_not_approved(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["assist", "approve", *arguments])
    assert end.value.code == 2 and words in capsys.readouterr().err


def test_approvals_are_set_listed_and_revoked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    home = ("--home", str(tmp_path))
    assert told(capsys, "approvals", "set", "delete_note", "never", *home)["ask"] == "never"
    assert told(capsys, "approvals", "list", *home)["tools"]["delete_note"]["ask"] == "never"
    listed = {tool["name"]: tool["ask"] for tool in told(capsys, "tools", *home)["tools"]}
    assert listed["delete_note"] == "never" and listed["cancel_reminder"] == "always"
    assert told(capsys, "approvals", "revoke", "delete_note", *home)["revoked"] == 1
    assert told(capsys, "approvals", "set", "caf\udce9", "once", *home)["ask"] == "once"
    assert told(capsys, "approvals", "revoke", "caf\ufffd", *home)["revoked"] == 1
    assert told(capsys, "approvals", "list", *home)["tools"] == {}
    with pytest.raises(SystemExit) as end:
        main(["assist", "approvals", "revoke", "delete_note", *home])
    assert end.value.code == 2 and "nothing was allowed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "kept",
    [
        "[]",
        '{"tools": {"delete_note": 5}, "calls": []}',
        '{"tools": {}, "calls": [5]}',
        '{"tools": {"delete_note": {"ask": "never"}}, "calls": []}',
        '{"tools": {}, "calls": [{"tool": "pay", "arguments": "all"}]}',
        '{"tools": {',
    ],
)
def test_a_damaged_book_of_approvals_allows_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kept: str
) -> None:
    (tmp_path / "assistant").mkdir()
    (tmp_path / "assistant" / "approvals.json").write_text(kept)
    with pytest.raises(SystemExit) as end:
        main(["assist", "approvals", "list", "--home", str(tmp_path)])
    error = capsys.readouterr().err
    assert end.value.code == 2 and "approvals.json is damaged" in error and "Traceback" not in error


def test_a_model_behind_an_address_is_told_of_pictures_by_statements_which_is_said(
    url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    need_module("rapidocr", "the camera needs rapidocr")
    Scripted.says[:] = ["Good day."]
    with pytest.raises(SystemExit) as end:
        main(["assist", "--model", url, "--home", str(tmp_path), "--camera", str(tmp_path), "--once", "Hello"])
    assert end.value.code == 0
    said = capsys.readouterr()
    assert "Good day." in said.out
    assert f"{url} is told of pictures by statements" in said.err


def test_a_model_that_sees_guesses_about_what_the_camera_shows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    need_module("rapidocr", "the camera needs rapidocr")
    model, picture = save_seeing_model(tmp_path / "tiny"), tmp_path / "seen.jpg"
    picture.write_bytes(jpeg_of(circle("red", x=0.6)))
    # A model of so few parameters asks for a look in other words each time, so the tool is called without it.
    (tool,) = _eyes(picture, str(model), tmp_path / "home")
    assert "tiny guesses about shapes in pictures, right 50% of the time on drawn scenes" in capsys.readouterr().err
    assert asyncio.run(call_tool(tool, {"question": QUESTION})).say == "My guess is red."
