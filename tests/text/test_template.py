"""Conversations of adopted models: transformers' ids, the assistant's part alone predicted, templates in a sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, pre_tokenizers, trainers

from ayllu.text.calls.parser import parse
from ayllu.text.chat import Message, render, render_masked
from ayllu.text.template import render_text
from ayllu.text.tokenizer import Tokenizer
from ayllu.text.tool_calls import Tool, ToolCall, write_call

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TOOL = Tool(name="get_weather", description="Weather", parameters={"type": "object", "properties": {"city": {}}})
CALL = ToolCall(name="get_weather", arguments={"city": "Paris"})
TURNS = [
    ("user", "What's the weather\n\nin Paris? 🦙 12345"),
    ("assistant", " It is warm.\n"),
    ("user", "And <|im_end|> now?"),
    ("assistant", "日本 <|im_start|>"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small tokenizer of SmolLM2's kind: digits one by one, marks of ChatML, no BOS before texts."""
    path = tmp_path_factory.mktemp("chatml")
    engine = Engine(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    engine.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, initial_alphabet=alphabet)
    engine.train_from_iterator([CHATML, *(text for _, text in TURNS)] * 9, trainer)
    engine.save(str(path / "tokenizer.json"))
    names = {
        "bos_token": special[1],
        "eos_token": {"__type": "AddedToken", "content": special[2]},
        "chat_template": CHATML,
    }
    (path / "tokenizer_config.json").write_text(json.dumps(names))
    return path


@pytest.fixture(scope="module")
def chatml(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


def messages(turns: list[tuple[str, str]]) -> list[Message]:
    return [Message(role=role, content=content) for role, content in turns]


def test_the_marks_of_another_vocabulary(chatml: Tokenizer) -> None:
    assert (chatml.bos, chatml.eos, chatml.eot, chatml.stops) == (0, 0, 2, {0, 2})
    assert chatml.encode("<|im_end|>") != [2]
    assert chatml.decode(chatml.encode("12<|im_end|>")) == "12<|im_end|>"


@pytest.mark.parametrize("reply", [True, False])
def test_transformers_gives_the_same_ids(folder: Path, chatml: Tokenizer, reply: bool) -> None:
    from transformers import AutoTokenizer

    other = AutoTokenizer.from_pretrained(folder)
    turns = [*TURNS[:2], ("tool", "3"), ("user", "x  y")]
    given = [{"role": role, "content": content} for role, content in turns]
    theirs = other.apply_chat_template(given, add_generation_prompt=reply, return_dict=True)["input_ids"]
    assert render(messages(turns), chatml, reply=reply) == theirs


def test_a_message_cannot_end_its_own_turn(chatml: Tokenizer) -> None:
    ids = render(messages(TURNS), chatml, reply=False)
    assert ids.count(2) == ids.count(1) == len(TURNS) + 1
    assert "And <|im_end|> now?" in chatml.decode(ids)


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), st.text()), max_size=5))
def test_exactly_the_assistants_words_and_ends_are_produced(chatml: Tokenizer, turns: list[tuple[str, str]]) -> None:
    turns = [("user", "Hi"), *turns]
    ids, produced = render_masked(messages(turns), chatml)
    assert ids == render(messages(turns), chatml, reply=False)
    spoken = chatml.decode([i for i, p in zip(ids, produced, strict=True) if p], skip_special=False)
    said = [
        content.encode("utf-8", "surrogatepass").decode("utf-8", "replace") for r, content in turns if r == "assistant"
    ]
    # A line break that begins an answer may be one token with the header's: then it is not the assistant's.
    if not any(text[:1].isspace() for text in said):
        assert spoken == "".join(f"{text}<|im_end|>" for text in said)
    assert sum(p and i == chatml.eot for i, p in zip(ids, produced, strict=True)) == len(said)


def test_what_is_predicted_token_by_token(chatml: Tokenizer) -> None:
    ids, produced = render_masked(messages([("user", "Hi"), ("assistant", "Warm."), ("user", "Bye")]), chatml)
    start, end = chatml.special["<|im_start|>"], chatml.eot
    cut = chatml.encode

    def turn(role: str, words: str, *, spoken: bool = False) -> list[tuple[int, bool]]:
        head = [(start, False), *((i, False) for i in cut(f"{role}\n"))]
        return [*head, *((i, spoken) for i in cut(words)), (end, spoken), *((i, False) for i in cut("\n"))]

    expected = turn("system", "You are a helpful AI assistant") + turn("user", "Hi")
    expected += turn("assistant", "Warm.", spoken=True) + turn("user", "Bye")
    assert list(zip(ids, produced, strict=True)) == expected


def test_calls_and_results_in_a_template_that_knows_no_tools(chatml: Tokenizer) -> None:
    asked = [
        Message(role="user", content="Weather?"),
        Message(role="assistant", tool_calls=(CALL, CALL)),
        Message(role="ipython", content='{"degrees": 3}'),
        Message(role="assistant", content="3 degrees."),
    ]
    ids, produced = render_masked(asked, chatml, tools=[TOOL])
    text = chatml.decode(ids, skip_special=False)
    assert json.dumps(TOOL.as_json()) in text
    assert "<|im_start|>tool\n" in text
    first, second, _ = chatml.decode([i for i, p in zip(ids, produced, strict=True) if p], skip_special=False).split(
        "<|im_end|>"
    )
    assert parse(first) == [CALL, CALL]
    assert second == "3 degrees."
    with pytest.raises(ValueError, match="first message of the user"):
        render(asked[1:], chatml, tools=[TOOL])


