"""The model in a release: safetensors copied bit for bit, the tokenizer, and one GGUF file that is read back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ayllu.data.origin import read_json_object
from ayllu.lab.error import UserError
from ayllu.release.digest import StoredWeights, inspect_weights

if TYPE_CHECKING:
    from ayllu.model.transformer import Transformer

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
TINY = 20_000_000
"""Parameters up to which the GGUF file keeps float32: the file is small then, and every bit is the same."""


def copy_files(names: Sequence[str], source: Path, folder: Path) -> None:
    """Copy the files `names` from `source`. Raises UserError where one is missing."""
    for name in names:
        if not (source / name).is_file():
            raise UserError(f"{source} lacks {name}: give the folder that the stage before wrote")
        shutil.copyfile(source / name, folder / name)


def copy_weights(weights: Path, folder: Path) -> StoredWeights:
    """Copy the safetensors files byte for byte and the tokenizer; write the configuration with both stops."""
    from ayllu.model.files import hf
    from ayllu.model.files.hf_config import load_config
    from ayllu.model.files.weights import TORCH_TYPES
    from ayllu.text.tokenizer import NAMED_TEMPLATES, Tokenizer

    files = sorted(path.name for path in weights.glob("*.safetensors"))
    if not files:
        raise UserError(f"{weights} holds no safetensors file: give a folder of weights")
    index = [hf.INDEX] if (weights / hf.INDEX).is_file() else []
    copy_files([*files, *index, *TOKENIZER_FILES], weights, folder)
    if (weights / NAMED_TEMPLATES).is_dir():
        shutil.copytree(weights / NAMED_TEMPLATES, folder / NAMED_TEMPLATES)
    try:
        tokenizer = Tokenizer.load(weights)
        config, stored = load_config(weights), inspect_weights(folder)
        if stored.dtype not in TORCH_TYPES:
            raise ValueError(f"weights of the type {stored.dtype} are not known; convert them to F32, F16 or BF16")
        dtype, stops = TORCH_TYPES[stored.dtype], sorted(tokenizer.stops)
        pad = read_json_object(weights / "config.json").get("pad_token_id")
        hf.save_config(folder, config, dtype=dtype, bos=tokenizer.bos_token_id, stops=stops, pad=pad)
    except ValueError as error:
        raise UserError(f"the weights cannot be released: {error}") from None
    return stored


def write_gguf(folder: Path, stored: StoredWeights, name: str, licence: str) -> str:
    """Write NAME.gguf and read it back: it must hold the weights, rounded to its type, and the tokenizer."""

    from ayllu.model.files import gguf, hf
    from ayllu.model.files.vocabulary import read_vocabulary
    from ayllu.model.files.weights import TORCH_TYPES

    file = f"{name}.gguf"
    dtype: Literal["F32", "F16"] = "F32" if stored.parameters <= TINY else "F16"
    try:
        model = hf.load(folder, dtype=TORCH_TYPES[stored.dtype])
        gguf.write(folder / file, model, folder, dtype=dtype, name=name, licence=licence.lower())
        back = gguf.read(folder / file)
        vocabulary = read_vocabulary(folder, model.config.vocabulary)
    except ValueError as error:
        raise UserError(f"the release is stopped by the gate “weights”: no GGUF file can be made: {error}") from None
    for tensor in _different(model, back.model, dtype):
        raise UserError(f"the release is stopped by the gate “weights”: {file} holds another {tensor}")
    if back.vocabulary != vocabulary or back.model.config != model.config:
        raise UserError(f"the release is stopped by the gate “weights”: {file} holds another tokenizer or shape")
    return file


def _different(model: Transformer, back: Transformer, dtype: Literal["F32", "F16"]) -> Iterator[str]:
    """Names of the tensors that are not the original's, rounded to the file's type where that has one."""
    import torch

    values = back.state_dict()
    for tensor, original in model.state_dict().items():
        wanted = original.to(torch.float16) if dtype == "F16" and original.dim() > 1 else original
        if not torch.equal(values[tensor], wanted.to(torch.float32)):
            yield tensor
