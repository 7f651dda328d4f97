"""How many of 100 answers end in one passage over and over, by the penalty on what was said before.

    python bench/repetition.py MODEL [--penalties 1.0 1.1 1.2] [--temperatures 0.6 0] [--tokens 400]

MODEL is a folder or a name; `auto` chooses the engine. Prints one JSON object a row: how many of the answers ended in a
passage of which at least four copies, 200 characters together, came one after the other; how many ended by themselves.
The page's own rule (`page/loops.js`) is the same.
"""

from __future__ import annotations

import argparse
import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor

from ayllu import load
from ayllu.model.generate import Sampling
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
    chunks = list(engine.generate(request, threading.Event()))
    return loops("".join(chunk.text for chunk in chunks)), chunks[-1].finish_reason == "stop"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--penalties", type=float, nargs="+", default=[1.0, 1.1, 1.2])
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.6, 0.0])
    parser.add_argument("--tokens", type=int, default=400)
    given = parser.parse_args()
    engine = load(given.model).engine
    prompts = [form.format(thing) for form in FORMS for thing in THINGS]
    for temperature, penalty in itertools.product(given.temperatures, given.penalties):
        samplings = [
            Sampling(temperature=temperature, top_p=0.9, repetition_penalty=penalty, seed=seed)
            for seed in range(len(prompts))
        ]
        with ThreadPoolExecutor(engine.parallel) as threads:
            rows = list(threads.map(lambda p, s: answer(engine, p, given.tokens, s), prompts, samplings))
        result = {"temperature": temperature, "repetition_penalty": penalty, "answers": len(rows)}
        print(json.dumps(result | {"loops": sum(a for a, _ in rows), "ended": sum(b for _, b in rows)}), flush=True)
    engine.close()


if __name__ == "__main__":
    main()
