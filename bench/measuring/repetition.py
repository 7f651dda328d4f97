"""How many of 100 answers end in one passage over and over, by the penalty on what was said before.

    python bench/measuring/repetition.py MODEL [--penalties 1.0 1.1 1.2] [--temperatures 0.6 0] [--tokens 400] [--keep]

MODEL is a folder or a name; `auto` chooses the engine. Prints one JSON object a row: how many of the answers ended in a
passage of which at least four copies, 200 characters together, came one after the other; how many ended by themselves.
With `--keep` they become a record.
The page's own rule (`page/loops.js`) is the same.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep

from ayllu import load
from ayllu.model.sampling import Sampling
from ayllu.serve.engines.engine import Engine, GenerationRequest
from ayllu.text.chat import Message, render

FORMS = (
    "Tell me a short story about {}.",
    "What is {}?",
    "Write about {}.",
    "Why do people like {}?",
    "Tell me more of {}.",
    "How do I find {}?",
    "Describe {} to a child.",
    "What did she do with {}?",
    "Say something kind about {}.",
    "Give me three facts on {}.",
)
THINGS = ("a llama", "the market", "rain", "an old ship", "tea", "the moon", "a friend", "a hat", "bread", "the river")
LONGEST, TIMES, SHORTEST = 400, 4, 200
LOOK = 32
"""Tokens between two looks at whether an answer loops, which then is not computed to its end."""


def loops(text: str) -> bool:
    """Whether the end of `text` is one passage over and over."""
    end = text[-TIMES * LONGEST :]
    for period in range(1, LONGEST + 1):
        at = len(end) - 1
        while at >= period and end[at] == end[at - period]:
            at -= 1
        if len(end) - 1 - at + period >= max(TIMES * period, SHORTEST):
            return True
    return False


def answer(engine: Engine, prompt: str, tokens: int, sampling: Sampling) -> tuple[bool, bool]:
    """Whether the answer loops, and whether the model ended it."""
    ids = render([Message(role="user", content=prompt)], engine.tokenizer)
    request = GenerationRequest(prompt=ids, max_tokens=tokens, sampling=sampling)
    text = ""
    for count, chunk in enumerate(engine.generate(request, threading.Event())):
        text += chunk.text
        if chunk.finish_reason is not None:
            return loops(text), chunk.finish_reason == "stop"
        if count % LOOK == 0 and loops(text):
            return True, False  # what would follow is more of the same
    return loops(text), False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--penalties", type=float, nargs="+", default=[1.0, 1.1, 1.2])
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.6, 0.0])
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--keep", action="store_true", help="write bench/records/repetition.json")
    given = parser.parse_args()
    engine = load(given.model).engine
    found: list[dict[str, Any]] = []
    prompts = [form.format(thing) for form in FORMS for thing in THINGS]
    for temperature, penalty in itertools.product(given.temperatures, given.penalties):
        samplings = [
            Sampling(temperature=temperature, top_p=0.9, repetition_penalty=penalty, seed=seed)
            for seed in range(len(prompts))
        ]
        with ThreadPoolExecutor(engine.parallel) as threads:
            rows = list(threads.map(lambda p, s: answer(engine, p, given.tokens, s), prompts, samplings))
        result = {"temperature": temperature, "repetition_penalty": penalty, "answers": len(rows)}
        found.append(result | {"loops": sum(a for a, _ in rows), "ended": sum(b for _, b in rows)})
        print(json.dumps(found[-1]), flush=True)
    engine.close()
    if given.keep:
        told = {"model": Path(given.model).name, "tokens": given.tokens, "settings": found}
        keep("repetition", told, rounds=found)


def table(found: Mapping[str, Any]) -> str:
    """What became of the answers, as a Markdown table."""
    rows = [
        f"| {one['temperature']:g} | {one['repetition_penalty']:g} | {one['loops']} | {one['ended']} |"
        for one in found["settings"]
    ]
    return "\n".join(["| temperature | repetition penalty | loop | ended by themselves |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    main()
