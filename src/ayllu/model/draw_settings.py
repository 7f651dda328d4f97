"""What `generation_config.json` says of a draw, read without torch: values that are none, and what is not done here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

NOT_DONE: dict[str, Any] = {
    "num_beams": 1,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
    "guidance_scale": 1.0,
    "penalty_alpha": 0.0,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "sequence_bias": None,
    "exponential_decay_length_penalty": None,
    "stop_strings": None,
    "num_return_sequences": 1,
    "diversity_penalty": 0.0,
    "encoder_repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "remove_invalid_values": False,
    "token_healing": False,
    "force_words_ids": None,
    "constraints": None,
    "watermarking_config": None,
    "dola_layers": None,
    "top_h": None,
    "max_time": None,
}
"""What transformers can do with a draw and is not done here, each with the value that changes nothing."""
HARMLESS = frozenset(
    {
        *("do_sample", "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "max_length"),
        *("max_new_tokens", "transformers_version", "trust_remote_code"),
        # How it is computed and what is told beside it, but not which tokens come.
        *("use_cache", "cache_implementation", "cache_config", "prefill_chunk_size", "compile_config"),
        *("disable_compile", "low_memory", "return_dict_in_generate", "return_legacy_cache", "renormalize_logits"),
        *("output_attentions", "output_hidden_states", "output_scores", "output_logits", "continuous_batching_config"),
        # Of beams, of which there is one, and of drafts, whose tokens are checked.
        *("early_stopping", "length_penalty", "num_beam_groups", "is_assistant", "num_assistant_tokens"),
        *("num_assistant_tokens_schedule", "assistant_confidence_threshold", "assistant_early_exit"),
        *("assistant_lookbehind", "target_lookbehind", "prompt_lookup_num_tokens", "max_matching_ngram_size"),
    }
)
"""Fields that change no token of a draw here; lengths are each request's to say."""
RANGES: Mapping[str, Callable[[float], bool]] = {
    "temperature": lambda value: value >= 0,
    "top_p": lambda value: 0 < value <= 1,
    "top_k": lambda value: 0 <= value < 2**31 and value == int(value),
    "repetition_penalty": lambda value: 0.01 <= value <= 100,
    "min_p": lambda value: 0 <= value <= 1,
}
"""What is done, and which values it can have: those of `Sampling`."""


def unfit(settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings that cannot be followed, each with one clause that says why."""
    clauses = {}
    for name, fits in RANGES.items():
        value = settings.get(name)
        if value is not None and not (_is_finite(value) and fits(value)):
            clauses[name] = f"{name} is {shown(value)}, which no distribution has"
    for name, nothing in NOT_DONE.items():
        if settings.get(name) not in (None, nothing, [], {}):
            clauses[name] = f"{name} is {shown(settings[name])}, which is not done here"
    for name in sorted(settings.keys() - RANGES.keys() - NOT_DONE.keys() - HARMLESS):
        if not name.startswith("_") and settings[name] not in (None, False, "", [], {}):
            clauses[name] = f"{shown(name)} is {shown(settings[name])}, which is not known here"
    return clauses


def shown(value: Any, longest: int = 100) -> str:
    """A setting as a file says it, but no pages of it."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[:longest]}…"


def _is_finite(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer that no float can be
        return False