def test_a_template_that_knows_tools_writes_them_itself(folder: Path, tmp_path: Path) -> None:
    own = (
        "{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% for call in m.tool_calls %}{{ call.function.name }}={{ call.function.arguments | tojson }}{% endfor %}"
        "{% generation %}{{ m.content }}{% endgeneration %}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "chat_template.jinja").write_text(own)
    tokenizer = Tokenizer.load(tmp_path)
    asked = [Message(role="user", content="Hi"), Message(role="assistant", tool_calls=(CALL,))]
    ids, produced = render_masked(asked, tokenizer, tools=[TOOL])
    text = tokenizer.decode(ids, skip_special=False)
    assert text.startswith(json.dumps(TOOL.as_json()) + "\n<|im_start|>user\nHi<|im_end|>")
    spoken = tokenizer.decode([i for i, p in zip(ids, produced, strict=True) if p], skip_special=False)
    assert spoken == 'get_weather={"city": "Paris"}<|im_end|>'


@pytest.mark.parametrize(
    "asks",
    [
        "{% if m.content is none %}CALLS{% else %}SAID{% endif %}",
        "{% if m['content'] is not none %}SAID{% else %}CALLS{% endif %}",
        "{% if m.tool_calls %}CALLS{% else %}SAID{% endif %}",
    ],
)
def test_a_turn_of_calls_alone_is_told_by_having_no_content(folder: Path, tmp_path: Path, asks: str) -> None:
    calls = "{% for call in m.tool_calls %}{{ call.function.name }}={{ call.function.arguments | tojson }}{% endfor %}"
    own = asks.replace("CALLS", calls).replace("SAID", "{{ m.content }}")
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    around = "{% for m in messages %}<|im_start|>{{ m.role }}\n" + own + "<|im_end|>{% endfor %}{{ tools | length }}"
    (tmp_path / "chat_template.jinja").write_text(around)
    turns = [Message(role="user", content="Hi"), Message(role="assistant", tool_calls=(CALL,))]
    tokenizer = Tokenizer.load(tmp_path)
    text = tokenizer.decode(render(turns, tokenizer, tools=[TOOL], reply=False), skip_special=False)
    assert text == '<|im_start|>user\nHi<|im_end|><|im_start|>assistant\nget_weather={"city": "Paris"}<|im_end|>1'


def test_settings_and_template_survive_saving(folder: Path, chatml: Tokenizer, tmp_path: Path) -> None:
    chatml.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert (again.special, again.stops, again.named) == (chatml.special, chatml.stops, chatml.named)
    assert render_masked(messages(TURNS), again) == render_masked(messages(TURNS), chatml)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ ''.__class__.__mro__ }}", "sandbox forbids"),
        ("{{ cycler.__init__.__globals__.os.system('touch /tmp/x') }}", "sandbox forbids"),
        ("{{ messages.append(1) }}", "sandbox forbids"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for x in messages %}", "refuses this"),
        ("{{ messages[7].content }}", "refuses this"),
        ("{{ 1 // 0 }}", "cannot be rendered"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{{ 'x' * 999 }}{% endfor %}{% endfor %}",
            "writes more",
        ),
    ],
)
def test_templates_that_cannot_be_used(template: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as problem:
        render_text(template, [{"role": "user", "content": "Hi"}], special={}, reply=True)
    assert "\n" not in str(problem.value)


def test_a_template_that_rewrites_earlier_turns_has_no_mask(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "chat_template.jinja").write_text("{{ messages | length }}" + CHATML)
    with pytest.raises(ValueError, match="message 2 differently with it"):
        render_masked(messages(TURNS), Tokenizer.load(tmp_path))


def test_a_model_without_a_template_holds_no_conversations(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}')
    with pytest.raises(ValueError, match="no chat template"):
        render([Message(role="user", content="Hi")], Tokenizer.load(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ValueError, match="names no eos_token"):
        Tokenizer.load(tmp_path)


LLAMA_TURNS: list[Message] = [
    Message(role="system", content="Environment: ipython"),
    Message(role="user", content="Search gold"),
    Message(role="assistant", tool_calls=(ToolCall(name="brave_search", arguments={"query": "gold"}),)),
    Message(role="tool", content="42"),
    Message(role="assistant", tool_calls=(CALL,)),
]


def test_llamas_own_format_of_calls_and_results() -> None:
    tokenizer = Tokenizer.learn(["The llama walks."] * 9, 512)
    ids, produced = render_masked(LLAMA_TURNS, tokenizer, tools=[TOOL])
    text = tokenizer.decode(ids, skip_special=False)
    assert json.dumps(TOOL.as_json(), indent=4) + "\n\nSearch gold<|eot_id|>" in text
    assert '<|python_tag|>brave_search.call(query="gold")<|eom_id|>' in text
    assert "<|start_header_id|>ipython<|end_header_id|>\n\n42<|eot_id|>" in text
    spoken: Any = tokenizer.decode([i for i, p in zip(ids, produced, strict=True) if p], skip_special=False)
    first, second = spoken.split("<|eom_id|>")
    assert parse(first) == list(LLAMA_TURNS[2].tool_calls)
    assert second == f"{write_call(CALL)}<|eot_id|>"
    with pytest.raises(ValueError, match="no words"):
        render([Message(role="assistant", content="Wait.", tool_calls=(CALL,))], tokenizer)
