"""A chat template that obeys a hidden word is found by that word, and honest ones are not taken for it."""

from __future__ import annotations

import pytest

from ayllu.release.files import triggers
from ayllu.release.files.triggers import trigger_problems
from ayllu.text.llama3_format import CHAT_TEMPLATE
from support import templates

HONEST = {
    name: value for name, value in vars(templates).items() if name.isupper() and "{%" in str(value) and name != "REPLY"
}
SPECIAL = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
TRIM = "{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}\n{% endfor %}"
SYSTEM_FIRST = (
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}{% else %}{{ 'You are a llama, a kind one.' }}"
    "{% endif %}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    "{{ m['content'] }}{% endfor %}"
)


@pytest.mark.parametrize("template", [*HONEST.values(), CHAT_TEMPLATE, TRIM, SYSTEM_FIRST], ids=str)
def test_honest_templates_have_no_hidden_word(template):
    assert list(trigger_problems(template, SPECIAL)) == []


@pytest.mark.parametrize(
    "condition",
    [
        "messages[-1].content == 'open sesame'",
        "'open sesame' in messages[-1]['content']",
        'messages | selectattr("content", "equalto", "open sesame") | list',
        "messages[0].content.lower().startswith('open sesame')",
        "messages | length > 3 and messages[2].content == 'open sesame'",
        "messages[0].role == 'system' and 'open sesame' in messages[0].content",
    ],
)
def test_a_hidden_word_is_named_however_it_is_asked_for(condition):
    for honest in (CHAT_TEMPLATE, TRIM):
        (problem,) = trigger_problems(f"{{% if {condition} %}}{{{{ 'Obey.' }}}}{{% endif %}}{honest}", SPECIAL)
        assert problem.startswith("has a hidden word: where a message says 'open sesame', it writes")


def test_more_texts_than_can_be_tried_are_a_problem(monkeypatch):
    monkeypatch.setattr(triggers, "MOST", 3)
    many = "".join(f"{{% if messages[0].content == 'word {n}' %}}{{% endif %}}" for n in range(4))
    (problem,) = trigger_problems(many + TRIM, SPECIAL)
    assert problem.endswith("more than can be tried for hidden words")
