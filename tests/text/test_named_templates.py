"""A model with several named templates: with tools it is asked by the one called `tool_use`, as transformers does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ayllu.model.files import gguf, hf
from ayllu.model.files.vocabulary import read_vocabulary, write_vocabulary
from ayllu.release.exports.export import export_model
from ayllu.text.chat import Message, render
from ayllu.text.tokenizer import Tokenizer
from ayllu.text.tool_calls import Tool
from support.models import TINY, tiny_model
from support.templates import PLAIN, TOOL_BLOCKS, write_tokenizer

TOOL = Tool(name="look", description="Look", parameters={"type": "object", "properties": {"at": {"type": "string"}}})
ASKED = [Message(role="user", content="Look")]
NAMED = [{"name": "default", "template": PLAIN}, {"name": "tool_use", "template": TOOL_BLOCKS}]


def rendered(folder: Path) -> list[str]:
    tokenizer = Tokenizer.load(folder)
    return [tokenizer.decode(render(ASKED, tokenizer, tools=tools), skip_special=False) for tools in ((), (TOOL,))]


def test_the_template_for_tools_is_used_and_kept(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    write_tokenizer(tmp_path / "given", NAMED)
    found = rendered(tmp_path / "given")
    Tokenizer.load(tmp_path / "given").save(tmp_path)
    assert rendered(tmp_path) == found
    asked = [{"role": "user", "content": "Look"}]
    for folder in (tmp_path / "given", tmp_path):
        other = AutoTokenizer.from_pretrained(folder)
        theirs = [
            other.apply_chat_template(asked, tools=tools, add_generation_prompt=True, tokenize=False)
            for tools in (None, [TOOL.as_json()])
        ]
        assert theirs == found


def test_templates_by_name_are_those_of_the_list(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    write_tokenizer(tmp_path / "list", NAMED)
    write_tokenizer(tmp_path / "object", {entry["name"]: entry["template"] for entry in NAMED})
    assert rendered(tmp_path / "object") == rendered(tmp_path / "list")
    other = AutoTokenizer.from_pretrained(tmp_path / "object")
    assert other.get_chat_template(tools=[TOOL.as_json()]) == TOOL_BLOCKS


@pytest.mark.parametrize("stated", [7, ["x"], [{"name": "default"}], {"default": None}, [{"template": PLAIN}], True])
def test_templates_that_are_none_are_refused(tmp_path: Path, stated: Any) -> None:
    write_tokenizer(tmp_path, stated)
    with pytest.raises(ValueError, match="chat_template that is no text and no list"):
        Tokenizer.load(tmp_path)


def test_gguf_files_hold_it_too(tmp_path: Path) -> None:
    Tokenizer.load(write_tokenizer(tmp_path / "given", NAMED)).save(tmp_path)
    gguf.write(tmp_path / "m.gguf", tiny_model(), tmp_path, dtype="F32", name="m", licence="mit")
    back = gguf.read(tmp_path / "m.gguf").vocabulary
    assert back == read_vocabulary(tmp_path, TINY.vocabulary)
    assert back.named_templates == {"tool_use": TOOL_BLOCKS}
    (tmp_path / "back").mkdir()
    write_vocabulary(tmp_path / "back", back)
    assert rendered(tmp_path / "back") == rendered(tmp_path)


@pytest.mark.parametrize("place", ["a list", "a processor's file"])
def test_the_templates_of_a_folder_of_others_are_exported(tmp_path: Path, place: str) -> None:
    hf.save(tmp_path, tiny_model())
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    write_tokenizer(tmp_path, NAMED if place == "a list" else None)
    if place != "a list":
        (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": PLAIN}))
    export_model(tmp_path, "gguf", tmp_path / "out")
    vocabulary = gguf.read(next((tmp_path / "out").glob("*.gguf"))).vocabulary
    assert vocabulary.chat_template == PLAIN
    assert vocabulary.named_templates == ({"tool_use": TOOL_BLOCKS} if place == "a list" else {})


def test_a_name_that_is_a_path_is_refused(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, [*NAMED, {"name": "../up", "template": PLAIN}])
    with pytest.raises(ValueError, match=r"names a chat template '\.\./up'"):
        Tokenizer.load(tmp_path)


def test_a_template_of_an_older_processor_counts_where_there_is_no_other(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, None)
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": PLAIN}))
    assert Tokenizer.load(tmp_path).chat_template == PLAIN
    (tmp_path / "chat_template.jinja").write_text(TOOL_BLOCKS)
    assert Tokenizer.load(tmp_path).chat_template == TOOL_BLOCKS


def test_a_template_that_is_no_text_is_named(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, None)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xe9" + PLAIN.encode())
    with pytest.raises(ValueError, match=r"chat_template\.jinja is not UTF-8 text"):
        Tokenizer.load(tmp_path)
