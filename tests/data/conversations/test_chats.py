"""Bad conversations and preferences are named by line, all at once, before anything starts."""

from __future__ import annotations

import gzip
import json
import lzma
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ayllu.data.conversations.chats import name_of_copy, read_chats, read_preferences, store_copy, stored_copy
from ayllu.data.conversations.rows import Chat
from ayllu.lab.error import UserError
from ayllu.text.chat import Message, _as_json
from ayllu.text.tool_calls import ToolCall


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
        ("[" * 100_000, "line 2: it is no JSON (it is nested too deeply)"),
        ('{"id": ' + "9" * 5000 + "}", "line 2: it is no JSON (a number is too long)"),
        ('{"messages": [{"role": "user", "content": "a", "content": "b"}]}', "(the key 'content' stands there twice)"),
        ('{"messages": [], "score": NaN}', "line 2: it is no JSON (NaN is no JSON)"),
    ],
)
def test_bad_conversations_are_named_by_line(tmp_path: Path, row: Any, told: str) -> None:
    path = write(tmp_path / "chats.jsonl", [GOOD, row, GOOD])
    with pytest.raises(UserError) as error:
        read_chats(path, longest=20, length=words)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_openais_newer_word_for_the_system_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "chats.jsonl", [chat(("developer", "Be kind"), ("user", "a"), ("assistant", "b"))])
    assert read_chats(path, longest=10, length=words)[0][0] == Message(role="system", content="Be kind")


def test_all_mistakes_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "chats.jsonl", [GOOD, *[chat(("user", "Hi"))] * 8])
    with pytest.raises(UserError, match=r"line 2: .*line 6: .*and 3 more"):
        read_chats(path, longest=20, length=words)


CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": "Lima"}'}}
LOOK = {"type": "function", "function": {"name": "look", "description": "Look", "parameters": {}, "strict": True}}


def read_one(path: Path, row: dict[str, Any], unread: Counter[str] | None = None) -> Chat:
    (found,) = read_chats(write(path / "chats.jsonl", [row]), longest=99, length=words, unread=unread)
    return found


def test_words_calls_tools_and_weights_of_a_row_are_read(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "Where"}, {"type": "text", "text": " is it?"}]},
        {"role": "assistant", "content": "I look.", "tool_calls": [CALL], "weight": 0},
        {"role": "tool", "content": "There", "tool_call_id": "1"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "There", "tool_call_id": "1"},
        {"role": "assistant", "content": "There.", "train": True, "refusal": None},
    ]
    unread: Counter[str] = Counter()
    chat = read_one(tmp_path, {"messages": turns, "tools": [LOOK], "id": 3}, unread)
    call = ToolCall(name="look", arguments={"at": "Lima"})
    assert [(m.role, m.content, m.tool_calls) for m in chat] == [
        ("user", "Where is it?", ()),
        ("assistant", "I look.", (call,)),
        ("tool", "There", ()),
        ("assistant", "", (call,)),
        ("tool", "There", ()),
        ("assistant", "There.", ()),
    ]
    assert chat.unlearnt == {1}
    assert [tool.as_json() for tool in chat.tools] == [LOOK], "whole, as it was given"
    assert unread == {"id": 1}
    assert read_one(tmp_path, {"messages": turns, "tools": json.dumps([LOOK])}).tools == chat.tools


