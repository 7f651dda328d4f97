"""A model as the files of other programs: a Hugging Face folder, one GGUF file, Meta's layout, a program for phones."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from ayllu.data.origin import ORIGIN, read_json_object
from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.release.files.model import TINY

if TYPE_CHECKING:
    from torch import Tensor

    from ayllu.model.config import ModelConfig
    from ayllu.model.files.quantize.types import Type
    from ayllu.model.transformer import Transformer
    from ayllu.release.exports.loss import Limit, Loss, Runner

Format = Literal["hf", "gguf", "meta", "onnx", "executorch", "mlx"]
PAPERS = ("README.md", "LICENSE", "LICENSES.md", ORIGIN)
"""What goes along with the weights, where the model has it."""
WEIGHTS = (".safetensors", ".gguf", ".pth", ".onnx", ".pte")
"""How the names of files of weights end."""
WITHOUT_SEARCH = ("F32", "F16", "BF16", "Q8_0")
"""Types whose rounding has no use for importance data."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and what it loses."""

    files: list[str]
    """All names, sorted."""
    file: str
    """The one that holds the weights, or the first of them."""
    bytes: int
    """Of all files."""
    type: Type
    loss: Loss


def export_model(
    folder: Path,
    to: Format,
    out: Path,
    *,
    dtype: Type | None = None,
    context: int | None = None,
    importance: Mapping[str, Tensor] | None = None,
) -> list[str]:
    """Write the model in `folder` into the new or empty folder `out`; gives the names of the files, sorted.

    Weights keep their type unless `dtype` says another, but float32 becomes F16 in a GGUF file of more than 20 million
    parameters, and ExecuTorch computes in float32. `context` is the tokens that a file of ExecuTorch has room for.
    Raises UserError when `out` is taken or cannot be written, and
    when the format cannot say what the model is; `out` is whole then, or not there.
    """
    with _made(folder, to, out, dtype) as place:
        _write(folder, to, place, dtype, importance, _context(folder, to, context))
    return sorted(path.name for path in out.iterdir())


def export_measured(
    folder: Path,
    to: Format,
    out: Path,
    *,
    dtype: Type | None = None,
    context: int | None = None,
    limit: Limit | None = None,
    importance: Path | Literal["none"] | None = None,
) -> Exported:
    """`export_model`, read back and measured on held-out text: what loses more than the `limit` is not there.

    Types of few bits lean on what weights matter on the text of `importance`: a file or folder, `none`, or everyday
    English of ours where it can be had. Raises UserError as `export_model` does, and beyond the limit.
    """
    from ayllu.model.files import hf
    from ayllu.release.exports import loss
    from ayllu.text.tokenizer import Tokenizer

    limit = limit or loss.Limit()
    with _made(folder, to, out, dtype) as place:
        kind = dtype or _usual_type(folder, to)
        room = _context(folder, to, context)
        searched = kind not in WITHOUT_SEARCH and to in ("gguf", "executorch")
        matters = _importance(folder, importance) if searched else None
        if matters is None and isinstance(importance, Path):
            raise UserError(f"{kind} in {to} has no use for --importance: leave it out, or choose a type of fewer bits")
        _write(folder, to, place, kind, matters, room)
        before = hf.load(folder)
        with _read_back(place, to, before.config, room) as after:
            found = loss.measure(before, after, Tokenizer.load(folder), limit)
        limit.check(found, f"{folder.name} in {kind}")
    files = sorted(path.name for path in out.iterdir())
    return Exported(
        files=files,
        file=next(name for name in files if name.endswith(WEIGHTS)),
        bytes=sum((out / name).stat().st_size for name in files),
        type=kind,
        loss=found,
    )


def types_of(to: Format) -> tuple[str, ...]:
    """The types that a format has."""
    from ayllu.model.files.quantize.types import FLOATS, QUANTIZED

    if to == "executorch":
        return "F32", "Q8_0", "Q4_0"
    few = {"gguf": QUANTIZED, "onnx": ("Q8_0", "Q4_0"), "mlx": ("Q8_0", "Q4_1", "Q4_0")}
    return (*FLOATS, *few.get(to, ()))


@contextmanager
def _made(folder: Path, to: Format, out: Path, dtype: Type | None) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when all went well."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already and not empty: give another folder with --out")
    if dtype is not None and dtype not in types_of(to):
        able = [name for name in get_args(Format) if dtype in types_of(name)]
        raise UserError(
            f"{to} has no type {dtype}: choose one of {', '.join(types_of(to))}, or a format that has it "
            f"({', '.join(able) or 'none has'})"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            place = Path(scratch) / "model"
            place.mkdir()
            yield place
            if out.exists():
                out.rmdir()
            place.rename(out)
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror or error}): make room or give another folder"
        ) from error
    except ValueError as error:
        raise UserError(f"{folder} cannot be exported: {error}") from error


def _context(folder: Path, to: Format, wanted: int | None) -> int:
    """Tokens that the export has room for: as many as the model, but in a file of ExecuTorch."""
    from ayllu.model.files.hf_config import load_config
    from ayllu.release.exports.executorch.write import context_of

    if to == "executorch":
        return context_of(load_config(folder), wanted)
    if wanted is not None:
        raise UserError(f"{to} has the model's own context: leave --context out, which is for executorch")
    return load_config(folder).context


