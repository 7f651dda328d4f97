"""Eyes: the published network computes what it was published for, and image tokens stand where they should."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ayllu.data.archive import default_cache, fetch, open_member
from ayllu.data.scenes.photos import photo
from ayllu.model.sight.efficientnet import CELLS, EPSILON, FEATURES, SIDE, TOKENS, EfficientNetLite
from ayllu.model.sight.files import PROJECTOR, sees
from ayllu.model.sight.seeing import (
    Projector,
    SeeingTransformer,
    load_eyes,
    load_projector,
    picture_ids,
    save_projector,
)
from ayllu.recipes.sight.scenes import EFFICIENTNET, WEIGHTS
from support.models import TINY, tiny_model
from support.parts import need_module

ESPRESSO, EGYPTIAN_CAT = 967, 285
"""Classes of ImageNet."""


def photograph(name: str) -> torch.Tensor:
    image = need_module("PIL.Image", "pictures are read by Pillow")
    with image.open(io.BytesIO(photo(name, default_cache()))) as opened:
        return torch.from_numpy(np.array(opened.convert("RGB").resize((SIDE, SIDE))))[None]


def test_the_frozen_network_knows_real_photographs() -> None:
    with open_member(fetch(EFFICIENTNET, default_cache()), WEIGHTS) as file:
        state = torch.load(io.BytesIO(file.read()), weights_only=True)
    eyes = EfficientNetLite(state)
    for name, right in (("coffee", ESPRESSO), ("chelsea", EGYPTIAN_CAT)):
        features_1IF = eyes.features(photograph(name))
        assert features_1IF.shape == (1, TOKENS, FEATURES)
        # The classifier that is left out, on the features that it reads: those behind the 14 x 14 places.
        last = features_1IF[..., 448:768].transpose(1, 2).unflatten(2, (CELLS, CELLS))
        head = F.batch_norm(
            F.conv2d(last, state["_conv_head.weight"]),
            *(state[f"_bn1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")),
            eps=EPSILON,
        ).clamp(0, 6)
        logits = F.linear(head.mean((2, 3)), state["_fc.weight"], state["_fc.bias"])
        assert right in logits[0].topk(2).indices


def test_a_stream_of_words_is_read_as_their_ids_are() -> None:
    model, ids = tiny_model(), torch.tensor([[5, 9, 77, 3]])
    assert torch.equal(model.hidden(model.embedding(ids)), model.hidden(ids))


def seeing() -> SeeingTransformer:
    language, projector = tiny_model(), Projector(TINY.width)
    projector.initialise(torch.randn(4, TOKENS, FEATURES), language.embedding.weight, seed=0)
    return SeeingTransformer(language, projector)


def test_each_cell_of_each_picture_stands_where_its_id_is() -> None:
    model, features = seeing(), torch.randn(2, TOKENS, FEATURES)
    ids = torch.tensor([[7, *picture_ids(1), 8], [*picture_ids(0), 9, 9]])
    stream = model.embed(ids, features, torch.float32)
    vectors = model.projector(features)
    assert torch.equal(stream[0, 1:-1], vectors[1])
    assert torch.equal(stream[1, :-2], vectors[0])
    assert torch.equal(stream[0, [0, -1]], model.embedding(torch.tensor([7, 8])))


def test_image_tokens_are_as_large_as_words_and_know_their_place() -> None:
    model = seeing()
    vectors = model.projector(torch.randn(1, 1, FEATURES).expand(1, TOKENS, FEATURES))
    words = model.embedding.weight.square().mean().sqrt()
    assert 0.3 < float((vectors.square().mean().sqrt() / words).detach()) < 3
    inner = vectors[0].unflatten(0, (CELLS, CELLS))[1:-1, 1:-1].flatten(0, 1)
    assert len({tuple(vector.tolist()) for vector in inner}) == len(inner)


def test_what_was_learnt_comes_back_and_damage_is_told(tmp_path: Path) -> None:
    model, features = seeing(), torch.randn(1, TOKENS, FEATURES)
    save_projector(tmp_path, model.projector)
    assert torch.equal(load_projector(tmp_path)(features), model.projector(features))
    assert not sees(tmp_path)
    with pytest.raises(ValueError, match="holds no eyes"):
        load_eyes(tmp_path)
    (tmp_path / PROJECTOR).write_bytes((tmp_path / PROJECTOR).read_bytes()[:1000])
    with pytest.raises(ValueError, match="holds no projector"):
        load_projector(tmp_path)
