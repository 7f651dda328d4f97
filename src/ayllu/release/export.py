"""A model as the files of other programs: a Hugging Face folder, one GGUF file, or Meta's layout."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ayllu.data.origin import ORIGIN, read_json_object
from ayllu.lab.error import UserError
from ayllu.release.files.model import TINY

if TYPE_CHECKING:
    from ayllu.model.transformer import Transformer

Format = Literal["hf", "gguf", "meta"]
Type = Literal["F32", "F16", "BF16", "Q8_0", "Q4_0"]
QUANTIZED = ("Q8_0", "Q4_0")
"""Types that only GGUF files have."""
PAPERS = ("README.md", "LICENSE", "LICENSES.md", ORIGIN)
"""What goes along with the weights, where the model has it."""


def export_model(folder: Path, to: Format, out: Path, *, dtype: Type | None = None) -> list[str]:
    """Write the model in `folder` into the new or empty folder `out`; gives the names of the files, sorted.

    Weights keep their type unless `dtype` says another, but float32 becomes F16 in a GGUF file of more than 20 million
    parameters. Raises UserError when `out` is taken or cannot be written, and
    when the format cannot say what the model is; `out` is whole then, or not there.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already and not empty: give another folder with --out")
    if dtype in QUANTIZED and to != "gguf":
        raise UserError(f"{dtype} is a type of GGUF files: export with --to gguf, or with another --dtype")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            place = Path(scratch) / "model"
            place.mkdir()
            _write(folder, to, place, dtype)
            files = sorted(path.name for path in place.iterdir())
            if out.exists():
                out.rmdir()
            place.rename(out)
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror or error}): make room or give another folder"
        ) from error
    except ValueError as error:
        raise UserError(f"{folder} cannot be exported: {error}") from error
    return files


def _write(folder: Path, to: Format, place: Path, dtype: Type | None) -> None:
    from ayllu.model.files import gguf, hf, meta
    from ayllu.model.files.weights import TORCH_TYPES
    from ayllu.text.tokenizer import Tokenizer

    kind = dtype or _usual_type(folder, to)
    # What is rounded to eight bits or four is rounded once, from all the bits that there are.
    model = hf.load(folder, dtype=TORCH_TYPES["F32" if kind in QUANTIZED else kind])
    about = read_json_object(folder / ORIGIN) or read_json_object(folder / "manifest.json")
    title = str(about.get("title") or about.get("name") or folder.resolve().name)
    if to == "gguf":
        name = re.sub(r"[^\w.-]+", "-", title)[
            :100
        ]  # a file system takes 255 bytes, of three to a letter in some scripts
        licence = about.get("licence")
        gguf.write(place / f"{name}.gguf", model, folder, dtype=kind, name=title, licence=licence)
        return
    tokenizer = Tokenizer.load(folder)
    tokenizer.save(place)
    if to == "meta":
        meta.write(place, model, dtype=TORCH_TYPES[kind])
        if ranks := tokenizer.meta_file():
            (place / "tokenizer.model").write_bytes(ranks)
    else:
        _write_hf(folder, place, model, sorted(tokenizer.stops), kind)
    _copy_papers(folder, place, title, about.get("licence"))


def _copy_papers(folder: Path, place: Path, title: str, licence: Any) -> None:
    """What says of the model what it is; a model without a card gets a short one where its licence is known."""
    for paper in PAPERS:
        if (folder / paper).is_file():
            shutil.copyfile(folder / paper, place / paper)
    if not (place / "README.md").is_file() and licence:
        card = f"---\nlicense: {str(licence).lower()}\nlibrary_name: transformers\n---\n# {title}\n"
        (place / "README.md").write_text(card, encoding="utf-8")


def _write_hf(folder: Path, place: Path, model: Transformer, stops: list[int], kind: Type) -> None:
    from ayllu.model.files import hf
    from ayllu.model.files.weights import TORCH_TYPES

    config = read_json_object(folder / "config.json")
    bos, pad = config.get("bos_token_id"), config.get("pad_token_id")
    hf.save(place, model, dtype=TORCH_TYPES[kind], bos=bos, stops=stops, pad=pad)
    if (folder / "generation_config.json").is_file():
        shutil.copyfile(folder / "generation_config.json", place / "generation_config.json")


def _usual_type(folder: Path, to: Format) -> Type:
    """As stored; but a GGUF file of more than a tiny model has two bytes a weight, as a release's own has."""
    from ayllu.model.files import hf

    stored = _stored_type(folder)
    large = hf.load_config(folder).parameters > TINY
    return "F16" if to == "gguf" and stored == "F32" and large else stored


def _stored_type(folder: Path) -> Type:
    from ayllu.model.files import hf

    types = hf.types(folder)
    if types.keys() == {"BF16"}:
        return "BF16"
    return "F16" if types.keys() == {"F16"} else "F32"
