"""What is learnt of a conversation that a template writes: transformers' ids and marks, each turn as it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ayllu.text.chat import Message, render, render_examples, render_masked
from ayllu.text.tokenizer import Tokenizer
from ayllu.text.tool_calls import Tool, ToolCall
from support.templates import (
    ENDS_EVERY_TEXT,
    MARKED,
    OPENS_THOUGHTS,
    PLAIN,
    THOUGHTS_OF_THE_LAST,
    TOOL_BLOCKS,
    write_tokenizer,
)

TURNS = [("user", "Who?"), ("assistant", "We <|end|> all."), ("user", "Why?"), ("assistant", "For you.")]
THINKING = [("user", "Who?"), ("assistant", "<think>\nHm.\n</think>\n\nWe."), ("user", "Why?"), ("assistant", "So.")]
TOOL = Tool(name="look", description="Look", parameters={"type": "object", "properties": {"at": {"type": "string"}}})
CALL = ToolCall(name="look", arguments={"at": "Lima"})


def messages(turns: list[tuple[str, str]]) -> list[Message]:
    return [Message(role=role, content=content) for role, content in turns]


def learnt(tokenizer: Tokenizer, turns: list[Message], **more: Any) -> list[tuple[str, str]]:
    """Each example: what stands before the first produced id, and what is produced."""
    found = []
    for ids, produced in render_examples(turns, tokenizer, **more):
        first = produced.index(True)
        spoken = [i for i, p in zip(ids, produced, strict=True) if p]
        found.append((tokenizer.decode(ids[:first], skip_special=False), tokenizer.decode(spoken, skip_special=False)))
    return found


@pytest.mark.parametrize("template", [PLAIN, THOUGHTS_OF_THE_LAST, ENDS_EVERY_TEXT, OPENS_THOUGHTS, MARKED])
def test_a_whole_conversation_has_transformers_ids(template: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    write_tokenizer(tmp_path, template)
    turns = [("user", "Who?"), ("assistant", "We."), ("user", "Why?"), ("assistant", "For you.")]
    given = [{"role": role, "content": content} for role, content in turns]
    other = AutoTokenizer.from_pretrained(tmp_path)
    theirs = other.apply_chat_template(given, return_dict=True)["input_ids"]
    tokenizer = Tokenizer.load(tmp_path)
    assert render_masked(messages(turns), tokenizer)[0] == theirs == render(messages(turns), tokenizer, reply=False)


def test_a_template_that_writes_past_turns_in_another_way_teaches_each_turn_as_it_is_asked(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(write_tokenizer(tmp_path, THOUGHTS_OF_THE_LAST))
    found = learnt(tokenizer, messages(THINKING))
    prompts = [
        tokenizer.decode(render(messages(THINKING[:n]), tokenizer, reply=True), skip_special=False) for n in (1, 3)
    ]
    answers = ["<think>\nHm.\n</think>\n\nWe.<|im_end|>", "<think>\n\n</think>\n\nSo.<|im_end|>"]
    assert found == list(zip(prompts, answers, strict=True))


def test_a_prompt_that_opens_thoughts_is_followed_by_them(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(write_tokenizer(tmp_path, OPENS_THOUGHTS, eos="<|end|>"))
    first, second = learnt(tokenizer, messages([*THINKING[:3], ("assistant", "<think>\nOh.</think>So.")]))
    assert first == ("<|user|>Who?<|assistant|><think>\n", "Hm.\n</think>\n\nWe.<|end|>")
    assert second == (
        "<|user|>Who?<|assistant|>\n\nWe.<|end|><|user|>Why?<|assistant|><think>\n",
        "Oh.</think>So.<|end|>",
    )
    ((_, spoken),) = learnt(tokenizer, messages(TURNS))
    assert spoken == "We <|end|> all.<|end|>For you.<|end|>"


@pytest.mark.parametrize(("stops", "count"), [([0, 5], 1), (None, 2)])
def test_what_a_template_puts_behind_the_last_turn_hides_no_earlier_one(
    stops: list[int] | None, count: int, tmp_path: Path
) -> None:
    tokenizer = Tokenizer.load(write_tokenizer(tmp_path, ENDS_EVERY_TEXT, eos="<|endoftext|>", stops=stops))
    found = learnt(tokenizer, messages([("user", "Who?"), ("assistant", "We."), *TURNS[2:]]))
    assert len(found) == count
    spoken = "".join(produced for _, produced in found)
    assert spoken.replace("\n<|endoftext|>", "") == "We.<|end|>For you.<|end|>"


def test_marks_of_what_is_generated_are_exactly_transformers_mask(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    write_tokenizer(tmp_path, MARKED)
    given = [{"role": role, "content": content.replace("<|end|>", "")} for role, content in TURNS]
    theirs = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(
        given, return_dict=True, return_assistant_tokens_mask=True
    )
    tokenizer = Tokenizer.load(tmp_path)
    ids, produced = render_masked([Message(**turn) for turn in given], tokenizer)
    assert ids == theirs["input_ids"]
    assert produced == [bool(p) for p in theirs["assistant_masks"]]


@pytest.mark.parametrize("template", [PLAIN, THOUGHTS_OF_THE_LAST, MARKED, None])
def test_a_turn_that_is_not_to_be_learnt_stands_there_unpredicted(template: str | None, tmp_path: Path) -> None:
    if template is None:
        tokenizer = Tokenizer.learn(["The llama walks."] * 9, 512)
    else:
        tokenizer = Tokenizer.load(write_tokenizer(tmp_path, template))
    ((before, spoken),) = learnt(tokenizer, messages(TURNS), unlearnt={1})
    assert "We <|end|> all." in before
    assert spoken.endswith(("For you.<|im_end|>", "For you.<|eot_id|>"))
    assert "We" not in spoken


def test_words_and_calls_of_one_turn_are_both_learnt_or_refused(tmp_path: Path) -> None:
    asked = [Message(role="user", content="Look"), Message(role="assistant", content="I look.", tool_calls=(CALL,))]
    tokenizer = Tokenizer.load(write_tokenizer(tmp_path / "blocks", TOOL_BLOCKS))
    ((_, spoken),) = learnt(tokenizer, asked, tools=[TOOL])
    assert spoken == 'I look.\n<tool_call>\n{"name": "look", "arguments": {"at": "Lima"}}\n</tool_call><|im_end|>'
    drops = TOOL_BLOCKS.replace("{{ m.content }}", "{{ '' if m.tool_calls else m.content }}")
    for template, said in ((PLAIN, "no words"), (drops, "leaves out words of message 2")):
        tokenizer = Tokenizer.load(write_tokenizer(tmp_path / said, template))
        with pytest.raises(ValueError, match=said):
            render_examples(asked, tokenizer, tools=[TOOL])
    called = [asked[0], Message(role="assistant", tool_calls=(CALL,))]
    past = TOOL_BLOCKS.replace("in m.tool_calls %}", "in ([] if loop.last else m.tool_calls) %}")
    tokenizer = Tokenizer.load(write_tokenizer(tmp_path / "past", past))
    with pytest.raises(ValueError, match="leaves out the calls of message 2"):
        render_examples(called, tokenizer, tools=[TOOL])
    # One that asks for tools and writes nothing of them knows none: it is told of them, and its calls are words.
    tokenizer = Tokenizer.load(write_tokenizer(tmp_path / "silent", "{% if tools %}{% endif %}" + PLAIN))
    ((told, spoken),) = learnt(tokenizer, called, tools=[TOOL])
    assert '"name": "look"' in told
    assert spoken == '{"name": "look", "parameters": {"at": "Lima"}}<|im_end|>'
