"""Learning to see: first what lies in each cell of a picture, by the words for it, then answers to questions.

Shapes: P pictures, I image tokens (cells), F features, D width, K words, N scored ids.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ayllu.data.scenes.prompts import PicturePrompt
from ayllu.data.tokens.loader import permute
from ayllu.model.sight.seeing import SeeingTransformer
from ayllu.model.transformer import Transformer
from ayllu.train.objectives.next_token import Objective, linear_cross_entropy
from ayllu.train.objectives.shared_prefix import SharedPrefixRows, content_fingerprint, pack_shared_prefix

SHARP = 8.0
"""How much likelier a word is, in nats, where a cell's vector is that word's own, than where it is at right angles."""


@dataclass(frozen=True, kw_only=True)
class CellBatch:
    """Pictures with the words of their cells."""

    features_PIF: Tensor
    words_PIG: Tensor
    """For each group of words (colours, shapes), which of its words is right; the last of each group is "nothing"."""

    @property
    def ids(self) -> int:
        """Pictures: nothing of the language model is computed."""
        return len(self.features_PIF)

    @property
    def count(self) -> Tensor:
        """Cells, once for each group."""
        return torch.tensor(self.words_PIG.numel())


class CellSource:
    """Batches of pictures in an order drawn from a seed, each once per pass."""

    length = 1

    def __init__(self, features_PIF: Tensor, words_PIG: Tensor, *, seed: int) -> None:
        self._features_PIF, self._words_PIG, self._seed = features_PIF, words_PIG, seed

    @functools.cached_property
    def fingerprint(self) -> str:
        """Differs where any batch does."""
        return content_fingerprint(self._seed, self._words_PIG.tolist())

    def batch(self, first: int, size: int) -> CellBatch:
        """Pictures `first` to `first + size - 1` of the order."""
        chosen = _in_order(first, size, len(self._features_PIF), self._seed)
        return CellBatch(features_PIF=self._features_PIF[chosen], words_PIG=self._words_PIG[chosen])


def cell_loss(groups: Sequence[Sequence[Sequence[int]]]) -> Objective:
    """The summed cross-entropy of the words of cells, where `groups` are of words, each by its ids, "nothing" last.

    The logit of a word is the product of the cell's vector with the mean of the word's own in the language model: so
    vectors come to lie where the language model has such words. Centres of things stand for them, as in CenterNet (Zhou
    et al., arXiv:1904.07850).
    """

    def loss(model: Transformer, batch: CellBatch, dtype: torch.dtype) -> Tensor:
        assert isinstance(model, SeeingTransformer)
        vectors_PID = model.projector(batch.features_PIF)
        total = torch.zeros(())
        for group, words in enumerate(groups):
            rows_KD = word_rows(model, words)
            logits_PIK = vectors_PID @ rows_KD.mT * (SHARP / rows_KD.square().sum(-1).mean())
            total = total + F.cross_entropy(
                logits_PIK.flatten(0, 1), batch.words_PIG[..., group].flatten(), reduction="sum"
            )
        return total

    return loss


def word_rows(model: Transformer, words: Sequence[Sequence[int]]) -> Tensor:
    """Vectors (K, D) of words in float32, less what all of them have in common, which does not tell them apart."""
    rows_KD = torch.stack([model.embedding.weight[torch.tensor(ids)].float().mean(0) for ids in words])
    return rows_KD - rows_KD.mean(0)


@dataclass(frozen=True, kw_only=True)
class SceneBatch:
    """Pictures, each with its questions behind it, of which the answers are scored."""

    rows: SharedPrefixRows
    features_PIF: Tensor

    @property
    def ids(self) -> int:
        """Ids that go in, image tokens and padding with them."""
        return self.rows.ids_BT.numel()

    @property
    def count(self) -> Tensor:
        """Scored ids."""
        return torch.tensor(len(self.rows.targets_N))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question and its answer, as ids."""

    question: Sequence[int]
    answer: Sequence[int]


class SceneSource:
    """Batches of pictures with their questions in an order drawn from a seed, each once per pass.

    All questions about a picture share it: it is computed once.
    """

    def __init__(
        self, features_PIF: Tensor, asked: Sequence[Sequence[Asked]], prompt: PicturePrompt, *, seed: int
    ) -> None:
        self._features_PIF, self._asked, self._prompt, self._seed = features_PIF, asked, prompt, seed

    @functools.cached_property
    def length(self) -> int:
        """Ids of a picture with its questions on average."""
        each = [sum(len(one.question) + len(one.answer) + len(self._prompt.after) for one in of) for of in self._asked]
        return len(self._prompt.prefix()) + sum(each) // len(each)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Differs where any batch does."""
        told = [[[list(one.question), list(one.answer)] for one in of] for of in self._asked]
        return content_fingerprint(self._seed, list(self._prompt.prefix()), told)

    def batch(self, first: int, size: int) -> SceneBatch:
        """Pictures `first` to `first + size - 1` of the order."""
        chosen = _in_order(first, size, len(self._asked), self._seed)
        documents, predict = [], []
        for number, at in enumerate(chosen):
            asked = [self._prompt.asked(one.question) for one in self._asked[at]]
            answers = [[*one.answer, self._prompt.stop] for one in self._asked[at]]
            pairs = list(zip(asked, answers, strict=True))
            documents.append((self._prompt.prefix(number), [[*before, *answer] for before, answer in pairs]))
            predict.append([[False] * len(before) + [True] * len(answer) for before, answer in pairs])
        return SceneBatch(
            rows=pack_shared_prefix(documents, length=0, predict=predict), features_PIF=self._features_PIF[chosen]
        )


def scene_loss(model: Transformer, batch: SceneBatch, dtype: torch.dtype) -> Tensor:
    """Summed cross-entropy (natural log) of the ids of answers, a float32 scalar."""
    assert isinstance(model, SeeingTransformer)
    rows = batch.rows
    stream_BTD = model.embed(rows.ids_BT, batch.features_PIF, dtype)
    state_BTD = model.hidden(stream_BTD, documents_BT=rows.documents_BT, shared_prefix=rows.shared_prefix, dtype=dtype)
    return linear_cross_entropy(state_BTD.flatten(0, 1)[rows.places_N], model.output.weight, rows.targets_N)


def _in_order(first: int, size: int, there: int, seed: int) -> list[int]:
    places = (divmod(sample, there) for sample in range(first, first + size))
    return [permute(at, there, seed * 1_000_003 + epoch) for epoch, at in places]
