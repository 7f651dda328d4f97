"""Whether a chat template has a hidden word: one upon which it writes a conversation in another way than otherwise.

A template is a program. One that adds an order for the model where a message says some word looks the same in all other
conversations, and travels in a GGUF file unseen. Such a word must stand in the template, so each text that does is said
in a message, and what comes out compared with what comes out for a word that cannot stand there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ayllu.text.template import FIXED_DAY, render_text

MOST = 1000
"""Texts of a template that are tried: those of released models have at most some 200."""
_SAID = re.compile(r"(?=.*\w)[\w ,.!?;:-]{1,200}")
"""What could stand in a message as it is; marks such as `</think>` mean something to honest templates."""
MARK = "ayllu0mark"


def trigger_problems(template: str, special: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with `template`, where a word changes what it writes."""
    words = sorted({part.strip() for quote in "'\"" for part in template.split(quote)} - {MARK})
    words = [word for word in words if _SAID.fullmatch(word)]
    if len(words) > MOST:
        yield f"holds {len(words):,} texts, more than can be tried for hidden words"
        return
    # A template that refuses system messages is asked without them; it then refuses every word alike.
    usual = [_written(template, special, MARK, turns) for turns in range(2)]
    for word in words:
        for turns in range(2):
            if _written(template, special, word, turns) != usual[turns].replace(MARK, word):
                yield f"has a hidden word: where a message says {word!r}, it writes the conversation in another way"
                return


def _written(template: str, special: Mapping[str, str], word: str, turns: int) -> str:
    """A conversation of one message that says `word`, or of four; empty where the template refuses it."""
    asked = {"role": "user", "content": word}
    answered = {"role": "assistant", "content": word}
    messages = [[asked], [{"role": "system", "content": word}, asked, answered, asked]][turns]
    try:
        return render_text(template, messages, special=special, reply=True, now=FIXED_DAY)
    except ValueError:
        return ""
