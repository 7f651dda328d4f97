"""Chat templates of the kinds that models bring, written for these tests, and tokenizers that have one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, pre_tokenizers, trainers

MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>", "<|end|>")
REPLY = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
PLAIN = "{% for m in messages %}" + TURN + "{% endfor %}" + REPLY
THOUGHTS_OF_THE_LAST = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% set parts = m.content.split('</think>') %}"
    "{% if m.role == 'assistant' and loop.last %}<think>\n"
    "{{ parts[0].split('<think>')[-1].strip() if parts | length > 1 else '' }}\n</think>\n\n{% endif %}"
    "{{ parts[-1].lstrip('\n') }}<|im_end|>\n{% endfor %}" + REPLY
)
"""As Qwen3's: the last answer has its thoughts, be they empty, and earlier answers have none."""
ENDS_EVERY_TEXT = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
"""As Phi-3's: behind the last turn stands one token more."""
OPENS_THOUGHTS = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] }}"
    "{% if m.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
"""As R1-Distill's: the prompt begins the thoughts of the answer, and no answer in the past has any."""
MARKED = (
    "<|im_start|>{{ messages | length }}<|im_end|>{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}\n"
    "{% endfor %}" + REPLY
)
"""Writes the past anew with each turn, and says which part is the assistant's."""
TOOL_BLOCKS = (
    "{% for tool in tools or [] %}{{ tool | tojson }}\n{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content }}{% for call in m.tool_calls %}{{ '\n' }}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}<|im_end|>\n{% endfor %}" + REPLY
)
"""Calls as Hermes and Qwen2.5 write them."""
TOOL_LIST = TOOL_BLOCKS.replace("{{ '\n' }}<tool_call>\n", "[CALLS] [").replace("\n</tool_call>", "]")
"""A form of its own, as Mistral has one."""

THINKS_FIRST = TOOL_BLOCKS.replace("{{ m.content }}", "{% if m.role == 'assistant' %}<think></think>{% endif %}")


def write_tokenizer(folder: Path, template: Any, *, eos: str = "<|im_end|>", stops: list[int] | None = None) -> Path:
    """A small byte-level tokenizer with `MARKS` and a template, in Hugging Face's files."""
    engine = Engine(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(MARKS), initial_alphabet=alphabet, show_progress=False
    )
    engine.train_from_iterator(["The llama walks."], trainer)
    folder.mkdir(parents=True, exist_ok=True)
    engine.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": MARKS[0], "eos_token": eos, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if stops is not None:
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}))
    return folder