def _importance(folder: Path, text: Path | Literal["none"] | None) -> dict[str, Tensor] | None:
    from ayllu.model.files import hf
    from ayllu.release.exports.importance import importance
    from ayllu.release.exports.texts import calibration
    from ayllu.text.tokenizer import Tokenizer

    if text == "none":
        return None
    tokenizer = Tokenizer.load(folder)
    try:
        texts = calibration(tokenizer, text)
    except UserError as error:
        if text is not None:
            raise
        say(f"all columns of a matrix count alike: {error}")
        return None
    return importance(hf.load(folder).eval(), tokenizer, texts)


@contextmanager
def _read_back(place: Path, to: Format, config: ModelConfig, context: int) -> Iterator[Transformer | Runner]:
    """The weights that an export holds, in float32; of a graph what runs it."""
    from ayllu.model.files import gguf, hf, meta, mlx
    from ayllu.release.exports.executorch import runner, write
    from ayllu.release.exports.onnx_runtime import OnnxModel

    if to == "executorch":
        with runner.ExecutorchModel(place / write.FILE, context) as model:
            yield model
    elif to == "gguf":
        yield gguf.read(next(place.glob("*.gguf"))).model
    elif to == "onnx":
        yield OnnxModel(place, config)
    elif to == "mlx":
        yield mlx.read(place)
    else:
        yield hf.load(place) if to == "hf" else meta.read(place, context=config.context)


def _write(
    folder: Path,
    to: Format,
    place: Path,
    dtype: Type | None,
    importance: Mapping[str, Tensor] | None,
    context: int,
) -> None:
    from ayllu.model.files import gguf, hf, meta, mlx, onnx
    from ayllu.model.files.weights import TORCH_TYPES
    from ayllu.release.exports.executorch import write as executorch
    from ayllu.release.exports.modelfile import write_modelfile
    from ayllu.release.exports.onnx_runtime import write_genai_config
    from ayllu.text.tokenizer import Tokenizer

    kind = dtype or _usual_type(folder, to)
    # What is rounded to eight bits or fewer is rounded once, from all the bits that there are.
    model = hf.load(folder, dtype=TORCH_TYPES.get(kind, TORCH_TYPES["F32"]))
    about = read_json_object(folder / ORIGIN) or read_json_object(folder / "manifest.json")
    title = str(about.get("title") or about.get("name") or folder.resolve().name)
    if to == "gguf":
        name = re.sub(r"[^\w.-]+", "-", title)[
            :100
        ]  # a file system takes 255 bytes, of three to a letter in some scripts
        licence = about.get("licence")
        path = place / f"{name}.gguf"
        with _tokenizer_folder(folder) as words:
            gguf.write(path, model, words, dtype=kind, name=title, licence=licence, importance=importance)
        write_modelfile(place, path.name, folder, model.config.context, licence)
        return
    tokenizer = Tokenizer.load(folder)
    tokenizer.save(place)
    stops, pad = sorted(tokenizer.stops), read_json_object(folder / "config.json").get("pad_token_id")
    if to == "onnx":
        try:
            onnx.write(place, model, dtype=cast("onnx.Type", kind))
        except ImportError:
            raise UserError("ONNX files need the package onnx: pip install 'ayllu[onnx]'") from None
        hf.save_config(place, model.config, dtype=TORCH_TYPES["F32"], bos=tokenizer.bos_token_id, stops=stops, pad=pad)
        write_genai_config(place, folder, model.config, tokenizer.bos_token_id, stops)
    elif to == "executorch":
        bos = tokenizer.bos_token_id
        given: dict[str, Any] = {"dtype": kind, "context": context, "bos": bos, "stops": stops}
        executorch.write(place, model, **given, importance=importance)
        hf.save_config(place, model.config, dtype=TORCH_TYPES["F32"], bos=bos, stops=stops, pad=pad)
    elif to == "mlx":
        mlx.write(place, model, dtype=cast("mlx.Type", kind), bos=tokenizer.bos_token_id, stops=stops, pad=pad)
    elif to == "meta":
        meta.write(place, model, dtype=TORCH_TYPES[kind])
        if ranks := tokenizer.meta_file():
            (place / "tokenizer.model").write_bytes(ranks)
    else:
        _write_hf(folder, place, model, sorted(tokenizer.stops), kind)
    _copy_papers(folder, place, title, about.get("licence"))


@contextmanager
def _tokenizer_folder(folder: Path) -> Iterator[Path]:
    """A folder with the tokenizer's files, each template in a file of its own.

    Others keep templates as a list among the settings, or in a file that only transformers' processors read.
    """
    from ayllu.text.tokenizer import Tokenizer

    if (folder / "chat_template.jinja").is_file() or not (folder / "tokenizer.json").is_file():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="ayllu-tokenizer-") as name:
        for file in ("config.json", "generation_config.json"):
            if (folder / file).is_file():
                shutil.copyfile(folder / file, Path(name) / file)
        Tokenizer.load(folder).save(Path(name))
        yield Path(name)


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
    """As stored; but a GGUF file of more than a tiny model has two bytes a weight, as a release's own has.

    ExecuTorch computes in float32, whatever is stored.
    """
    from ayllu.model.files.hf_config import load_config

    if to == "executorch":
        return "F32"
    stored = _stored_type(folder)
    large = load_config(folder).parameters > TINY
    return "F16" if to == "gguf" and stored == "F32" and large else stored


def _stored_type(folder: Path) -> Type:
    from ayllu.model.files import hf

    types = hf.types(folder)
    if types.keys() == {"BF16"}:
        return "BF16"
    return "F16" if types.keys() == {"F16"} else "F32"