SHAREGPT = [("human", "Hi"), ("gpt", "Hello!"), ("human", "Bye"), ("gpt", "Bye!")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"conversations": [{"from": who, "value": text} for who, text in SHAREGPT]}, "user assistant user assistant"),
        (
            {"system": "Be kind", "conversations": [{"from": w, "value": t} for w, t in SHAREGPT[:2]]},
            "system user assistant",
        ),
        ({"conversations": chat(("user", "Hi"), ("assistant", "Hello!"))["messages"]}, "user assistant"),
        ({"instruction": "Add", "input": "", "output": "3"}, "user assistant"),
        (
            {"instruction": "Add", "output": "3", "system": "S", "history": [["a", "b"]]},
            "system user assistant user assistant",
        ),
        ({"prompt": "Hi", "completion": "Hello!"}, "user assistant"),
        ({"prompt": GOOD["messages"][:1], "completion": GOOD["messages"][1:]}, "user assistant"),
    ],
)
def test_the_usual_forms_of_conversations_are_read(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    unread: Counter[str] = Counter()
    assert [message.role for message in read_one(tmp_path, row, unread)] == said.split()
    assert not unread


def test_what_stands_beside_the_turns_comes_before_them(tmp_path: Path) -> None:
    told = {"system": "Be kind."}
    for row in (GOOD | told, {"prompt": "Hi", "completion": "Oh"} | told):
        assert read_one(tmp_path, row)[0] == Message(role="system", content="Be kind.")
    pair = {"prompt": "Hi", "chosen": "Oh", "rejected": "No"} | told
    found = read_preferences(write(tmp_path / "pairs.jsonl", [pair]), longest=20, length=words)
    assert [message.role for message in found[0].prompt] == ["system", "user"]


def test_an_instruction_and_its_input_are_one_message(tmp_path: Path) -> None:
    found = read_one(tmp_path, {"instruction": "Add", "input": "1 and 2", "output": "3"})
    assert [message.content for message in found] == ["Add\n\n1 and 2", "3"]


def test_calls_in_sharegpts_words(tmp_path: Path) -> None:
    turns = [
        ("human", "Where?"),
        ("function_call", '{"name": "look", "arguments": {"at": "Lima"}}'),
        ("observation", "Here"),
    ]
    row = {"conversations": [{"from": who, "value": text} for who, text in [*turns, ("gpt", "Here.")]]}
    found = read_one(tmp_path, row | {"tools": "[]"})
    assert [message.role for message in found] == ["user", "assistant", "tool", "assistant"]
    assert found[1].tool_calls == (ToolCall(name="look", arguments={"at": "Lima"}),)


def test_a_json_list_is_read_and_its_items_are_named(tmp_path: Path) -> None:
    path = tmp_path / "chats.json"
    path.write_text("\ufeff" + json.dumps([GOOD, GOOD], indent=2))
    assert len(read_chats(path, longest=9, length=words)) == 2
    path.write_text(json.dumps([GOOD, 3, chat(("user", "Hi"))]))
    with pytest.raises(
        UserError, match=r"item 2: it is no JSON object; item 3: the assistant says nothing: .*these items"
    ):
        read_chats(path, longest=9, length=words)


def turn(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Oh"} | fields]}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (turn(content=None), "turn 2 is empty"),
        (turn(content=[{"type": "image_url", "image_url": {"url": "x"}}]), "turn 2 has a part of the type 'image_url'"),
        (turn(content={"a": 1}), "turn 2 has content that is neither a text nor a list"),
        (turn(weight=0.5), "turn 2 has the weight 0.5"),
        (turn(weight=0), "no turn of the assistant is to be learnt"),
        (turn(reasoning_content="Hm"), "turn 2 has 'reasoning_content'"),
        (turn(tool_calls=[{"function": {"name": "f", "arguments": "{"}}]), "turn 2 has no valid JSON as the arguments"),
        (turn(tool_calls=[{"function": {"arguments": {}}}]), "turn 2 has a call without the name"),
        (turn(tool_calls=[{"function": {"name": "f g", "arguments": {}}}]), "turn 2 has a call, but the tool's name"),
        (GOOD | {"tools": [{"type": "web_search"}]}, "'tools' holds something that is no function"),
        (GOOD | {"functions": [{"name": "f"}]}, "it has 'functions'"),
        ({"instruction": "Add", "output": None}, "turn 2 is empty"),
        (turn(value="Ah"), "turn 2 has 'content' and 'value', which say different things"),
        (turn(**{"from": "human"}), "turn 2 has 'role' and 'from', which say different things"),
        (turn(training=False), "no turn of the assistant is to be learnt"),
        (turn(thought="Hm"), "turn 2 has 'thought'"),
        (turn(train_detail=[{"begin_offset": 0}]), "turn 2 has 'train_detail'"),
        (turn(tool_calls=[{"function": {"name": "f", "arguments": '{"a": 1, "a": 2}'}}]), "turn 2 has no valid JSON"),
        (GOOD | {"tools": "[" * 100_000}, "'tools' is no valid JSON"),
        (GOOD | {"image": "x.png"}, "it has 'image'"),
    ],
)
def test_what_cannot_be_learnt_as_meant_is_refused(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as error:
        read_one(tmp_path, row)
    assert f"line 1: {told}" in str(error.value)


def called(*ids: str | None) -> list[dict[str, Any]]:
    function = {"name": "look", "arguments": {"at": "Lima"}}
    return [{"function": function} | ({} if i is None else {"id": i}) for i in ids]


def answered(calls: list[dict[str, Any]], *ids: Any) -> dict[str, Any]:
    answers = [{"role": "tool", "content": "Here"} | ({} if i is None else {"tool_call_id": i}) for i in ids]
    turns = [{"role": "user", "content": "Where?"}, {"role": "assistant", "tool_calls": calls}, *answers]
    return {"messages": [*turns, {"role": "assistant", "content": "Here."}]}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (answered(called("a", "b"), "b", "a"), "turn 3 answers the call 'b' before another"),
        (answered(called("a"), "z"), "turn 3 answers the call 'z', which does not wait for an answer"),
        (answered(called("a", "b"), "a", "a"), "turn 4 answers the call 'a', which does not wait"),
        (answered(called("a"), "a", "a"), "turn 4 answers the call 'a', which does not wait"),
        (answered(called("a", "a"), "a", "a"), "turn 2 has two calls of one id"),
        (answered(called("a"), 7), "turn 3 has the id of a call 7, which is no text"),
        (answered([called("a")[0] | {"result": 5}], "a"), "turn 2 has a call with 'result'"),
        (answered([called("a")[0] | {"type": "custom"}], "a"), "turn 2 has a call of the type 'custom'"),
    ],
)
def test_an_answer_to_another_call_is_refused(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"line 1: {told}")):
        read_one(tmp_path, row)


