"""A chat template is a program of others: it gets so much time, memory and room, a date, and no more."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from ayllu.text import template as module
from ayllu.text.chat import Message, render, render_masked
from ayllu.text.template import FIXED_DAY, Limits, knows_tools, render_text
from ayllu.text.tokenizer import Tokenizer
from support.templates import PLAIN, write_tokenizer

ASKED = [{"role": "user", "content": "Hi"}]


def rendered(template: str, limits: Limits = module.LIMITS) -> str:
    return render_text(template, ASKED, special={}, reply=True, limits=limits)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}", "takes longer than 1 seconds"),
        ("{% for i in range(200) %}{{ 'word ' * 100 }}{% endfor %}", r"writes more than 50,000 characters"),
        ("{{ ('x' * 400000000) | length }}", "more memory"),
        ("{{ ('x' | center(400000000)) | length }}", "more memory"),
        ("{{ ('%400000000d' % 1) | length }}", "more memory"),
        (
            "{% set n = namespace(x='xy' * 999) %}{% for i in range(30) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            "memory",
        ),
        ("{# " + "x" * 20_000 + " #}", "has 20,006 characters; at most 10,000"),
        ("{% if 1 %}" * 400 + "{% endif %}" * 400, "nested too deeply"),
        ("{% for i in messages %}" * 25 + "{% endfor %}" * 25, "cannot be rendered"),
    ],
)
def test_what_a_template_takes_is_bounded(template: str, said: str) -> None:
    assert rendered("{{ messages[0].content }}") == "Hi"
    limits = Limits(memory=256 << 20, characters=50_000, template=10_000)
    rendered("ready", limits)
    if said.startswith("takes longer"):  # only here: a busy machine is slow with the others too
        limits = replace(limits, seconds=1)
    with pytest.raises(ValueError, match=said) as problem:
        rendered(template, limits)
    assert "\n" not in str(problem.value)
    after = rendered("{{ messages[0].content }}", replace(limits, seconds=10))
    assert after == "Hi", "the next one is rendered as ever"


def test_what_a_template_says_is_told_in_printable_characters() -> None:
    with pytest.raises(ValueError, match="refuses this") as problem:
        rendered("{{ raise_exception('\x1b[31mverified\x1b[0m ' * 99) }}")
    assert str(problem.value).isprintable()
    assert len(str(problem.value)) < 400


def test_a_renderer_that_was_ended_is_started_again() -> None:
    assert rendered("one") == "one"
    (worker,) = [worker for worker in module._WORKERS.values() if worker._memory == module.LIMITS.memory]
    process = worker._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert rendered("two") == "two"


def test_the_sandbox_is_transformers() -> None:
    assert (
        rendered("{% set n = namespace(a=1) %}{% set n.b = 2 %}{{ n.a + n.b }}{{ {'a': '<é>'} | tojson }}")
        == '3{"a": "<é>"}'
    )
    with pytest.raises(ValueError, match="sandbox forbids"):
        rendered("{% set n = namespace() %}{% set n._x = 1 %}")
    assert knows_tools("{{ tools }}")
    assert not knows_tools("{% for tool in messages %}{% endfor %}")


def test_a_template_that_asks_for_the_date_gets_it(tmp_path: Path) -> None:
    """Without a guard too. A conversation that is learnt has one date on every day."""
    from transformers import AutoTokenizer

    write_tokenizer(tmp_path, "{{ strftime_now('%Y-%m-%d') }} " + PLAIN)
    tokenizer = Tokenizer.load(tmp_path)
    asked = [Message(role="user", content="Hi"), Message(role="assistant", content="Oh")]
    given = [{"role": message.role, "content": message.content} for message in asked]
    theirs = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(given, return_dict=True)["input_ids"]
    assert render(asked, tokenizer, reply=False) == theirs
    first = tokenizer.decode(render_masked(asked, tokenizer)[0]).split()[0]
    assert datetime.fromisoformat(first) == FIXED_DAY
    assert re.match("2001-02-03 ", tokenizer.decode(render(asked, tokenizer, now=datetime(2001, 2, 3))))
