"""Put the prompts of a task to our own model, and judge what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ayllu.evals.standard.answers import Answer, answer_to, choice_values
from ayllu.evals.standard.checkers.code import passes
from ayllu.evals.standard.task import Prompt, Task
from ayllu.evals.standard.tokens import Encoder, question_of, rolling, segment_of

if TYPE_CHECKING:
    import torch

    from ayllu.evals.likelihood.branches import Forward
    from ayllu.model.transformer import Transformer


def answers(
    forward: Forward, encoder: Encoder, task: Task, prompts: Sequence[Prompt], *, penalty: float = 1.0
) -> Iterator[Answer]:
    """Yield the answer to each prompt of a model that is ready, as they come; `penalty` is for repetitions in generated
    text."""
    if task.mode == "generate":
        yield from _generate(forward.model, encoder, task, prompts, forward.dtype, penalty)
    else:
        ask = {"rank": _rank, "likelihood": _likelihood, "rolling": _roll}[task.mode]
        yield from ask(forward, encoder, task, prompts)


def _rank(forward: Forward, encoder: Encoder, task: Task, prompts: Sequence[Prompt]) -> Iterator[Answer]:
    from ayllu.evals.likelihood.log_probabilities import shared_log_likelihoods

    questions = [question_of(pairs) for pairs in encoder.pairs([prompt.asked for prompt in prompts])]
    for number, likelihoods in shared_log_likelihoods(forward, questions):
        prompt = prompts[number]
        values = choice_values(prompt.asked, likelihoods)
        yield answer_to(
            task,
            prompt,
            log_likelihoods=tuple(likelihoods),
            values={name: values[name] for name in task.metrics},
            sizes={"choices": len(likelihoods)},
            tokens=tuple(questions[number].scored),
        )


def _likelihood(forward: Forward, encoder: Encoder, task: Task, prompts: Sequence[Prompt]) -> Iterator[Answer]:
    from ayllu.evals.likelihood.log_probabilities import greedy_log_likelihoods

    pairs = encoder.pairs([prompt.asked for prompt in prompts])
    chosen = [segment_of(given, scored, forward.model.config.context) for ((given, scored),) in pairs]
    for number, likelihood, greedy in greedy_log_likelihoods(forward, chosen):
        values = {"acc": float(greedy), "perplexity": likelihood}
        yield answer_to(task, prompts[number], log_likelihoods=(likelihood,), values=values)


def _roll(forward: Forward, encoder: Encoder, task: Task, prompts: Sequence[Prompt]) -> Iterator[Answer]:
    from ayllu.evals.likelihood.log_probabilities import segment_log_likelihoods

    for prompt in prompts:
        windows = rolling(encoder, prompt.asked.pairs[0][1], forward.model.config.context)
        likelihood = sum(segment_log_likelihoods(forward, windows))
        sizes = {"words": prompt.asked.words, "bytes": prompt.asked.bytes[0]}
        yield answer_to(task, prompt, log_likelihoods=(likelihood,), sizes=sizes)


def _generate(
    model: Transformer, encoder: Encoder, task: Task, prompts: Sequence[Prompt], dtype: torch.dtype, penalty: float
) -> Iterator[Answer]:
    from ayllu.evals.standard.generation import continuations

    contexts = [prompt.asked.pairs[0][0] for prompt in prompts]
    for number, text in continuations(model, encoder, contexts, task.generation, dtype=dtype, penalty=penalty):
        yield answer_to(task, prompts[number], text=text, values=judged(task, prompts[number], text))


def judged(task: Task, prompt: Prompt, text: str) -> Mapping[str, float]:
    """The metrics of a generated answer; a program is run, which raises `NoSandbox` where nothing can hold it."""
    if task.program is not None:
        return {task.metrics[0]: float(passes(task.program(prompt.row, text)))}
    assert task.check is not None
    return task.check(prompt.row, text)
