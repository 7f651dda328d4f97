"""Text from a file never commands the terminal, never starts a line of its own, and never looks like what it is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayllu.cli.options import print_json, print_lines
from ayllu.evals.table import scores_table
from ayllu.lab.progress import bar, say
from ayllu.lab.visible import visible, visible_json

DRAWN = "model\x1b[1A\x1b[2K\r\nok 1.0 is verified\x9b31m\u2028x\u202egnp.exe\x7f\u200b\udc80"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("llama 🦙 ñ 日本", "llama 🦙 ñ 日本"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\r\nb\tc\x85d\u2028e", "a\\r\\nb\\tc\\x85d\\u2028e"),
        ("\u202egnp.exe\u200b", "\\u202egnp.exe\\u200b"),
        ("x\udc80\U000e0041", "x\\udc80\\U000e0041"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text, shown):
    assert visible(text) == shown


def test_what_is_kept_and_how_much():
    assert visible("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"
    assert visible("a" * 500 + "b" * 500, longest=10) == "aaaaa … bbbbb"


@given(st.text(st.characters()))
def test_nothing_hidden_is_left(text):
    assert visible(text).isprintable()
    assert visible(visible(text)) == visible(text)
    assert json.loads(visible_json({"x": text}, indent=2)) == {"x": text}
    assert visible_json([text]).isprintable()


def test_everything_that_is_printed_is_visible(capsys):
    """stdout as lines and as JSON, narration, progress, and tables whose cells come from a file."""
    print_lines([DRAWN, "second"])
    print_json({"name": DRAWN})
    say(DRAWN, "second")
    with bar(DRAWN, unit=DRAWN, total=1) as progress:
        progress.advance(1, note=DRAWN)
        assert progress.line().isprintable()
    entry = {"documents": 1, "bytes": 2, "value": 1.0, "low": None, "high": None}
    print_lines(scores_table({"sets": {}, "bits_per_byte": {DRAWN: entry}}).removesuffix("\n").split("\n"))
    said = capsys.readouterr()
    assert all(line.isprintable() for line in (said.out + said.err).split("\n"))
    assert not any(line.startswith("ok 1.0") for line in (said.out + said.err).splitlines())
    assert len(said.out.splitlines()) == 2 + 1 + 3
    assert json.loads(said.out.splitlines()[2]) == {"name": DRAWN}