def test_ids_of_calls_reach_the_template_that_writes_them(tmp_path: Path) -> None:
    for row in (answered(called("a", None), "a", None), answered(called(None), "x"), answered(called("a"), None)):
        assert len(read_one(tmp_path, row)) >= 4
    chat = read_one(tmp_path, answered(called("a", "b"), "a", "b"))
    assert [call.id for call in chat[1].tool_calls] == ["a", "b"]
    assert [_as_json(message, True, True).get("tool_call_id") for message in chat] == [None, None, "a", "b", None]
    assert [call["id"] for call in _as_json(chat[1], True, True)["tool_calls"]] == ["a", "b"]


HELLO = {"from": "gpt", "value": "Hello!"}


def test_a_row_of_two_forms_says_one_thing(tmp_path: Path) -> None:
    asked = {"from": "human", "value": "Hi"}
    one = {"instruction": "Hi", "output": "Hello!"}
    unread: Counter[str] = Counter()
    for row in (GOOD | {"conversations": [asked, HELLO]}, GOOD | one, one | {"conversations": [asked, HELLO]}):
        assert len(read_one(tmp_path, row, unread)) == 2
    assert read_one(tmp_path, {"messages": None, "conversations": [asked, HELLO]}, unread)
    assert not unread
    for row in (
        GOOD | {"conversations": [asked, HELLO | {"value": "No."}]},
        GOOD | {"instruction": "Hi", "output": "No."},
        one | {"prompt": "Hi", "completion": "No."},
        GOOD | {"prompt": "Ho", "completion": "Hello!"},
    ):
        with pytest.raises(UserError, match="which say different things: keep one"):
            read_one(tmp_path, row)


