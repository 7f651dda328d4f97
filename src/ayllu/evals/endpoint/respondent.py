"""Standard sets answered by a server: how likely it finds given texts where it tells that, and what it writes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ayllu.evals.endpoint.client import Endpoint, Reply, chat_text
from ayllu.evals.standard.answers import Answer, answer_to, choice_values
from ayllu.evals.standard.checkers.code import why_no_sandbox
from ayllu.evals.standard.generation import cut
from ayllu.evals.standard.run import judged
from ayllu.evals.standard.task import Prompt, Task
from ayllu.lab.error import UserError

ChatTemplate = Literal["auto", "on", "off"]
MOST_STOPS = 4
"""Stop texts that OpenAI's API takes; text is cut at the others here."""
ROUNDING = 1e-3
"""By how much a server's arithmetic may put a log-probability above 0."""
PROBE = ("The capital of France is", " Paris, and")


@dataclass(frozen=True, slots=True)
class Scored:
    """How likely a server finds a text behind another, in nats, and whether greedy decoding would write it."""

    log_likelihood: float
    greedy: bool
    tokens: int


class EndpointRespondent:
    """A served model. Choices are ranked over /v1/completions with echo and logprobs, behind plain text always; text is
    generated over /v1/chat/completions, or over /v1/completions with the chat template off."""

    def __init__(self, endpoint: Endpoint, *, chat_template: ChatTemplate = "auto") -> None:
        self._endpoint = endpoint
        self._asked_to_chat = chat_template == "on"
        self._chat = self._asked_to_chat or (chat_template == "auto" and self._talks())
        told, self._why = self._probe()
        self.conditions: dict[str, Any] = {
            "kind": "server",
            "address": endpoint.base,
            "model": endpoint.model,
            "dtype": "the server's own",
            "first_token": {"kind": "the server's own"},
            "chat_template": {"generate": self._chat, "rank": False, "likelihood": False},
            "temperature": 0,
        }
        # A server's name for a model may be another model's tomorrow: what it says of one sentence goes into the key.
        probe = None if told is None else round(told.log_likelihood, 1)
        self.owner: dict[str, Any] = {**self.conditions, "probe": probe}

    def cannot(self, task: Task) -> str:
        """Why the server cannot be asked a task; empty where it can."""
        if task.mode == "rolling":
            return "a server does not say how its model cuts a long text: name the weights to measure it"
        if task.mode == "generate":
            return why_no_sandbox() if task.program else ""
        if self._asked_to_chat:
            return "chat completions tell nothing of how likely a given text is: leave the chat template off or at auto"
        return self._why

    def too_long(self, task: Task, prompts: Sequence[Prompt]) -> None:
        """The server's own matter: it tells nobody what it cuts."""

    def cannot_ask(self, prompts: Sequence[Prompt]) -> str:
        """Why these prompts cannot be put to the server; empty where they can."""
        bare = any(not given.strip() for prompt in prompts for given, scored in prompt.asked.pairs if scored)
        return (
            "a server tells nothing of a text's first token, and its questions begin with what is scored"
            if bare
            else ""
        )

    def answers(self, task: Task, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield the server's answers as they come; a refused item counts as wrong. UserError where it is gone."""

        def ask(number: int) -> Reply[Any]:
            prompt = prompts[number]
            return self._write(task, prompt) if task.mode == "generate" else self._scores_of(prompt.asked.pairs)

        lost = 0
        for number, reply in self._endpoint.ask_all(len(prompts), ask):
            # What no server has seen is no wrong answer.
            lost += reply.gone
            if not reply.gone:
                yield _answer(task, prompts[number], reply.found)
        if lost:
            raise UserError(
                f"{self._endpoint.base} gave no answer to {lost} items of {task.name}: start again for those"
            )

    def _probe(self) -> tuple[Scored | None, str]:
        reply = self._scores_of([PROBE])
        if reply.found is None:
            base = self._endpoint.base
            return None, f"{base} does not tell how likely a given text is (completions with echo: {reply.refused})"
        return reply.found[0], ""

    def _talks(self) -> bool:
        body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1, "temperature": 0}
        return self._endpoint.ask("/chat/completions", body, chat_text).found is not None

    def _scores_of(self, pairs: Sequence[tuple[str, str]]) -> Reply[list[Scored]]:
        # Some servers write at least one token: what stands behind the prompt is not counted.
        body = {"max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}

        def read(answer: Any) -> list[Scored]:
            choices = sorted(answer["choices"], key=lambda choice: choice["index"])
            return [_echoed(choice, *pair) for choice, pair in zip(choices, pairs, strict=True)]

        return self._endpoint.ask("/completions", body | {"prompt": [a + b for a, b in pairs]}, read)

    def _write(self, task: Task, prompt: Prompt) -> Reply[str]:
        context, stops = prompt.asked.pairs[0][0], list(task.generation.until[:MOST_STOPS])
        body: dict[str, Any] = {"temperature": 0, "max_tokens": task.generation.most}
        if stops:
            body["stop"] = stops
        if self._chat:
            messages = [{"role": "user", "content": context}]
            return self._endpoint.ask("/chat/completions", body | {"messages": messages}, chat_text)
        return self._endpoint.ask(
            "/completions", body | {"prompt": context}, lambda told: str(told["choices"][0]["text"])
        )


def _echoed(choice: Mapping[str, Any], given: str, scored: str) -> Scored:
    """`scored_in` of a choice. Raises ValueError where the server has not told the prompt again, as it was asked to:
    its log-probabilities are then those of a text of its own."""
    if not str(choice["text"]).startswith(given + scored):
        raise ValueError("the prompt is not told again")
    return scored_in(choice["logprobs"], given, scored)


def scored_in(logprobs: Mapping[str, Any], given: str, scored: str) -> Scored:
    """What the echo of `given + scored` says of `scored`, to which space at the end of `given` goes, as in lm-eval.

    A token that begins before `scored` and reaches into it counts. Raises ValueError, KeyError or TypeError where the
    echo does not tell each token's log-probability and place.
    """
    start, end = len(given.rstrip()), len(given + scored)
    offsets, values, top = (list(logprobs[name]) for name in ("text_offset", "token_logprobs", "top_logprobs"))
    places = sorted(set(offsets))  # tokens that make up one character between them lie at one place
    following = dict(zip(places, [*places[1:], math.inf], strict=True))
    numbers = [n for n, at in enumerate(offsets) if start < following[at] and at < end]
    likelihoods = [math.nan if values[n] is None else float(values[n]) for n in numbers]
    if not likelihoods or not all(map(math.isfinite, likelihoods)):
        raise ValueError("no log-probability of the text")
    if max(likelihoods) > ROUNDING:
        raise ValueError("what it tells are no logarithms of probabilities")
    greedy = all(values[n] >= max((top[n] or {}).values(), default=math.inf) for n in numbers)
    return Scored(sum(likelihoods), greedy, len(numbers))


def _answer(task: Task, prompt: Prompt, found: Any) -> Answer:
    """An answer in a task's own mode; `found` is None where the server refused the item."""
    if task.mode == "generate":
        if found is None:
            return answer_to(task, prompt, values=dict.fromkeys(task.metrics, 0.0))
        text = cut(found, task.generation.until)
        return answer_to(task, prompt, text=text, values=judged(task, prompt, text))
    scores: Sequence[Scored | None] = [None] * len(prompt.asked.pairs) if found is None else found
    likelihoods = tuple(math.nan if score is None else score.log_likelihood for score in scores)
    if task.mode == "likelihood":
        values = {"acc": float(scores[0].greedy) if scores[0] else 0.0, "perplexity": likelihoods[0]}
        return answer_to(task, prompt, log_likelihoods=likelihoods, values=values)
    values = choice_values(prompt.asked, likelihoods)
    return answer_to(
        task,
        prompt,
        log_likelihoods=likelihoods,
        values={name: values[name] for name in task.metrics},
        sizes={"choices": len(likelihoods)},
        tokens=tuple(score.tokens if score else 0 for score in scores),
    )
