"""GRPO: advantages, clipping and the divergence by hand; rollouts that depend on sample and weights alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ayllu.model.sample import Sample, sample
from ayllu.train.lora import LoraConfig, attach
from ayllu.train.objectives.grpo import (
    GRPOConfig,
    Reward,
    RolloutBatch,
    RolloutSource,
    advantages,
    entropy_bonus,
    grpo_loss,
    hash_seed,
    kl_estimate,
    read_rewards,
)
from ayllu.train.objectives.shared_prefix import pack_shared_prefix
from support.models import sharp_model
from support.training.objectives import descend, gradients, log_softmax_of

F32 = torch.float32


class Small:
    """The answer should begin with an id below 300; format is to stop."""

    def prompt(self, index: int) -> list[int]:
        return [1 + index % 5, 2, 3][: 1 + index % 3]

    def reward(self, index: int, answer: Sample) -> Reward:
        right = float(answer.ids[0] < 300)
        return Reward(correct=right, format=float(answer.stopped), total=right)


def source(model: torch.nn.Module, folder: Path, **settings: float) -> RolloutSource:
    config = GRPOConfig(group=6, tokens=4, **settings)  # type: ignore[arg-type]
    return RolloutSource(
        model,  # type: ignore[arg-type]
        Small(),
        config,
        length=32,
        stop=frozenset(range(0, 600, 5)),
        seed=1,
        dtype=F32,
        journal=folder / "rewards.jsonl",
    )


def test_advantages_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 2.0]])
    plain = advantages(rewards, scaled=False)
    assert plain.tolist() == [[0.5, -0.5, -0.5, 0.5], [0, 0, 0, 0], [-0.5, -0.5, -0.5, 1.5]]
    scaled = advantages(rewards)
    torch.testing.assert_close(scaled[0], plain[0] / ((4 * 0.25 / 3) ** 0.5 + 1e-4))
    torch.testing.assert_close(scaled[2], plain[2] / (1.0 + 1e-4))
    assert not scaled[1].any()


def test_divergence_is_unbiased_and_never_negative() -> None:
    generator = torch.Generator().manual_seed(0)
    policy, reference = torch.randn(2, 8, generator=generator).log_softmax(-1)
    exact = (policy.exp() * (policy - reference)).sum()
    each = kl_estimate(policy, reference)
    assert bool((each >= 0).all())
    # Its expectation under the policy is the divergence itself.
    torch.testing.assert_close((policy.exp() * each).sum(), exact)


@pytest.mark.parametrize("kl", [0.0, 0.3])
def test_policy_loss_by_hand(kl: float) -> None:
    model, reference = sharp_model(seed=0), sharp_model(seed=2)
    documents = [([1, 2], [[3, 4, 5], [6]]), ([7], [[8, 9], [10, 11]])]
    advantage = [0.7, -1.2, 1.5, -0.4]
    config = GRPOConfig(clip_low=0.2, clip_high=0.3, kl=kl)
    rows = pack_shared_prefix(documents, length=16)
    with torch.no_grad():
        near = rows.log_probabilities(model, F32) + torch.tensor([0.5, 0.1, -0.5, 0.5, -0.5, 0.1, 0.5, -0.5])
        far = rows.log_probabilities(reference, F32)
    batch = RolloutBatch(
        rows=rows,
        advantage_N=torch.tensor(advantage)[rows.continuation_N],
        old_N=near,
        reference_N=far if kl else None,
        drawn=20,
    )
    assert batch.count == 20
    expected, at, clipped = torch.zeros(()), 0, 0
    answers = [(prefix, answer) for prefix, group in documents for answer in group]
    for (prefix, answer), a in zip(answers, advantage, strict=True):
        for value in log_softmax_of(model, prefix, answer):
            ratio = torch.exp(value - near[at])
            bounded = min(max(ratio.item(), 0.8), 1.3)
            held = ratio.item() * a > bounded * a
            clipped += held
            expected = expected - (torch.tensor(bounded) * a if held else ratio * a)
            if kl:
                log_r = far[at] - value
                expected = expected + kl * (torch.exp(log_r) - log_r - 1)
            at += 1
    assert 0 < clipped < 8
    loss = grpo_loss(config)(model, batch, F32)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    one, other = gradients(model, loss), gradients(model, expected)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-3, msg=name)


def test_rollouts_come_from_sample_and_weights(tmp_path: Path) -> None:
    model = sharp_model()
    first, again = source(model, tmp_path).batch(4, 3), source(model, tmp_path / ".").batch(4, 3)
    assert torch.equal(first.rows.ids_BT, again.rows.ids_BT)
    assert torch.equal(first.advantage_N, again.advantage_N)
    assert not torch.equal(first.old_N[:5], source(sharp_model(seed=5), tmp_path).batch(4, 3).old_N[:5])
    assert [line["first"] for line in read_rewards(tmp_path / "rewards.jsonl")] == [4]


def test_a_step_with_little_to_compare_is_a_small_one(tmp_path: Path) -> None:
    """What is learnt is divided by all tokens that were drawn, also those of groups that taught nothing."""

    class Half(Small):
        def reward(self, index: int, answer: Sample) -> Reward:
            return super().reward(index, answer) if index % 2 else Reward(correct=0, format=0, total=0)

    rollouts = source(sharp_model(), tmp_path)
    rollouts._tasks = Half()
    answers = sample(
        sharp_model(),
        [rollouts._tasks.prompt(index) for index in range(5)],
        tokens=4,
        stop=frozenset(range(0, 600, 5)),
        seeds=[[hash_seed(1, index, answer) for answer in range(6)] for index in range(5)],
    )
    batch = rollouts.batch(0, 5)
    (line,) = read_rewards(tmp_path / "rewards.jsonl")
    assert 0 < line["contrast"] < 1
    assert len(batch.advantage_N) < batch.count == sum(len(one.ids) for group in answers for one in group)


def test_the_journal_says_what_a_policy_that_collapses_would_show(tmp_path: Path) -> None:
    """Entropy and contrast are those of the answers; of a model that always says the same both are nothing."""
    model, rollouts = sharp_model(), source(sharp_model(), tmp_path)
    answers = sample(
        model,
        [rollouts._tasks.prompt(index) for index in range(5)],
        tokens=4,
        stop=frozenset(range(0, 600, 5)),
        seeds=[[hash_seed(1, index, answer) for answer in range(6)] for index in range(5)],
    )
    rollouts.batch(0, 5)
    (line,) = read_rewards(tmp_path / "rewards.jsonl")
    drawn = [answer for group in answers for answer in group]
    logs = [value for answer in drawn for value in answer.log_probabilities]
    assert line["entropy"] == pytest.approx(-sum(logs) / len(logs), rel=1e-4)
    assert line["ended"] == sum(answer.stopped for answer in drawn) / 30
    earned = [[Small().reward(i, answer).total for answer in group] for i, group in enumerate(answers)]
    assert 0 < line["contrast"] == sum(max(group) > min(group) for group in earned) / 5 <= 1

    dull = sharp_model()
    with torch.no_grad():
        dull.output.weight.mul_(1e4)
    source(dull, tmp_path).batch(0, 5)
    (line,) = read_rewards(tmp_path / "rewards.jsonl")
    assert line["entropy"] == pytest.approx(0.0, abs=1e-3)
    assert line["contrast"] == 0


def test_old_log_probabilities_are_the_policys(tmp_path: Path) -> None:
    model = sharp_model()
    batch = source(model, tmp_path).batch(0, 4)
    torch.testing.assert_close(batch.old_N, batch.rows.log_probabilities(model, F32).detach(), rtol=0, atol=1e-4)


def test_the_reference_is_the_base_under_the_adapter(tmp_path: Path) -> None:
    base, model = sharp_model(), attach(sharp_model(), LoraConfig(rank=2))
    for name, weight in model.named_parameters():
        if name.endswith(".b"):
            weight.data.normal_(generator=torch.Generator().manual_seed(0), std=0.1)
    batch = source(model, tmp_path, kl=0.1).batch(0, 4)
    assert batch.reference_N is not None
    expected = batch.rows.log_probabilities(base, F32).detach()
    torch.testing.assert_close(batch.reference_N, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(batch.reference_N, batch.old_N, atol=1e-3)


def test_rewards_rise_and_an_interrupted_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    def run(folder: Path, stops: tuple[int, ...]) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
        folder.mkdir()
        model, start = sharp_model(), 0
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for stop in stops:
            # What a resumed run has: weights and optimizer, and nothing of the source before.
            rollouts = source(model, folder)
            for step in range(start, stop):
                batch = rollouts.batch(8 * step, 8)
                loss = grpo_loss(GRPOConfig())(model, batch, F32) / batch.count
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            # Killed later: the lines of the steps that are done again are replaced.
            rollouts.batch(8 * stop, 8)
            start = stop
        return model.state_dict(), read_rewards(folder / "rewards.jsonl")

    whole, lines = run(tmp_path / "whole", (12,))
    parts, others = run(tmp_path / "parts", (5, 12))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert lines == others
    assert len(lines) == 13
    assert lines[-1]["correct"] > lines[0]["correct"] + 0.2


def test_grpo_with_an_adapter_leaves_the_base_alone(tmp_path: Path) -> None:
    model = attach(sharp_model(), LoraConfig(rank=4))
    before = model.embedding.weight.clone()
    descend(model, grpo_loss(GRPOConfig()), source(model, tmp_path), steps=15, size=8, lr=2e-2)
    lines = read_rewards(tmp_path / "rewards.jsonl")
    assert lines[-1]["correct"] > lines[0]["correct"] + 0.2
    assert torch.equal(model.embedding.weight, before)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="group"):
        GRPOConfig(group=1)
    with pytest.raises(ValueError, match="kl"):
        GRPOConfig(kl=-1)


def test_the_entropy_bonus_by_hand() -> None:
    held = GRPOConfig(entropy=0.8, entropy_weight=0.5)
    old_N = torch.tensor([-0.1, -0.7])
    assert entropy_bonus(old_N, held, entropy=0.8).tolist() == [0, 0]
    # Half way down to no entropy the weight is half of what it is there; the surer token loses what the other gains.
    assert entropy_bonus(old_N, held, entropy=0.4).tolist() == pytest.approx([0.25 * -0.3, 0.25 * 0.3])
    assert entropy_bonus(old_N, GRPOConfig(), entropy=0.0).tolist() == [0, 0], "off unless asked for"


def test_the_entropy_bonus_follows_the_gradient_of_the_entropy() -> None:
    """Over many draws, the bonus times the gradient of the log-probability is the exact gradient, up to its weight."""
    logits_V = torch.tensor([2.0, 0.5, 0.0, -1.0], requires_grad=True)
    log_V = logits_V.log_softmax(-1)
    exact_V = torch.autograd.grad(-(log_V.exp() * log_V).sum(), logits_V, retain_graph=True)[0]
    entropy = -(log_V.exp() * log_V).sum().item()
    drawn_N = torch.multinomial(
        log_V.exp().detach(), 200_000, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    held = GRPOConfig(entropy=2 * entropy, entropy_weight=2.0)
    bonus_N = entropy_bonus(log_V.detach()[drawn_N], held, entropy=entropy)
    drawn_V = torch.autograd.grad((bonus_N * log_V[drawn_N]).mean(), logits_V)[0]
    torch.testing.assert_close(drawn_V, exact_V, atol=5e-3, rtol=0.02)


def test_a_policy_that_is_sure_becomes_less_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all answers earn the same nothing else is learnt, and the entropy rises."""
    monkeypatch.setattr(Small, "reward", lambda *_: Reward(correct=0.0, format=0.0, total=0.0))
    model = sharp_model()
    held = source(model, tmp_path, entropy=8.0, entropy_weight=1.0)
    descend(model, grpo_loss(GRPOConfig()), held, steps=10, size=8, lr=3e-3)
    lines = read_rewards(tmp_path / "rewards.jsonl")
    assert lines[-1]["entropy"] > lines[0]["entropy"] + 0.1
    assert all(line["contrast"] == 0 for line in lines)
