"""A model that takes pictures, with its eyes and its words. Shapes: I image tokens, F features, T time, D width."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ayllu.data.scenes.prompts import picture_prompt
from ayllu.lab.error import UserError
from ayllu.model.sight.efficientnet import SIDE, EfficientNetLite
from ayllu.model.sight.seeing import SeeingTransformer, load_eyes, load_projector
from ayllu.model.transformer import Cache, Transformer
from ayllu.text.tokenizer import Tokenizer

ANSWER = 16
"""Most ids of an answer."""


def features_of(eyes: EfficientNetLite, pixels_HW3: npt.NDArray[np.uint8]) -> Tensor:
    """Features (I, F) of a picture of any size: all of it, made a square."""
    from PIL import Image

    small = Image.fromarray(pixels_HW3).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return eyes.features(torch.from_numpy(np.array(small))[None])[0]


class Seer:
    """Answers questions about pictures."""

    def __init__(self, model: SeeingTransformer, tokenizer: Tokenizer, eyes: EfficientNetLite) -> None:
        self.model, self.tokenizer, self.eyes = model, tokenizer, eyes
        self._prompt = picture_prompt(tokenizer)

    @classmethod
    def load(cls, folder: Path, language: Transformer, tokenizer: Tokenizer) -> Seer:
        """Of a folder that holds eyes and a projector beside `language`. Raises UserError where it does not."""
        try:
            return cls(SeeingTransformer(language, load_projector(folder)), tokenizer, load_eyes(folder))
        except ValueError as error:
            raise UserError(f"{error}: make it again with `ayllu run see`") from error

    def view(self, pixels_HW3: npt.NDArray[np.uint8]) -> Tensor:
        """Features (I, F) of a picture: all that is needed of it for questions."""
        return features_of(self.eyes, pixels_HW3)

    @torch.inference_mode()
    def answer(self, features_IF: Tensor, questions: Sequence[str]) -> list[str]:
        """The likeliest answer to each question about a picture, which is read once and of which `view` gave the
        features. UserError for a question that is too long."""
        asked = [self._asked(question) for question in questions]
        cache, past = self._look(features_IF, room=ANSWER + max(map(len, asked), default=0))
        return [self._answer(cache, past, ids) for ids in asked]

    @torch.inference_mode()
    def weigh(self, features_IF: Tensor, question: str, choices: Sequence[str]) -> list[float]:
        """Natural log of the probability of each choice, and of stopping behind it."""
        asked = self._asked(question)
        said = [[*self.tokenizer.encode(choice), self._prompt.stop] for choice in choices]
        cache, past = self._look(features_IF, room=len(asked) + max(map(len, said), default=0))
        return [self._weigh(cache, past, asked, ids) for ids in said]

    def _look(self, features_IF: Tensor, *, room: int) -> tuple[Cache, int]:
        """What the model has of the picture, with `room` ids for a question and an answer."""
        weight, prefix = self.model.embedding.weight, self._prompt.prefix()
        capacity = len(prefix) + room
        if capacity > self.model.config.context:
            raise UserError(f"the question is too long for a context of {self.model.config.context}: ask a shorter one")
        cache = Cache(self.model.config, batch=1, capacity=capacity, dtype=weight.dtype, device=weight.device)
        stream_BTD = self.model.embed(torch.tensor([prefix]), features_IF[None], weight.dtype)
        self.model.hidden(stream_BTD, cache=cache, dtype=weight.dtype)
        return cache, cache.length

    def _read(self, cache: Cache, ids: Sequence[int]) -> Tensor:
        """Natural log-probabilities (T, V) behind each of `ids`."""
        dtype = self.model.embedding.weight.dtype
        state_BTD = self.model.hidden(torch.tensor([list(ids)]), cache=cache, dtype=dtype)
        return self.model.output(state_BTD[0]).float().log_softmax(-1)

    def _asked(self, question: str) -> list[int]:
        return self._prompt.asked(self.tokenizer.encode(question))

    def _answer(self, cache: Cache, past: int, asked: Sequence[int]) -> str:
        cache.length, ids, said = past, list(asked), list[int]()
        while len(said) < ANSWER and (best := int(self._read(cache, ids)[-1].argmax())) != self._prompt.stop:
            said.append(best)
            ids = [best]
        return self.tokenizer.decode(said).strip()

    def _weigh(self, cache: Cache, past: int, asked: Sequence[int], said: Sequence[int]) -> float:
        cache.length = past
        log_TV = self._read(cache, [*asked, *said[:-1]])[len(asked) - 1 :]
        return float(log_TV[torch.arange(len(said)), torch.tensor(said)].sum())
