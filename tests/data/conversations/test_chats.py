"""Bad conversations and preferences are named by line, all at once, before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ayllu.data.conversations.chats import read_chats, read_preferences
from ayllu.lab.error import UserError
from ayllu.text.chat import Message


def words(messages: list[Message]) -> int:
    return sum(len(message.content.split()) for message in messages)


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def chat(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


GOOD = chat(("user", "Hi"), ("assistant", "Hello!"))


def test_good_conversations_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "chats.jsonl", [GOOD, "", chat(("system", "Be kind"), ("user", "a"), ("assistant", "b"))])
    found = read_chats(path, longest=10, length=words)
    assert [[m.role for m in messages] for messages in found] == [
        ["user", "assistant"],
        ["system", "user", "assistant"],
    ]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (chat(("user", "Hi"), ("assistant", "  ")), "line 2: turn 2 is empty"),
        (chat(("user", "Hi"), ("robot", "Hello")), "line 2: turn 2 has the unknown role 'robot'"),
        (chat(("user", "Hi")), "line 2: the assistant says nothing"),
        (chat(("user", "a " * 30), ("assistant", "b")), "line 2: it has 31 tokens, 20 are allowed"),
        ({"text": "Hi"}, "line 2: 'messages' is missing or empty"),
        ("{not json", "line 2: it is no JSON"),
        ("[1]", "line 2: it is no JSON object"),
    ],
)
def test_bad_conversations_are_named_by_line(tmp_path: Path, row: Any, told: str) -> None:
    path = write(tmp_path / "chats.jsonl", [GOOD, row, GOOD])
    with pytest.raises(UserError) as error:
        read_chats(path, longest=20, length=words)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_all_mistakes_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "chats.jsonl", [GOOD, *[chat(("user", "Hi"))] * 8])
    with pytest.raises(UserError, match=r"line 2: .*line 6: .*and 3 more"):
        read_chats(path, longest=20, length=words)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "Hi", "chosen": "Hello"}, "line 1: the side 'rejected' is missing or empty"),
        ({"prompt": "Hi", "chosen": "", "rejected": "x"}, "line 1: the side 'chosen' is missing or empty"),
        ({"prompt": "Hi", "chosen": "same", "rejected": "same "}, "line 1: both sides are the same"),
        ({"prompt": " ", "chosen": "a", "rejected": "b"}, "line 1: 'prompt' is missing or empty"),
        ({"prompt": "Hi", "chosen": "a " * 30, "rejected": "b"}, "line 1: it has 31 tokens"),
        ({"prompt": GOOD["messages"], "chosen": "a", "rejected": "b"}, "ends with the assistant's own turn"),
    ],
)
def test_bad_preferences_are_named_by_line(tmp_path: Path, row: Any, told: str) -> None:
    with pytest.raises(UserError) as error:
        read_preferences(write(tmp_path / "pairs.jsonl", [row]), longest=20, length=words)
    assert told in str(error.value)


def test_good_preferences_are_read(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "user", "content": "Hi"}], "chosen": "Hello", "rejected": "No"}
    found = read_preferences(write(tmp_path / "p.jsonl", [row, row | {"prompt": "Hi"}]), longest=20, length=words)
    assert found[0] == found[1]


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.jsonl", write(tmp_path / "empty.jsonl", [])):
        with pytest.raises(UserError, match=r"cannot be read|is empty"):
            read_chats(path, longest=20, length=words)
