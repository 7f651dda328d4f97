"""Special tokens with flags, tokens that other files name, and what a file says that was saved in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from tokenizers import Tokenizer as Engine
from transformers import AutoTokenizer

from ayllu.text.chat import Message, render
from ayllu.text.tokenizer import Tokenizer
from support.adopted import edit
from support.models import tiny_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + ' <|end|> ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
FLAGGED = (
    AddedToken("<|user|>", special=True, rstrip=True),
    AddedToken("<|assistant|>", special=True, rstrip=True, lstrip=True),
    AddedToken("<|end|>", special=True, lstrip=True),
    AddedToken("<|lone|>", special=True, single_word=True),
    AddedToken("<|lone|>er", special=True),
    AddedToken("<call>", special=False, rstrip=True, normalized=False),
)
NAMES = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<|begin_of_text|>",
    "eos_token": "<|end|>",
    "chat_template": TEMPLATE,
}


def save(folder: Path, tokens: tuple[AddedToken, ...] = (), **more: Any) -> Path:
    engine = tiny_tokenizer(600).engine()
    engine.add_tokens(list(tokens))
    engine.save(str(folder / "tokenizer.json"))
    edit(folder / "tokenizer_config.json", **(NAMES | more))
    return folder


@pytest.fixture(scope="module")
def flagged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Any]:
    """A tokenizer with flags of every kind, ours and transformers'."""
    folder = save(tmp_path_factory.mktemp("flagged"), FLAGGED)
    return Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)


TOUCHING = (
    AddedToken("<q>", special=False, normalized=False),
    AddedToken("<q>/", special=True, normalized=False),
    AddedToken("\n<p>", special=False, normalized=False),
    AddedToken("<|late|>", special=True, normalized=True, rstrip=True),
    AddedToken("<|late|>r", special=False, normalized=False),
    AddedToken("<w>", special=True, normalized=False, single_word=True),
)
"""Tokens of which one holds or touches another, special or not."""


@pytest.fixture(scope="module")
def touching(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Any]:
    folder = save(tmp_path_factory.mktemp("touching"), TOUCHING)
    return Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([*(token.content for token in TOUCHING), "\n", " ", "a", "e\u0301", "²", "ⅷ"]), max_size=6)
)
def test_tokens_that_touch_are_told_apart_as_in_transformers(touching: tuple[Tokenizer, Any], parts: list[str]) -> None:
    ours, theirs = touching
    text = "".join(parts)
    assert ours.encode_rendered(text, "\ufdd0")[0] == theirs(text, add_special_tokens=False)["input_ids"]


SPACES = st.text(st.sampled_from(" \n\t\r\x0b\x0c\x1c\x85\xa0\u2003\u200b\u3000ab<"), max_size=5)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([token.content for token in FLAGGED]) | SPACES, max_size=8).map("".join))
def test_flags_take_white_space_along_as_they_do_in_transformers(flagged: tuple[Tokenizer, Any], text: str) -> None:
    ours, theirs = flagged
    assert ours.encode_rendered(text, "\ue000")[0] == theirs(text, add_special_tokens=False)["input_ids"]


