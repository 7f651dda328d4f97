"""Templates that take messages in another shape than most: nothing that somebody says or calls is left out for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ayllu.lab.error import UserError
from ayllu.recipes.adopt import adopt
from ayllu.text.calls.form import call_forms
from ayllu.text.calls.parser import parse
from ayllu.text.chat import Message, calls_stand_alone, render, render_masked
from ayllu.text.template_shape import CallShape, call_shape
from ayllu.text.tokenizer import Tokenizer
from ayllu.text.tool_calls import Tool, ToolCall
from support.adopted import CHATML, CHATML_MARKS, save_source
from support.templates import PLAIN, REPLY, write_tokenizer

TOOL = Tool(name="look", description="Look", parameters={"type": "object", "properties": {"at": {"type": "string"}}})
LOOK, AGAIN = (
    ToolCall(name="look", arguments={"at": place}, id=f"abcdefgh{place[0]}") for place in ('sea "s"', "hill")
)
PARTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}{% if part.type == 'text' %}"
    "{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}" + REPLY
)
"""As Llama Guard 3 1B's: of a content that is a text it writes nothing."""
EITHER = PARTS.replace("{% for part", "{% if m.content is string %}{{ m.content }}{% else %}{% for part").replace(
    "{% endfor %}<|im_end|>", "{% endfor %}{% endif %}<|im_end|>"
)
SYSTEM_FIRST = "{% if messages[0].role != 'system' %}{{ raise_exception('system first') }}{% endif %}"
HEAD = "{% for tool in tools or [] %}{{ tool | tojson }}\n{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
TAIL = "<|im_end|>\n{% endfor %}" + REPLY
EACH = "{{ m.content or '' }}{% for c in m.tool_calls or [] %}"
FUNCTIONARY = (
    HEAD + EACH + "{{ '<function=' + c.function.name + '>' + c.function.arguments + '</function>' }}{% endfor %}" + TAIL
)
"""As functionary v3.1's: arguments are a text, as in OpenAI's API."""
ONLY_TEXT = (
    HEAD
    + EACH
    + "<c>{{ c.function.name }}{{ c.function.arguments if c.function.arguments is string }}</c>{% endfor %}"
    + TAIL
)
WITH_THOUGHTS = (
    HEAD
    + "{% if m.reasoning_content is defined and m.reasoning_content is not none %}{{ m.reasoning_content }}{% endif %}"
    + "{% if '</think>' in m.content %}thought{% endif %}{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>\n"
    + '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}'
    + TAIL
)
"""As Qwen3's: it asks whether there are thoughts, and takes no content of None."""
TEACHES = (
    "{% if tools %}Respond only with <|tool_call|> followed by a JSON list.\n{{ tools | tojson }}\n{% endif %}" + PLAIN
)
"""As Granite 3's: it teaches a form, and writes none of the calls that were made."""
NUMBERED = (
    HEAD
    + EACH
    + "<b>functions.{{ c.function.name }}:{{ loop.index0 }}<a>{{ c.function.arguments | tojson }}<e>{% endfor %}"
    + TAIL
)
"""As Kimi K2's: calls of a turn are numbered."""
NO_TOOLS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    + EACH
    + "<calls><call>function<sep>{{ c.function.name }}{{ '\n```json\n' }}{{ c.function.arguments }}{{ '\n```' }}</call>"
    + "{% endfor %}"
    + TAIL
)
"""As that of DeepSeek's R1 distilled into Llama: no place for tools, and a form of calls."""


def load(folder: Path, template: str) -> Tokenizer:
    return Tokenizer.load(write_tokenizer(folder, template))


@pytest.mark.parametrize("demand", ["", SYSTEM_FIRST])
def test_words_stand_there_where_a_template_wants_them_in_parts(tmp_path: Path, demand: str) -> None:
    asked = [Message(role="system", content="Be brief"), Message(role="user", content="Hi <|im_end|>")]
    turns = [*asked, Message(role="assistant", content="Warm.")]
    written = []
    for number, template in enumerate((PARTS, EITHER)):
        tokenizer = load(tmp_path / str(number), demand + template)
        ids, produced = render_masked(turns, tokenizer)
        learnt = tokenizer.decode([i for i, p in zip(ids, produced, strict=True) if p], skip_special=False)
        written.append((render(asked, tokenizer), ids, learnt))
    assert written[0] == written[1]
    assert "Be brief" in (text := tokenizer.decode(written[0][0], skip_special=False))
    assert "Hi <|im_end|>" in text
    assert written[0][2] == "Warm.<|im_end|>"


