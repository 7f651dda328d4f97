"""The tables of docs/serving/fields.md are those that the server and the official client give now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_tables_of_the_fields_are_as_the_server_does_it() -> None:
    program = [sys.executable, str(ROOT / "docs" / "serving" / "openai_fields.py"), "--check"]
    found = subprocess.run(program, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_whatever_is_refused_or_ignored_has_its_reason() -> None:
    page = (ROOT / "docs" / "serving" / "fields.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+?)` \| (supported|refused|ignored, harmless) \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) > 400
    assert [path for path, done, note in rows if done != "supported" and not note] == []
    assert {path for path, done, _ in rows if done == "refused"} >= {"audio", "suffix", "tools[](custom)"}


def test_every_route_for_texts_sound_files_and_search_has_its_table() -> None:
    page = (ROOT / "docs" / "serving" / "fields.md").read_text(encoding="utf-8")
    found = set(re.findall(r"^## `(?:GET|POST) /v1/(\w+(?:/\w+)?)", page, re.MULTILINE))
    wanted = {"chat/completions", "completions", "responses", "conversations", "messages", "messages/count_tokens"}
    wanted |= {"embeddings", "moderations", "audio/transcriptions", "audio/speech", "files", "vector_stores"}
    assert found >= wanted
