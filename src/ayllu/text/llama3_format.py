"""Llama 3's text format as data: where text is cut, which special tokens there are, how a conversation is written.

Sources: `llama3/tokenizer.py` and `models/llama3_1/prompt_format.md` ("Llama 3 instruct") in meta-llama/llama-models.
"""

from __future__ import annotations

SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where text is cut before merging (`pat_str`)."""

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
"""Around a document."""
EOT, EOM = "<|eot_id|>", "<|eom_id|>"
"""Ends of a turn, and of a message after which the same turn goes on: it waits for the result of a call."""
HEADER, HEADER_END = "<|start_header_id|>", "<|end_header_id|>"
"""Around the role that speaks."""
PYTHON_TAG = "<|python_tag|>"
"""Before a call of a built-in tool."""
PAD = "<|finetune_right_pad_id|>"

NAMED_SPECIAL = (
    BOS,
    EOS,
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    PAD,
    "<|step_id|>",
    HEADER,
    HEADER_END,
    EOM,
    EOT,
    PYTHON_TAG,
    "<|image|>",
)
"""Llama 3's special tokens in the order of their ids."""

META_SPECIAL = 256
"""Special tokens of Meta's vocabulary, reserved ones included."""
LEARNT_SPECIAL = 16
"""Special tokens of a vocabulary learnt here: a small vocabulary has no room for 256."""


def special_names(count: int) -> list[str]:
    """The first `count` special tokens: the named ones, then reserved ones."""
    reserved = (f"<|reserved_special_token_{i}|>" for i in range(2, count))
    return [*NAMED_SPECIAL, *reserved][:count]


CHAT_TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{%- set role = 'ipython' if message['role'] == 'tool' else message['role'] %}"
    "{{- '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{%- endif %}"
)
"""Gives the text whose ids `render` gives: BOS once, a header before each turn, <|eot_id|> behind it."""
