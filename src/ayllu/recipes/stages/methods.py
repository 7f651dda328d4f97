"""The methods of post-training: what the steps of each see, what they make small, and how long a step takes.

A method of your own is a class like these under a name: `@METHODS.add("mine")`, or an entry point of the group
`ayllu.methods` (docs/extending.md).
"""

from __future__ import annotations

import copy
import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ayllu.lab.plugins import Registry

if TYPE_CHECKING:
    from ayllu.data.conversations.reasoning import Family
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.loop import BatchSource, TrainConfig
    from ayllu.train.objectives.next_token import Objective
    from ayllu.train.objectives.rewards import ReasoningTasks

LENGTH = 512
"""Ids in a row of several conversations."""
PLAIN_ROWS = 2
"""Rows of plain text in a step, on which GRPO and SFT must not diverge from the adopted model."""
PLAIN_WEIGHT = 1.0
"""What the divergence per id of plain text counts beside the loss per predicted id."""
TIMED, USUAL = 3, 32
"""Steps of each kind that are timed before the run; batches over which the length of a step is averaged."""
CHECKPOINT_SECONDS = 15.0
"""Between checkpoints, which hold the adapters alone."""
SUMS = {
    "reasoning": {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 1},
    "long_sums": {"min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 3},
}
"""Sums and differences by the kind of skill: two or three terms of one digit, and two terms of two or three digits."""
PRACTICE = {**SUMS, "three_terms": {**SUMS["reasoning"], "min_terms": 3}}
"""Kinds that can be learnt from."""
TURNS = (
    *("reasoning", "three_terms", "three_terms", "three_terms"),
    *("reasoning", "three_terms", "three_terms", "long_sums"),
)
"""Kinds of the questions that are learnt from, in turn. Of different questions of one digit one in seven has two
terms, of those drawn at random every second; but these are answered right first, and a group without a right answer
teaches nothing. Of the long ones hardly any is answered right at first."""
WORKED_DRAW, CHOICE_DRAW = 40, 60
"""What is added to a run's seed for the questions that are worked out, and for those that choose between two states."""
MOST_ITEMS = 300
"""Questions of one kind that skills are measured on at most: of sums of one digit some 500 are held out."""


def sums(cache: Path, kind: str = "reasoning") -> Family:
    """The tasks of one kind of `PRACTICE`."""
    from ayllu.data.conversations.reasoning import Family

    return Family("chain_sum", cache, PRACTICE[kind])


def sum_tasks(cache: Path, tokenizer: Tokenizer, *, turns: Sequence[str], seed: int) -> ReasoningTasks:
    """Questions of some kinds in turn, never one that skills are measured on."""
    from ayllu.train.objectives.rewards import ReasoningTasks

    families = {kind: sums(cache, kind) for kind in dict.fromkeys(turns)}
    return ReasoningTasks([families[kind] for kind in turns], tokenizer, seed=seed)


def fresh_sums(
    cache: Path, tokenizer: Tokenizer, *, turns: Sequence[str], seed: int, learnt: Sequence[tuple[int, int]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind and item of different questions of the training side, without end, that nothing was learnt from.

    `learnt` are the draws that something was: the seed of each, and how many questions of it.
    """
    drawn = [(sum_tasks(cache, tokenizer, turns=turns, seed=other), count) for other, count in learnt]
    seen = {tasks.item(number)["question"] for tasks, count in drawn for number in range(count)}
    tasks = sum_tasks(cache, tokenizer, turns=turns, seed=seed)
    for number in itertools.count():
        item = tasks.item(number)
        if item["question"] not in seen:
            seen.add(item["question"])
            yield turns[number % len(turns)], item


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a method is given to work with."""

    model: Transformer
    """Trained in place: a method that draws from it sees each step's weights."""
    tokenizer: Tokenizer
    dataset: Any
    """What is learnt from: a `Dataset` of `build_dataset`, or for `Distill` the `Tokens`."""
    adopted: Path
    """Folder of the model that everything began with."""
    precision: str
    seed: int
    steps: int
    cache: Path
    scratch: Path
    rehearsal: Path | None = None
    """Conversations of the model itself to mix in."""
    tasks: tuple[str, ...] = TURNS
    """Kinds of questions with a checker, in turn."""
    journal: str = "rewards.jsonl"
    """File of `scratch` for what each step earned."""

    def reference(self) -> Transformer:
        """The adopted model, for whoever holds on to it."""
        from ayllu.model.files import hf

        return hf.load(self.adopted)


class Method(Protocol):
    """One kind of training after pretraining."""

    @property
    def batch(self) -> int:
        """Samples in a step."""
        ...

    @property
    def share(self) -> float:
        """Of the minutes of training, where a plan divides them among methods."""
        ...

    @property
    def least_steps(self) -> int:
        """As few as a plan may give."""
        ...

    def source(self, setting: Setting) -> BatchSource:
        """Where batches come from. Called before adapters are attached to the model."""
        ...

    def objective(self, setting: Setting) -> Objective:
        """(model, batch, dtype) to the summed loss."""
        ...

    def seconds_per_step(self, setting: Setting) -> float:
        """Measured by some steps on the model, which is not usable afterwards."""
        ...

    def config(self, *, steps: int, lr: float, precision: str) -> TrainConfig:
        """How `steps` are trained."""
        ...


METHODS: Registry[type[Method]] = Registry("method of training", "ayllu.methods")


@METHODS.add("sft")
@dataclass(frozen=True, kw_only=True)
class SFT:
    """Supervised finetuning on what the assistant says in conversations."""

    batch: int = 4
    """Groups of conversations that share a beginning."""
    share: float = 0.85
    least_steps: int = 8

    def source(self, setting: Setting) -> BatchSource:
        from ayllu.recipes.stages.artifacts import Dataset
        from ayllu.train.objectives.sft import ConversationSource

        own = Dataset(setting.rehearsal).conversations() if setting.rehearsal else []
        conversations = setting.dataset.conversations() + own
        return _held(setting, ConversationSource(conversations, length=LENGTH, seed=setting.seed))

    def objective(self, setting: Setting) -> Objective:
        from ayllu.train.objectives.sft import conversation_loss

        return _holding(setting, conversation_loss)

    def told(self) -> dict[str, Any]:
        """The objective, for whoever takes a step again (`ayllu.train.stretch.replay.objective_of`)."""
        return {"objective": "conversation", "anchor": PLAIN_WEIGHT}

    def seconds_per_step(self, setting: Setting) -> float:
        # What a batch holds is known without the model, so the length of a step is averaged over many.
        return timed_step(self, setting, usual=USUAL)

    def config(self, *, steps: int, lr: float, precision: str) -> TrainConfig:
        return adapter_config(self, steps=steps, lr=lr, precision=precision)


@METHODS.add("dpo")
@dataclass(frozen=True, kw_only=True)
class DPO:
    """Learning which of two answers is better."""

    batch: int = 8
    """Pairs."""
    share: float = 0.08
    least_steps: int = 4
    beta: float = 0.1
    likelihood: float = 0.2
    """Weight of the better answer's own likelihood."""

    def source(self, setting: Setting) -> BatchSource:
        from ayllu.train.machine import dtype_of
        from ayllu.train.objectives.dpo import PairSource, reference_log_probabilities

        # Only the pairs that the steps will see: each costs a forward pass of the reference.
        pairs = setting.dataset.pairs()[: setting.steps * self.batch]
        dtype = dtype_of(setting.precision)
        known = reference_log_probabilities(setting.model, pairs, length=LENGTH, dtype=dtype)
        return PairSource(pairs, known, length=LENGTH, seed=setting.seed)

    def objective(self, setting: Setting) -> Objective:
        from ayllu.train.objectives.dpo import DPOConfig, dpo_loss

        return dpo_loss(DPOConfig(**self.told()["config"]))

    def told(self) -> dict[str, Any]:
        """The objective, for whoever takes a step again."""
        return {"objective": "dpo", "config": {"beta": self.beta, "likelihood": self.likelihood}}

    def seconds_per_step(self, setting: Setting) -> float:
        return timed_step(self, setting, prepares=True)

    def config(self, *, steps: int, lr: float, precision: str) -> TrainConfig:
        return adapter_config(self, steps=steps, lr=lr, precision=precision)


@METHODS.add("worked")
@dataclass(frozen=True, kw_only=True)
class Worked:
    """Supervised finetuning on sums worked out line by line, of the training side: what GRPO starts from.

    Of a question that the model never gets right GRPO learns nothing. A short cold start on solutions with their steps
    is how DeepSeek-R1 (arXiv:2501.12948, section 2.3.1) and Tulu 3 (arXiv:2411.15124, section 4) begin too.
    """

    batch: int = 3
    """Groups of questions that share a beginning."""
    share: float = 0.03
    least_steps: int = 12
    """So many were measured (docs/log.md, 2026-11-29); after four a whole run had an eighth of their gain."""
    group: int = 8
    """Questions in one."""

    @property
    def questions(self) -> int:
        """In a step."""
        return self.batch * self.group

    def source(self, setting: Setting) -> BatchSource:
        from ayllu.train.objectives.sft import ConversationSource, with_shared_prefix

        # Each question once. Seeds that GRPO does not reach, so that most of its questions are new.
        tasks = sum_tasks(setting.cache, setting.tokenizer, turns=setting.tasks, seed=setting.seed + WORKED_DRAW)
        worked = [tasks.worked(number) for number in range(setting.steps * self.batch * self.group)]
        groups = [with_shared_prefix(worked[at : at + self.group]) for at in range(0, len(worked), self.group)]
        return _held(setting, ConversationSource(groups, length=LENGTH // 2, seed=setting.seed))

    def objective(self, setting: Setting) -> Objective:
        from ayllu.train.objectives.sft import conversation_loss

        return _holding(setting, conversation_loss)

    def told(self) -> dict[str, Any]:
        """The objective, for whoever takes a step again."""
        return {"objective": "conversation", "anchor": PLAIN_WEIGHT}

    def seconds_per_step(self, setting: Setting) -> float:
        return timed_step(self, setting)

    def config(self, *, steps: int, lr: float, precision: str) -> TrainConfig:
        return adapter_config(self, steps=steps, lr=lr, precision=precision)


@METHODS.add("grpo")
@dataclass(frozen=True, kw_only=True)
class GRPO:
    """Learning from what a checker says of the model's own answers to sums."""

    batch: int = 8
    """Prompts: after the sums worked out some five of eight groups have something to compare."""
    share: float = 0.04
    """A dozen steps or two: ten take some points away (`bench/grpo.py`), sixteen at three times the rate nearly all."""
    least_steps: int = 4
    group: int = 8
    """Answers to each prompt."""
    answer_ids: int = 32
    """Most ids of an answer: enough for two short equations and their end, not for talk."""
    entropy: float = 0.0
    """Nats a token below which the policy is held from becoming surer. Not after the sums worked out: most tokens of
    such an answer are copied from the question, and the policy is to be sure of them."""

    @property
    def questions(self) -> int:
        """In a step."""
        return self.batch

    def source(self, setting: Setting) -> BatchSource:
        from ayllu.train.machine import dtype_of
        from ayllu.train.objectives.grpo import RolloutSource

        rollouts = RolloutSource(
            setting.model,
            sum_tasks(setting.cache, setting.tokenizer, turns=setting.tasks, seed=setting.seed),
            self._rollouts(),
            length=LENGTH // 2,
            stop=setting.tokenizer.stops,
            seed=setting.seed,
            dtype=dtype_of(setting.precision),
            journal=setting.scratch / setting.journal,
        )
        return _held(setting, rollouts)

    def objective(self, setting: Setting) -> Objective:
        from ayllu.train.objectives.grpo import grpo_loss

        # To the model that the sums worked out have taught: the pull back to the adopted one would undo them.
        return _holding(setting, grpo_loss(self._rollouts()), before=copy.deepcopy(setting.model))

    def told(self) -> dict[str, Any]:
        """The objective, for whoever takes a step again."""
        return {
            "objective": "grpo",
            "config": asdict(self._rollouts()),
            "anchor": PLAIN_WEIGHT,
            "held_to": "begins",
        }

    def _rollouts(self) -> Any:
        from ayllu.train.objectives.grpo import GRPOConfig

        return GRPOConfig(group=self.group, tokens=self.answer_ids, entropy=self.entropy)

    def seconds_per_step(self, setting: Setting) -> float:
        return timed_step(self, setting)

    def config(self, *, steps: int, lr: float, precision: str) -> TrainConfig:
        # Not Muon, whose updates are all of one size: a step with little to tell would move as far as one with much.
        return adapter_config(self, steps=steps, lr=lr, precision=precision, matrices="adamw")


@METHODS.add("distill")
@dataclass(frozen=True, kw_only=True)
class Distill:
    """Learning the distribution of a larger model, the adopted one, on packed rows; all weights are trained."""

    batch: int = 4
    """Rows."""
    share: float = 1.0
    least_steps: int = 20

    def source(self, setting: Setting) -> BatchSource:
        from ayllu.data.tokens.loader import Loader

        return Loader(setting.dataset, seed=setting.seed)

    def objective(self, setting: Setting) -> Objective:
        from ayllu.train.objectives.distill import distillation_loss

        return distillation_loss(setting.reference().requires_grad_(False))

    def told(self) -> dict[str, Any]:
        """The objective, for whoever takes a step again."""
        return {"objective": "distillation"}

    def seconds_per_step(self, setting: Setting) -> float:
        return timed_step(self, setting, adapters=False)

    def config(self, *, steps: int, lr: float, precision: str) -> TrainConfig:
        from ayllu.train.loop import TrainConfig
        from ayllu.train.optimizer import OptimizerConfig

        return TrainConfig(
            steps=steps,
            batch=self.batch,
            warmup=max(min(steps // 10, 20), 1),
            optimizer=OptimizerConfig(muon_lr=lr),
            precision=precision,
            checkpoint_seconds=60.0,
        )


def adapter_config(
    method: Method, *, steps: int, lr: float, precision: str, matrices: Literal["muon", "adamw"] = "muon"
) -> TrainConfig:
    """Training of adapters: a short warm-up and no decay of weights."""
    from ayllu.train.loop import TrainConfig
    from ayllu.train.optimizer import OptimizerConfig

    return TrainConfig(
        steps=steps,
        batch=method.batch,
        warmup=max(min(steps // 10, 5), 1),
        # Muon on the adapters: they are thin, so that making them orthogonal costs next to nothing.
        optimizer=OptimizerConfig(matrices=matrices, muon_lr=lr, adam_lr=lr, weight_decay=0.0),
        precision=precision,
        checkpoint_seconds=CHECKPOINT_SECONDS,
    )


def timed_step(
    method: Method, setting: Setting, *, adapters: bool = True, usual: int = 0, prepares: bool = False
) -> float:
    """Seconds of a step with as many ids as its steps have on average: the median of some after one.

    `usual` batches are averaged where one is made without the model; `prepares` counts what the source does before
    the first step, shared by the steps that it does it for.
    """
    from ayllu.train.lora import LoraConfig, attach
    from ayllu.train.machine import dtype_of

    began = time.monotonic()
    source, objective = method.source(setting), method.objective(setting)
    prepared = (time.monotonic() - began) / setting.steps if prepares else 0.0
    if adapters:
        attach(setting.model, LoraConfig())
    paces, ids = [], []
    for step in range(1 + TIMED):
        began = time.monotonic()
        batch: Any = source.batch(step * method.batch, method.batch)
        (objective(setting.model, batch, dtype_of(setting.precision)) / batch.count).backward()
        setting.model.zero_grad(set_to_none=True)
        ids.append(batch.ids)
        paces.append((time.monotonic() - began) / batch.ids)
    if usual:
        counted: list[Any] = [source.batch(step * method.batch, method.batch) for step in range(usual)]
        ids = [batch.ids for batch in counted]
    return prepared + statistics.median(paces[1:]) * statistics.mean(ids)


def _held(setting: Setting, source: Any) -> BatchSource:
    """A source whose steps see plain text too."""
    from ayllu.train.objectives.kl_anchor import KLAnchoredSource

    return KLAnchoredSource(source, setting.dataset.plain(), rows=PLAIN_ROWS, seed=setting.seed)


def _holding(setting: Setting, objective: Any, *, before: Transformer | None = None) -> Objective:
    """An objective that also holds on to a model, on that text: to the adopted one unless `before` is given."""
    from ayllu.train.objectives.kl_anchor import kl_anchored_loss

    return kl_anchored_loss(objective, before or setting.reference(), weight=PLAIN_WEIGHT)
