"""GRPO with verifiable rewards: learning from what the model's own answers earn.

For each prompt a group of answers is drawn; what one did better than its group is its advantage. Source: Shao et al.,
DeepSeekMath, arXiv:2402.03300, section 4.1. The loss is averaged over tokens, not first over each answer's (DAPO,
arXiv:2503.14476, equation 8), so that long answers are not let off lightly; and over all that were drawn, so that a
step in which few groups have anything to compare is a small one.

Shapes: N scored tokens, C answers, P prompts, G answers to each.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ayllu.lab.store import write_atomically
from ayllu.model.sample import Sample, sample
from ayllu.model.transformer import Transformer
from ayllu.train.lora import disabled, merged
from ayllu.train.objectives.shared_prefix import Ids, SharedPrefixRows, content_fingerprint, pack_shared_prefix


@dataclass(frozen=True, kw_only=True)
class GRPOConfig:
    """How rollouts are drawn and how far an update may go. Raises ValueError on numbers that make no sense."""

    group: int = 16
    """G: answers to each prompt. Of a hard one few are right, and of a group that is all wrong nothing is learnt: with
    one right in twenty that is 66 % of groups of 8 and 44 % of groups of 16."""
    tokens: int = 32
    """Most ids of an answer."""
    clip_low: float = 0.2
    clip_high: float = 0.28
    """The ratio of new to old probability counts only between 1 - clip_low and 1 + clip_high (the higher bound of DAPO,
    section 3.1, leaves unlikely words room to grow)."""
    kl: float = 0.0
    """Weight of the divergence from the reference."""
    entropy: float = 0.0
    """Nats a token below which the policy is held from becoming surer, with `entropy_weight`. A policy that is sure
    answers a prompt the same each time, so that no group has anything to compare and nothing more is learnt (He et al.,
    arXiv:2505.22312, section 4, who hold it by a weight that adapts; Cui et al., arXiv:2505.22617)."""
    entropy_weight: float = 0.2
    """How much a nat of surprise adds to a token's advantage at no entropy; less the nearer it is to `entropy`."""
    scaled: bool = True
    """Whether advantages are divided by their group's standard deviation (off: Dr. GRPO, arXiv:2503.20783)."""

    def __post_init__(self) -> None:
        if self.group < 2:
            raise ValueError(f"group is {self.group}; advantages need at least 2 answers to compare")
        for name in ("kl", "entropy", "entropy_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class Reward:
    """What one answer earned, format and content apart."""

    correct: float
    """1 where the checker accepts the answer, wherever in the text it stands."""
    format: float
    """1 where the answer stands as the prompt asks."""
    total: float
    """What is learnt from."""


class Tasks(Protocol):
    """Prompts with checkers, by number."""

    def prompt(self, index: int) -> Ids:
        """Ids that end where the answer begins."""
        ...

    def reward(self, index: int, answer: Sample) -> Reward:
        """What `answer` to prompt `index` earns."""
        ...


@dataclass(frozen=True, kw_only=True)
class RolloutBatch:
    """Answers in rows with shared prefixes, with what is known of each token."""

    rows: SharedPrefixRows
    advantage_N: Tensor
    old_N: Tensor
    """Log-probability under the policy that drew it."""
    reference_N: Tensor | None
    """Log-probability under the reference; None where the divergence has no weight."""
    drawn: int
    """Tokens of all answers, those of groups that teach nothing and are not in the rows with them."""

    @property
    def ids(self) -> int:
        """Ids that go in, padding with them."""
        return self.rows.ids_BT.numel()

    @property
    def count(self) -> Tensor:
        """Tokens that were drawn: what the summed loss is divided by."""
        return torch.tensor(self.drawn)


def advantages(rewards_PG: Tensor, *, scaled: bool = True) -> Tensor:
    """Each reward less its group's mean, divided by the group's standard deviation (G - 1) plus 1e-4 where `scaled`."""
    centred_PG = rewards_PG - rewards_PG.mean(-1, keepdim=True)
    return centred_PG / (rewards_PG.std(-1, keepdim=True) + 1e-4) if scaled else centred_PG


def entropy_bonus(old_N: Tensor, config: GRPOConfig, *, entropy: float) -> Tensor:
    """What each token's advantage gains where the policy's `entropy` (nats a token) is below what it is held to.

    The gradient of the entropy of what is drawn is that of the log-probability times (-log p - entropy): unlikely
    tokens gain what likely ones lose, and in the mean nothing.
    """
    if entropy >= config.entropy:
        return torch.zeros_like(old_N)
    return config.entropy_weight * (1 - entropy / config.entropy) * (-old_N - entropy)


def kl_estimate(log_N: Tensor, reference_N: Tensor) -> Tensor:
    """An unbiased estimate of KL(policy || reference) that is never below 0: r - log r - 1, r = reference / policy.

    Source: equation 4 of DeepSeekMath; Schulman, "Approximating KL divergence" (2020), where it is k3.
    """
    difference_N = reference_N - log_N
    return difference_N.exp() - difference_N - 1


def grpo_loss(config: GRPOConfig) -> Callable[[Transformer, RolloutBatch, torch.dtype], Tensor]:
    """The objective: (model, rollouts, dtype) to the loss summed over tokens, a float32 scalar.

    -min(ratio * A, clip(ratio) * A) + kl * divergence (equation 3 of DeepSeekMath), the ratio to the probability under
    which the token was drawn: rollouts computed in other rounding than the update are so weighed for it.
    """

    def loss(model: Transformer, batch: RolloutBatch, dtype: torch.dtype) -> Tensor:
        log_N = batch.rows.log_probabilities(model, dtype)
        ratio_N = (log_N - batch.old_N).exp()
        clipped_N = ratio_N.clamp(1 - config.clip_low, 1 + config.clip_high)
        losses_N = -torch.minimum(ratio_N * batch.advantage_N, clipped_N * batch.advantage_N)
        if batch.reference_N is not None:
            losses_N = losses_N + config.kl * kl_estimate(log_N, batch.reference_N)
        return losses_N.sum()

    return loss


class RolloutSource:
    """Rollouts of `model` as it is when a batch is asked for.

    Sample i is prompt i; its answers are drawn with seeds that come from i alone, so that a batch is a function of its
    arguments and the weights, and a run that was killed ends with the bits of one that was not. What each batch earned
    is kept in `journal`, one line a batch; a batch asked for again replaces its line.
    """

    def __init__(
        self,
        model: Transformer,
        tasks: Tasks,
        config: GRPOConfig,
        *,
        length: int,
        stop: frozenset[int],
        seed: int,
        dtype: torch.dtype,
        journal: Path,
    ) -> None:
        """`model` is the one in training; with LoRA its base is the reference of the divergence, else it is copied."""
        self._model, self._tasks, self._config, self.length = model, tasks, config, length
        self._stop, self._seed, self._dtype, self._journal = stop, seed, dtype, journal

    @functools.cached_property
    def fingerprint(self) -> str:
        """Differs where any prompt or any rule of drawing does; the answers are the weights' own."""
        prompts = [list(self._tasks.prompt(index)) for index in range(64)]
        return content_fingerprint(self.length, self._seed, sorted(self._stop), asdict(self._config), prompts)

    def batch(self, first: int, size: int) -> RolloutBatch:
        """Rollouts of prompts `first` to `first + size - 1`."""
        config = self._config
        prompts = [self._tasks.prompt(index) for index in range(first, first + size)]
        seeds = [
            [hash_seed(self._seed, index, answer) for answer in range(config.group)]
            for index in range(first, first + size)
        ]
        policy = merged(self._model, self._dtype)
        # At temperature 1, so that what is drawn from is the policy itself.
        answers = sample(policy, prompts, tokens=config.tokens, stop=self._stop, seeds=seeds)
        rewards = [[self._tasks.reward(first + i, answer) for answer in group] for i, group in enumerate(answers)]
        self._keep(first, rewards, answers)
        return self._rows(prompts, answers, torch.tensor([[r.total for r in group] for group in rewards]))

    def _rows(self, prompts: Sequence[Ids], answers: Sequence[Sequence[Sample]], rewards_PG: Tensor) -> RolloutBatch:
        config = self._config
        advantage_PG = advantages(rewards_PG, scaled=config.scaled)
        entropy = entropy_of(answers)
        held = bool(config.kl) or entropy < config.entropy
        # A group that earned all the same teaches nothing, unless it is held to the reference or to an entropy.
        kept = [i for i in range(len(prompts)) if held or bool(advantage_PG[i].any())] or [0]
        rows = pack_shared_prefix([(prompts[i], [a.ids for a in answers[i]]) for i in kept], length=self.length)
        flat = [answer for i in kept for answer in answers[i]]
        old_N = torch.tensor([value for answer in flat for value in answer.log_probabilities])
        earned_N = advantage_PG[kept].flatten()[rows.continuation_N]
        return RolloutBatch(
            rows=rows,
            advantage_N=earned_N + entropy_bonus(old_N, config, entropy=entropy),
            old_N=old_N,
            reference_N=self._reference(rows) if config.kl else None,
            drawn=sum(len(answer.ids) for group in answers for answer in group),
        )

    @torch.no_grad()
    def _reference(self, rows: SharedPrefixRows) -> Tensor:
        with disabled(self._model):
            return rows.log_probabilities(self._model, self._dtype)

    def _keep(self, first: int, rewards: Sequence[Sequence[Reward]], answers: Sequence[Sequence[Sample]]) -> None:
        flat = [reward for group in rewards for reward in group]
        drawn = [answer for group in answers for answer in group]
        line = {
            "first": first,
            "correct": sum(r.correct for r in flat) / len(flat),
            "format": sum(r.format for r in flat) / len(flat),
            "reward": sum(r.total for r in flat) / len(flat),
            "tokens": sum(len(answer.ids) for answer in drawn) / len(drawn),
            "ended": sum(answer.stopped for answer in drawn) / len(drawn),
            # Of groups that earned all the same nothing is learnt; of a policy without entropy all earn the same.
            "contrast": sum(len({reward.total for reward in group}) > 1 for group in rewards) / len(rewards),
            "entropy": entropy_of(answers),
        }
        lines = [old for old in read_rewards(self._journal) if old["first"] < first]
        write_atomically(self._journal, "".join(json.dumps(entry) + "\n" for entry in [*lines, line]))


def read_rewards(journal: Path) -> list[dict[str, float]]:
    """The lines that a `RolloutSource` kept, one a batch: the number of its first prompt, and means.

    `correct`, `format`, `reward` and `tokens` of an answer, the share that `ended` by itself, the share of groups with
    `contrast` (whose answers earned different rewards), and the `entropy` of the policy, nats per drawn token.
    """
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


def entropy_of(answers: Sequence[Sequence[Sample]]) -> float:
    """The policy's entropy, estimated from what it drew: nats a token."""
    logs = [value for group in answers for answer in group for value in answer.log_probabilities]
    return -sum(logs) / max(len(logs), 1)


def hash_seed(*numbers: int) -> int:
    """A seed below 2^63 from several numbers, different for different ones."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:8], "little") >> 1


def mean_reward(lines: Iterable[dict[str, float]], name: str, last: int) -> float:
    """The mean of `name` over the `last` lines."""
    values = [line[name] for line in lines][-last:]
    return sum(values) / len(values)
