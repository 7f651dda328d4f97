"""Learning to see: questions that share a picture have the loss that each has alone, and cells come to be told."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ayllu.data.scenes.prompts import picture_prompt
from ayllu.model.sight.efficientnet import FEATURES, TOKENS
from ayllu.model.sight.seeing import Projector, SeeingTransformer
from ayllu.train.objectives.sight import Asked, CellSource, SceneSource, cell_loss, scene_loss, word_rows
from support.models import TINY, sharp_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
PROMPT = picture_prompt(TOKENIZER)
FEATURES_PIF = torch.randn(3, TOKENS, FEATURES, generator=torch.Generator().manual_seed(0))
ASKED = [
    [Asked(question=TOKENIZER.encode(f"what is {n}?"), answer=TOKENIZER.encode(f"it is {n * p}")) for n in range(1, 4)]
    for p in range(1, 4)
]


@pytest.fixture
def model() -> SeeingTransformer:
    language = sharp_model(TINY)
    projector = Projector(TINY.width)
    projector.initialise(FEATURES_PIF, language.embedding.weight, seed=0)
    return SeeingTransformer(language, projector)


def test_questions_about_one_picture_have_the_loss_of_each_alone(model: SeeingTransformer) -> None:
    batch = SceneSource(FEATURES_PIF, ASKED, PROMPT, seed=0).batch(0, 3)
    alone = 0.0
    for features, asked in zip(FEATURES_PIF, ASKED, strict=True):
        for one in asked:
            answer = [*one.answer, PROMPT.stop]
            ids = torch.tensor([[*PROMPT.prefix(), *PROMPT.asked(one.question), *answer]])
            stream = model.embed(ids, features[None], torch.float32)
            logits = model.output(model.hidden(stream))[0, -len(answer) - 1 : -1]
            alone += float(F.cross_entropy(logits, torch.tensor(answer), reduction="sum"))
    assert int(batch.count) == sum(len(one.answer) + 1 for asked in ASKED for one in asked)
    assert float(scene_loss(model, batch, torch.float32)) == pytest.approx(alone, rel=1e-5)


def test_the_answer_depends_on_the_picture(model: SeeingTransformer) -> None:
    losses = [
        float(scene_loss(model, SceneSource(seen, ASKED[:1], PROMPT, seed=0).batch(0, 1), torch.float32))
        for seen in (FEATURES_PIF[:1], FEATURES_PIF[1:2])
    ]
    assert abs(losses[0] - losses[1]) > 1e-3


def test_a_pass_has_each_picture_once_and_another_order_another_fingerprint() -> None:
    first, other = (SceneSource(FEATURES_PIF, ASKED, PROMPT, seed=seed) for seed in (0, 1))
    seen = torch.stack([first.batch(number, 1).features_PIF[0] for number in range(3)])
    assert sorted(seen[:, 0, 0].tolist()) == sorted(FEATURES_PIF[:, 0, 0].tolist())
    assert first.fingerprint != other.fingerprint


def test_the_projector_learns_to_tell_cells_by_their_words(model: SeeingTransformer) -> None:
    groups = [[[3], [4], [5, 9]], [[6], [7, 8]]]
    words_PIG = torch.stack([torch.randint(0, len(group), (3, TOKENS)) for group in groups], -1)
    batch, loss = CellSource(FEATURES_PIF, words_PIG, seed=0).batch(0, 3), cell_loss(groups)
    optimizer = torch.optim.Adam(model.projector.parameters(), lr=3e-3)
    for _ in range(60):
        (loss(model, batch, torch.float32) / batch.count).backward()
        optimizer.step()
        optimizer.zero_grad()
    vectors_PID = model.projector(batch.features_PIF)
    for group, words in enumerate(groups):
        told = (vectors_PID @ word_rows(model, words).mT).argmax(-1)
        assert float((told == batch.words_PIG[..., group]).float().mean()) > 0.95
