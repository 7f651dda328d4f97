"""Moonshine (Jeffries et al. 2024, https://arxiv.org/abs/2410.15608): its work grows with the sound, so it can follow.

Shapes: S tokens of the answer, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples
from ayllu.device.models import MOONSHINE, read, session
from ayllu.lab.error import UserError

START, END = 1, 2
TOKENS_A_SECOND = 6.5
"""More tokens than that nobody speaks: what is longer repeats itself (https://github.com/moonshine-ai/moonshine)."""
SHORTEST = 0.1
"""Seconds below which the encoder has nothing to look at."""


class Moonshine:
    """Moonshine tiny for English, greedy, with its keys and values kept between tokens."""

    name = MOONSHINE.name

    def __init__(self, cache: Path, *, threads: int = 1) -> None:
        files = read(MOONSHINE, cache)
        self._encoder = session(files["encoder"], threads=threads)
        self._decoder = session(files["decoder"], threads=threads)
        self._pieces = _pieces(files["tokenizer"])
        self._names = {value.name for value in self._decoder.get_inputs()}
        self._past = [
            (value.name, value.shape) for value in self._decoder.get_inputs() if value.name.startswith("past_")
        ]

    def transcribe(self, audio: Samples) -> str:
        """The words in a piece of sound at 16 kHz."""
        if len(audio) < SHORTEST * RATE:
            return ""
        mask = np.ones((1, len(audio)), np.int64)
        states = self._encoder.run(None, {"input_values": audio[None], "attention_mask": mask})[0]
        given = {
            "encoder_hidden_states": states,
            "encoder_attention_mask": np.ones((1, states.shape[1]), np.int64),
            "use_cache_branch": np.array([False]),
            "input_ids": np.array([[START]]),
            **{name: np.zeros((1, shape[1], 0, shape[3]), np.float32) for name, shape in self._past},
        }
        given = {name: value for name, value in given.items() if name in self._names}
        tokens: list[int] = []
        for _ in range(int(len(audio) / RATE * TOKENS_A_SECOND) + 6):
            logits_SV, *present = self._decoder.run(None, given)
            token = int(logits_SV[0, -1].argmax())
            if token == END:
                break
            tokens.append(token)
            given["input_ids"] = np.array([[token]])
            # The first pass gives the encoder's keys as well; later ones give empty ones, as they do not change.
            for (name, _), value in zip(self._past, present, strict=True):
                if "encoder" not in name or not given["use_cache_branch"][0]:
                    given[name] = value
            given["use_cache_branch"] = np.array([True])
        return self._text(tokens)

    def _text(self, tokens: list[int]) -> str:
        data = b"".join(self._pieces[token] for token in tokens if token < len(self._pieces))
        return data.decode("utf-8", "replace").replace("\u2581", " ").strip()


def _pieces(data: bytes) -> list[bytes]:
    """The vocabulary: each piece behind its length, which takes two bytes from 128 on; special ones are never shown."""
    pieces, at = [], 0
    while at < len(data):
        length = data[at]
        at += 1
        if length >= 128:
            length += (data[at] - 1) * 128
            at += 1
        piece = data[at : at + length]
        if len(piece) < length:
            raise UserError("Moonshine's vocabulary is cut: delete its archive and run again")
        hidden = piece.startswith(b"<") and piece.endswith(b">") and len(piece) > 2
        pieces.append(b"" if hidden else piece)
        at += length
    return pieces