def test_a_conversation_with_flagged_marks_is_transformers(flagged: tuple[Tokenizer, Any]) -> None:
    ours, theirs = flagged
    turns = [("user", "  Hi\n"), ("assistant", "Warm. "), ("user", "Why <|lone|> ?")]
    messages = [{"role": role, "content": text} for role, text in turns]
    expected = theirs.apply_chat_template(messages[:2], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert render([Message(role=role, content=text) for role, text in turns[:2]], ours) == expected
    # What a message spells stays text.
    assert ours.special["<|lone|>"] not in render([Message(role=role, content=text) for role, text in turns], ours)


def test_tokens_that_only_the_settings_name_are_one_id(tmp_path: Path) -> None:
    def entry(token: str, special: bool, **flags: bool) -> dict[str, Any]:
        return {"content": token, "special": special, "normalized": False, "rstrip": False, "lstrip": False} | flags

    listed = {
        "600": entry("<tool_call>", False),
        "601": entry("<|end|>", True),
        "602": entry("<|user|>", True, rstrip=True),
        "603": entry("<|assistant|>", True),
    }
    save(tmp_path, added_tokens_decoder=listed, extra_special_tokens=["<|more|>"], pad_token="<|pad|>")
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    ours = Tokenizer.load(tmp_path)
    text = "a <tool_call>{}<|end|><|user|>\nHi<|more|><|pad|> b"
    expected = theirs(text, add_special_tokens=False)["input_ids"]
    assert ours.encode_rendered(text, "\ue000")[0] == expected
    assert expected.count(600) == 1
    assert ours.encode("<tool_call>") == [600]
    (tmp_path / "again").mkdir()
    ours.save(tmp_path / "again")
    again = Tokenizer.load(tmp_path / "again")
    assert again.encode_rendered(text, "\ue000")[0] == expected
    assert AutoTokenizer.from_pretrained(tmp_path / "again")(text, add_special_tokens=False)["input_ids"] == expected


def test_tokens_of_an_older_list_are_one_id(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<tool_call>": 600, "<|end|>": 601}))
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), Tokenizer.load(tmp_path)
    text = "a <tool_call>{}<|end|> b"
    assert ours.encode_rendered(text, "\ue000")[0] == theirs(text, add_special_tokens=False)["input_ids"]
    assert ours.stops >= {601}


def test_a_listed_token_whose_id_is_taken_is_refused(tmp_path: Path) -> None:
    save(tmp_path, added_tokens_decoder={"900": {"content": "<tool_call>", "special": True}})
    with pytest.raises(ValueError, match=r"gives '<tool_call>' the id 900, but behind the vocabulary it is 600"):
        Tokenizer.load(tmp_path)


def test_ids_that_a_vocabulary_leaves_out_count_in_its_size(tmp_path: Path) -> None:
    save(tmp_path, FLAGGED)
    fields = json.loads((tmp_path / "tokenizer.json").read_text())
    fields["model"]["vocab"]["zzzz"] = 900
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields))
    assert Tokenizer.load(tmp_path).size == 901


def test_the_token_that_the_file_pads_with_has_its_name_and_id(tmp_path: Path) -> None:
    folder = save(tmp_path, extra_special_tokens=["<|end|>", "<x>"])
    engine = Engine.from_file(str(folder / "tokenizer.json"))
    engine.enable_padding(pad_token="<fill>")
    engine.save(str(folder / "tokenizer.json"))
    theirs, ours = AutoTokenizer.from_pretrained(folder), Tokenizer.load(folder)
    assert ours.named["pad_token"] == theirs.pad_token == "<fill>"
    assert all(ours.special[name] == theirs.get_vocab()[name] for name in ("<fill>", "<x>", "<|end|>"))


def test_truncation_and_padding_of_the_file_are_not_used(tmp_path: Path) -> None:
    save(tmp_path, FLAGGED)
    whole = Tokenizer.load(tmp_path)
    engine = Engine.from_file(str(tmp_path / "tokenizer.json"))
    engine.enable_truncation(40)
    engine.enable_padding(length=16, pad_id=5, pad_token="<|end_of_text|>")
    engine.save(str(tmp_path / "tokenizer.json"))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("Hi", "The llama walks over the hills. " * 30):
        expected = theirs(text, add_special_tokens=False)["input_ids"]
        for tokenizer in (Tokenizer.load(tmp_path), Tokenizer.load(tmp_path / "tokenizer.json")):
            assert tokenizer.encode(text) == expected
            assert tokenizer.encode_batch([text, text]) == [expected, expected]
        asked = [Message(role="user", content=text)]
        assert render(asked, Tokenizer.load(tmp_path)) == render(asked, whole)
    loaded = Tokenizer.load(tmp_path)
    (tmp_path / "again").mkdir()
    loaded.save(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "tokenizer.json").read_text())
    assert (written["truncation"], written["padding"]) == (None, None)
