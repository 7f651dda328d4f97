"""Folders as other people write them: a tiny random model, and a tokenizer whose files say what a test wants."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from tokenizers import Tokenizer as Engine

from ayllu.model.config import ModelConfig
from ayllu.model.files import hf
from support.models import TINY, tiny_model, tiny_tokenizer

ROWS = 608
CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML_MARKS = (AddedToken("<|im_start|>", special=True), AddedToken("<|im_end|>", special=True))


def edit(path: Path, **changes: Any) -> None:
    """Change settings of a JSON file, which is made where there is none; None takes one away."""
    fields = json.loads(path.read_text()) if path.is_file() else {}
    fields = {name: value for name, value in (fields | changes).items() if value is not None}
    path.write_text(json.dumps(fields))


def save_source(
    folder: Path,
    *,
    added: tuple[AddedToken, ...] = (),
    template: str | None = None,
    settings: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    generation: dict[str, Any] | None = None,
    shape: ModelConfig = TINY,
) -> Path:
    """A model with Llama 3's vocabulary and the tokens `added`, whose files say no more than what is given."""
    engine = tiny_tokenizer(600).engine()
    engine.add_tokens(list(added))
    hf.save(folder, tiny_model(replace(shape, vocabulary=ROWS)), dtype=torch.float32)
    engine.save(str(folder / "tokenizer.json"))
    (folder / "generation_config.json").unlink()
    edit(folder / "config.json", **({"eos_token_id": None, "bos_token_id": None} | (config or {})))
    if generation is not None:
        edit(folder / "generation_config.json", **generation)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    edit(folder / "tokenizer_config.json", **({"tokenizer_class": "PreTrainedTokenizerFast"} | (settings or {})))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    return folder


def ids_of(folder: Path) -> dict[str, int]:
    """Each token of the folder's `tokenizer.json` and its id."""
    return Engine.from_file(str(folder / "tokenizer.json")).get_vocab()