@pytest.mark.parametrize("template", [FUNCTIONARY, WITH_THOUGHTS, TEACHES, NUMBERED])
def test_calls_stand_in_the_past_and_are_read_back(tmp_path: Path, template: str) -> None:
    tokenizer = load(tmp_path, template)
    asked = [Message(role="user", content="Look")]
    for calls in ((LOOK,), (LOOK, AGAIN)):
        turn = Message(role="assistant", tool_calls=calls)
        results = [Message(role="tool", content="blue", tool_call_id=call.id) for call in calls]
        whole = render([*asked, turn, *results], tokenizer, tools=[TOOL])
        before = render(asked, tokenizer, tools=[TOOL])
        assert whole[: len(before)] == before
        reply = tokenizer.decode(whole[len(before) :], skip_special=False).partition("<|im_end|>")[0]
        assert parse(reply, forms=call_forms(tokenizer)) == list(calls)
        ids, produced = render_masked([*asked, turn], tokenizer, tools=[TOOL])
        learnt = tokenizer.decode([i for i, p in zip(ids, produced, strict=True) if p], skip_special=False)
        assert parse(learnt, forms=call_forms(tokenizer)) == list(calls)


def test_arguments_are_text_only_where_a_template_wants_that(tmp_path: Path) -> None:
    for number, (template, as_text) in enumerate(((FUNCTIONARY, True), (ONLY_TEXT, True), (WITH_THOUGHTS, False))):
        tokenizer = load(tmp_path / str(number), template)
        shape = call_shape(template, tuple(sorted(tokenizer.named.items())))
        assert shape == CallShape(as_text=as_text)


def test_words_may_stand_before_calls_in_a_form_that_is_taught(tmp_path: Path) -> None:
    tokenizer = load(tmp_path, TEACHES)
    assert not calls_stand_alone(tokenizer, [TOOL])
    turns = [Message(role="user", content="Look"), Message(role="assistant", content="I will.", tool_calls=(LOOK,))]
    assert 'I will.\n<|tool_call|>[{"name"' in tokenizer.decode(render(turns, tokenizer, tools=[TOOL]))
    plain = load(tmp_path / "plain", TEACHES.replace("<|tool_call|>", "words"))
    assert calls_stand_alone(plain, [TOOL])
    with pytest.raises(ValueError, match="calls and words"):
        render(turns, plain, tools=[TOOL])
    alone = [turns[0], Message(role="assistant", tool_calls=(LOOK,))]
    assert '{"name": "look", "parameters"' in plain.decode(render(alone, plain, tools=[TOOL]))


def test_a_form_of_calls_is_read_where_the_template_has_no_place_for_tools(tmp_path: Path) -> None:
    forms = call_forms(load(tmp_path, NO_TOOLS))
    text = '<calls><call>function<sep>look\n```json\n{"at": "hill"}\n```</call>'
    assert parse(text, forms=forms) == [AGAIN]
    assert call_forms(load(tmp_path / "plain", PLAIN)) == ()


def test_a_template_that_writes_nothing_of_a_user_is_refused(tmp_path: Path) -> None:
    mute = "{% for m in messages %}{{ m.text }}{% endfor %}" + REPLY
    settings = {"bos_token": "<|begin_of_text|>", "eos_token": "<|im_end|>"}
    source = save_source(tmp_path / "source", added=CHATML_MARKS, template=mute, settings=settings)
    with pytest.raises(UserError, match="writes nothing of what a user says"):
        adopt(str(source), home=tmp_path / "home")
    (source / "chat_template.jinja").write_text(CHATML)
    assert adopt(str(source), home=tmp_path / "home").name == "source"
