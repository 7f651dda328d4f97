"""A model that its maker keeps: the files that engines and exports need, and nothing that could pass for a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ayllu.data.origin import Origin, write_origin
from ayllu.lab.error import UserError
from ayllu.release.files.model import copy_files, copy_weights, write_gguf
from ayllu.release.reference import write_json

LICENCE = "none: private, not released"
"""What the folder and its exports say; `read_licence` objects to it."""


def build_private(
    folder: Path,
    *,
    weights: Path,
    scores: Path,
    sources: Sequence[Mapping[str, Any]],
    records: Mapping[str, Any],
    name: str,
) -> None:
    """Write the model in the Hugging Face folder `weights` into the new `folder`, with its scores and records.

    There is no card, no licence, no manifest and no signature, so that `verify` refuses it. `sources` are what the
    model learnt from. Raises UserError when an input is missing or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True)
        stored = copy_weights(weights, folder)
        copy_files(("scores.json",), scores, folder)
        write_json(folder / "records.json", dict(records))
        write_json(folder / "sources.json", {"learnt from": [dict(source) for source in sources]})
        write_gguf(folder, stored, name, LICENCE)
        origin = Origin(kind="private", source="trained here", title=name, licence=LICENCE, files={}, types={})
        write_origin(folder, origin)
        (folder / "README.md").write_text(_page(name, sources), encoding="utf-8")
    except OSError as error:
        where = error.filename or folder
        raise UserError(f"the model cannot be written ({error.strerror or error}: {where}): free the disk") from error


def _page(name: str, sources: Sequence[Mapping[str, Any]]) -> str:
    learnt = "".join(f"- {source.get('name')}: {source.get('licence')}\n" for source in sources)
    return (
        f"# {name}, a private model\n\nIt is not released: no licence is given, and nothing is signed. Its scores "
        f"are in `scores.json`.\n\nIt learnt from:\n\n{learnt}"
    )