def test_a_copy_is_told_of_by_the_name_that_the_user_gave(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", [chat(("user", "Hi"))])
    digest = store_copy(path, tmp_path / "cache")
    copy, shown = stored_copy(digest, tmp_path / "cache"), name_of_copy(digest, tmp_path / "cache")
    with pytest.raises(UserError, match=f"^{re.escape(str(path))} cannot be used"):
        read_chats(copy, longest=9, length=words, shown=shown)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "Hi", "chosen": "Hello"}, "line 1: the side 'rejected' is missing or empty"),
        ({"prompt": "Hi", "chosen": "", "rejected": "x"}, "line 1: the side 'chosen' is missing or empty"),
        ({"prompt": "Hi", "chosen": "same", "rejected": "same "}, "line 1: both sides are the same"),
        ({"prompt": " ", "chosen": "a", "rejected": "b"}, "line 1: 'prompt' is missing or empty"),
        ({"prompt": "Hi", "chosen": "a " * 30, "rejected": "b"}, "line 1: it has 31 tokens"),
        ({"prompt": GOOD["messages"], "chosen": "a", "rejected": "b"}, "ends with the assistant's own turn"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "b", "images": ["x.png"]}, "line 1: it has 'images'"),
        ({"prompt": "Hi", "chosen": [turn(weight=0)["messages"][1]], "rejected": "b"}, "the side 'chosen' is no turn"),
        ({"prompt": "Hi", "chosen": "a", "rejected": [turn(thinking="x")["messages"][1]]}, "turn 1 has 'thinking'"),
    ],
)
def test_bad_preferences_are_named_by_line(tmp_path: Path, row: Any, told: str) -> None:
    with pytest.raises(UserError) as error:
        read_preferences(write(tmp_path / "pairs.jsonl", [row]), longest=20, length=words)
    assert told in str(error.value)


def test_good_preferences_are_read(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "user", "content": "Hi"}], "chosen": "Hello", "rejected": "No"}
    sides = {side: [{"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")}
    rows = [row, row | {"prompt": "Hi"}, row | sides]
    found = read_preferences(write(tmp_path / "p.jsonl", rows), longest=20, length=words)
    assert found[0] == found[1] == found[2]


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.jsonl", write(tmp_path / "empty.jsonl", [])):
        with pytest.raises(UserError, match=r"cannot be read|is empty"):
            read_chats(path, longest=20, length=words)


@pytest.mark.parametrize("kind", ["jsonl.gz", "json.xz", "jsonl.zst", "parquet", "parquet.gz"])
def test_packed_files_and_parquet_are_read_as_the_plain_ones(tmp_path: Path, kind: str) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "Hi ñ"}, {"role": "assistant", "content": "Hello."}]},
        {"messages": [{"role": "user", "content": "Two?", "weight": 0}, {"role": "assistant", "content": "2"}]},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    plain, packed = tmp_path / "own.jsonl", tmp_path / f"own.{kind}"
    plain.write_text(lines, encoding="utf-8")
    content = lines.encode()
    if "parquet" in kind:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "written")
        content = (tmp_path / "written").read_bytes()
    elif "json." in kind:
        content = json.dumps(rows).encode()
    if kind.endswith("gz"):
        content = gzip.compress(content)
    elif kind.endswith("xz"):
        content = lzma.compress(content)
    elif kind.endswith("zst"):
        content = pa.compress(content, "zstd", asbytes=True)
    packed.write_bytes(content)

    def read(path: Path) -> list[tuple[list[Message], Any]]:
        chats = read_chats(path, longest=99, length=lambda _: 1)
        return [(list(chat), chat.unlearnt) for chat in chats]

    assert read(packed) == read(plain)
    digest = store_copy(packed, tmp_path / "cache")
    assert read(stored_copy(digest, tmp_path / "cache")) == read(plain)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("own.jsonl.gz", b"no gzip", "cannot be unpacked"),
        ("own.jsonl.gz", gzip.compress(b'{"messages": []}' * 99, mtime=0)[:-9], "cannot be unpacked"),
        ("own.parquet", b"PAR1", "is no parquet that can be read"),
        ("own.pdf", b"%PDF", "holds no rows of JSON"),
    ],
)
def test_what_cannot_be_unpacked_is_refused_by_name(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}.*{told}"):
        read_chats(path, longest=99, length=lambda _: 1)
