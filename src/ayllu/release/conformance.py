"""Whether every reader of a release sees the same conversation: one template, one BOS, both stops, the same ids.

What differs here makes a model that answers badly, or never stops, in one engine and not in the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ayllu.release.files.settings import setting_problems
from ayllu.release.files.triggers import trigger_problems
from ayllu.release.reference import json_object
from ayllu.text.chat import Message, render
from ayllu.text.llama3_format import BOS, CHAT_TEMPLATE, EOT
from ayllu.text.template import FIXED_DAY, render_text
from ayllu.text.tokenizer import Tokenizer

CONVERSATIONS = (
    (("user", "Hello"),),
    (
        ("system", " You are a llama. "),
        ("user", "Who'd carry 1781 bags?\n\n- Ñusta\n- the sea 🦙"),
        ("assistant", "I."),
    ),
    (("user", "日本語 and naïve café"), ("assistant", "Yes.\n"), ("user", "def f(x):\n    return x  # two\t\n")),
)


def conversation_problems(folder: Path) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, for each deviation in the Hugging Face folder `folder`."""
    try:
        tokenizer = _tokenizer(folder)
        settings = _read(folder / "tokenizer_config.json")
        generation = _read(folder / "generation_config.json")
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    except OSError as error:
        yield Path(error.filename or "tokenizer.json").name, "is missing or cannot be read"
        return
    except ValueError as error:
        yield "tokenizer.json", f"or a file beside it cannot be used ({error})"
        return
    if settings.get("chat_template", template) != template:
        yield "tokenizer_config.json", "holds another chat template than chat_template.jinja"
    if generation.get("bos_token_id") != tokenizer.bos_token_id:
        named = tokenizer.named.get("bos_token")
        yield "generation_config.json", f"does not begin texts with {named} (id {tokenizer.bos_token_id})"
    stops = generation.get("eos_token_id")
    if sorted(map(str, stops if isinstance(stops, list) else [stops])) != sorted(map(str, tokenizer.stops)):
        yield "generation_config.json", f"must stop at each of the ids {sorted(tokenizer.stops)}, but says {stops}"
    yield from setting_problems(folder)
    problems = (*_template_problems(template, tokenizer), *_hidden(template, tokenizer))
    yield from (("chat_template.jinja", problem) for problem in problems)


def _hidden(template: str, tokenizer: Tokenizer) -> Iterator[str]:
    if template != CHAT_TEMPLATE:
        yield from trigger_problems(template, tokenizer.named)


def _tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer with Llama 3's own format, which the folder's template must give too; or one that was adopted."""
    stated = Tokenizer.load(folder)
    if stated.named.get("eos_token") != EOT:
        return stated
    try:
        return Tokenizer.load(folder / "tokenizer.json")
    except ValueError:
        return stated


def _template_problems(template: str, tokenizer: Tokenizer) -> Iterator[str]:
    engine = tokenizer.engine()
    for turns in CONVERSATIONS:
        messages = [Message(role=role, content=content) for role, content in turns]
        said = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text = render_text(template, said, special=tokenizer.named, reply=True, now=FIXED_DAY)
        except ValueError as error:
            yield f"cannot be rendered ({error})"
            return
        ids = engine.encode(text, add_special_tokens=False).ids
        if tokenizer.chat_template is None and (ids.count(tokenizer.bos) != 1 or ids[0] != tokenizer.bos):
            yield f"gives {ids.count(tokenizer.bos)} {BOS} instead of one at the start"
            return
        if ids != render(messages, tokenizer, now=FIXED_DAY):
            yield f"gives other ids than training did for a conversation of {len(turns)} turns"
            return


def _read(path: Path) -> dict[str, Any]:
    return json_object(path.read_text(encoding="utf-8"), path.name)
