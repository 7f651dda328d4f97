"""The hazards by which requests and answers are sorted: the fourteen codes that Llama Guard 3 takes from MLCommons.

Source: PurpleLlama/Llama-Guard3/8B/MODEL_CARD.md; S1 to S13 are the hazards of MLCommons' AILuminate, S14 is its own.
"""

from __future__ import annotations

from collections.abc import Mapping

HAZARDS: Mapping[str, str] = {
    "S1": "violent crimes",
    "S2": "non-violent crimes",
    "S3": "sex-related crimes",
    "S4": "child sexual exploitation",
    "S5": "defamation",
    "S6": "specialized advice",
    "S7": "privacy",
    "S8": "intellectual property",
    "S9": "indiscriminate weapons",
    "S10": "hate",
    "S11": "suicide and self-harm",
    "S12": "sexual content",
    "S13": "elections and public facts",
    "S14": "code interpreter abuse",
}
"""Codes and what they stand for; S13 also takes false claims about public matters, for which there is no code."""


def hazard_name(code: str) -> str:
    """The hazard in words, with its code."""
    return f"{HAZARDS[code]} ({code})" if code in HAZARDS else code
