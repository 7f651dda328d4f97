"""Ollama's `Modelfile` beside a GGUF file: how turns are written, where a reply ends, how words are drawn.

Ollama does not run the chat template in the file: it knows some by heart and passes over others. Its own templates are
Go's; one is made here from what ours writes around turns, and is left out where it could not write the same.
Format: docs/modelfile.md and docs/template.md in ollama/ollama.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayllu.data.origin import read_json_object
from ayllu.lab.progress import say
from ayllu.text.llama3_format import CHAT_TEMPLATE
from ayllu.text.template import FIXED_DAY, render_text
from ayllu.text.tokenizer import Tokenizer

MODELFILE = "Modelfile"
LONGEST = 8192
"""Tokens of context that are asked for: Ollama makes room for all of them at once."""
PARAMETERS = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "repetition_penalty": "repeat_penalty"}
"""Fields of generation_config.json and Ollama's names of them."""
_WORDS = {"system": "ayllusystem", "user": "ayllufirst", "assistant": "aylluanswer"}
_LAST = "ayllulast"


@dataclass(frozen=True, kw_only=True)
class Turns:
    """What a chat template writes around the words of each role, without BOS."""

    around: Mapping[str, tuple[str, str]]
    opening: str
    """Before the first turn where that is not the system's, such as a system message of the template's own."""
    reply: str
    """Before the reply."""

    def text(self, messages: Sequence[Mapping[str, str]]) -> str:
        """What the Go template below writes."""
        said = [self.around[one["role"]][0] + one["content"] + self.around[one["role"]][1] for one in messages]
        opening = self.opening if messages[0]["role"] != "system" else ""
        return opening + "".join(said) + self.reply

    def go(self) -> str:
        """As a template of Go's text/template."""
        first = (
            '{{- if ne (index .Messages 0).Role "system" }}' + _go(self.opening) + "{{ end }}" if self.opening else ""
        )
        cases = [
            f'{{{{ {"else if" if number else "if"} eq .Role "{role}" }}}}{_go(before)}{{{{ .Content }}}}{_go(behind)}'
            for number, (role, (before, behind)) in enumerate(self.around.items())
        ]
        return f"{first}{{{{ range .Messages }}}}{''.join(cases)}{{{{ end }}}}{{{{ end }}}}{_go(self.reply)}"


def _go(text: str) -> str:
    return text.replace("{{", '{{ "{{" }}')


def find_turns(template: str, special: Mapping[str, str]) -> Turns | None:
    """What `template` writes around turns; None where it does more than that."""

    def rendered(*roles: str, reply: bool = False) -> str:
        words = [_WORDS[role] for role in roles]
        if "assistant" in roles and roles[-1] == "user":
            words[-1] = _LAST
        messages = [{"role": role, "content": word} for role, word in zip(roles, words, strict=True)]
        text = render_text(template, messages, special=special, reply=reply, now=FIXED_DAY)
        return text.removeprefix(special.get("bos_token", ""))

    try:
        alone = rendered("user")
        behind_user = alone.split(_WORDS["user"])[1]
        behind_answer = rendered("user", "assistant").split(_WORDS["assistant"])[1]
        whole = rendered("system", "user", "assistant", "user", reply=True)
        before_system, rest = whole.split(_WORDS["system"])
        system_to_user, rest = rest.split(_WORDS["user"])
        user_to_answer, rest = rest.split(_WORDS["assistant"])
        answer_to_user, last = rest.split(_LAST)
        before_user = answer_to_user.removeprefix(behind_answer)
        turns = Turns(
            around={
                "system": (before_system, system_to_user.removesuffix(before_user)),
                "user": (before_user, behind_user),
                "assistant": (user_to_answer.removeprefix(behind_user), behind_answer),
            },
            opening=alone.split(_WORDS["user"])[0].removesuffix(before_user),
            reply=last.removeprefix(behind_user),
        )
        same = all(
            turns.text([{"role": role, "content": _WORDS[role]} for role in roles])
            == rendered(*roles, reply=True).replace(_LAST, _WORDS["user"])
            for roles in (
                ("user",),
                ("system", "user"),
                ("user", "assistant", "user"),
                ("system", "user", "assistant", "user"),
            )
        )
    except (ValueError, IndexError):
        return None
    return turns if same else None


def write_modelfile(place: Path, gguf: str, folder: Path, context: int, licence: str | None) -> None:
    """Write `Modelfile` into `place` for its file `gguf` of the model in `folder`, which holds `context` tokens."""
    tokenizer = Tokenizer.load(folder)
    special = {name: token for name, token in _named(folder).items() if token}
    lines = [f"FROM ./{gguf}"]
    template = CHAT_TEMPLATE if tokenizer.chat_template is None else tokenizer.chat_template
    turns = find_turns(template, special) if template else None
    if not template:
        lines.append('TEMPLATE """{{ .Prompt }}"""')
    elif turns is not None and '"""' not in turns.go():
        lines.append(f'TEMPLATE """{turns.go()}"""')
    else:
        say("the Modelfile has no TEMPLATE: the model's chat template does what Ollama's cannot, which guesses then")
    names = {i: token for token, i in tokenizer.special.items()}
    lines += [f'PARAMETER stop "{names[i]}"' for i in sorted(tokenizer.stops) if i in names]
    lines.append(f"PARAMETER num_ctx {min(context, LONGEST)}")
    lines += _sampling(folder)
    text = (folder / "LICENSE").read_text(encoding="utf-8") if (folder / "LICENSE").is_file() else licence
    if text and '"""' not in text:
        lines.append(f'LICENSE """{text.strip()}"""')
    (place / MODELFILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _sampling(folder: Path) -> list[str]:
    recommended = read_json_object(folder / "generation_config.json")
    if recommended.get("do_sample") is False:
        return ["PARAMETER temperature 0"]
    found = {theirs: recommended.get(ours) for ours, theirs in PARAMETERS.items()}
    return [
        f"PARAMETER {name} {value:g}"
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _named(folder: Path) -> dict[str, str]:
    """`bos_token` and its like of tokenizer_config.json."""
    settings: dict[str, Any] = read_json_object(folder / "tokenizer_config.json")
    found = {name: settings.get(name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    texts = {name: value.get("content") if isinstance(value, dict) else value for name, value in found.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}
