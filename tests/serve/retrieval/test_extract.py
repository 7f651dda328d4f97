"""Texts out of uploaded files, in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from ayllu.serve.retrieval import extract
from ayllu.serve.retrieval.extract import NoText, extract_text


def read(tmp_path: Path, content: bytes, name: str) -> str:
    (tmp_path / "content").write_bytes(content)
    return asyncio.run(extract_text(tmp_path / "content", name))


def test_texts_are_read_by_the_name_that_the_client_gave(tmp_path: Path) -> None:
    assert read(tmp_path, b"a,b\r\n1,2\r\n", "table.csv") == "a,b\n1,2\n"
    assert read(tmp_path, '{"ñ": 1}'.encode("utf-16"), "settings.json") == '{"ñ": 1}'
    page = read(tmp_path, b"<html><script>no()</script><p>The llama eats grass.</p></html>", "page.html")
    assert "The llama eats grass." in page
    assert "no()" not in page


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"\xff\xfe\xfa\x00\x01", "a.txt", "is no text in UTF-8"),
        (b"\x89PNG\r\n\x00", "a.png", "is no text in UTF-8"),
        (b"  \n ", "a.txt", "holds no text"),
        (b"%PDF-1.7 and no more", "a.pdf", "a.pdf"),
    ],
)
def test_what_has_no_text_is_said_in_a_sentence(tmp_path: Path, content: bytes, name: str, words: str) -> None:
    with pytest.raises(NoText, match=words):
        read(tmp_path, content, name)


def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(extract, "SECONDS", 0.1)
    with pytest.raises(NoText, match=r"more than 0\.1 seconds"):
        read(tmp_path, b"x", "a.txt")
