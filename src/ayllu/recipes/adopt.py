"""Adopting open weights: one stage that makes a source into an artifact, and a channel that names it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.stages.artifacts import Weights

if TYPE_CHECKING:
    from ayllu.data.adopt import ModelSource
    from ayllu.data.origin import Origin
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """An adopted model: an artifact of the lab."""

    name: str
    """The channel that points to it."""
    folder: Path

    @property
    def origin(self) -> Origin:
        """Where it comes from."""
        from ayllu.data.origin import read_origin

        return read_origin(self.folder)

    def facts(self) -> dict[str, Any]:
        """What a user wants to know of it: origin, licence, size, digest of the artifact."""
        from dataclasses import asdict

        from ayllu.lab.store import read_manifest
        from ayllu.model.files.hf_config import load_config

        config = load_config(self.folder)
        digest = read_manifest(self.folder)["digest"]
        return {**asdict(self.origin), "parameters": config.parameters, "context": config.context, "digest": digest}

    def load(self) -> tuple[Transformer, Tokenizer]:
        """The model in float32 and its tokenizer, which has the chat template."""
        from ayllu.model.files import hf
        from ayllu.text.tokenizer import Tokenizer

        return hf.load(self.folder), Tokenizer.load(self.folder)


def adopt(source: str, *, name: str | None = None, licence: str | None = None, home: Path | None = None) -> Adopted:
    """Adopt the model that `source` names, unless it was before, and let the channel `name` point to it.

    `licence` (SPDX identifier) is needed where the source states none; `home` is the lab's folder. Raises UserError in
    one sentence when the source cannot be had or used; nothing half-written is left then.
    """
    from ayllu.data.adopt import channel_name
    from ayllu.data.archive import default_cache
    from ayllu.lab.channel import check_name, promote, refuse_guarded
    from ayllu.lab.run import Place, resolve
    from ayllu.lab.store import Store, default_home

    if name is not None:
        check_name(name)
    found = _source(source, licence)
    channel = name or channel_name(found.name)
    store = Store(home or default_home())
    refuse_guarded(store, channel)
    handle = _adopted(found)
    artifact = resolve(handle, Place(store=store, cache=default_cache(), title=channel))[handle]
    promote(store, channel, artifact.folder)
    return Adopted(name=channel, folder=artifact.folder)


def adopted(source: str, *, licence: str | None = None) -> Handle[Weights]:
    """The same as a step of a recipe: the handle of a folder of weights and tokenizer."""
    return _adopted(_source(source, licence))


def _source(source: str, licence: str | None) -> ModelSource:
    """What `source` names; a folder that a manifest of ours describes must be what that says."""
    from ayllu.data.adopt import PACKAGES, find_model_source
    from ayllu.data.archive import default_cache
    from ayllu.lab.channel import check_listed
    from ayllu.release.trust.revoked import refuse_revoked

    refuse_revoked(Path(source).expanduser())
    found = find_model_source(source, default_cache(), licence=licence)
    if source not in PACKAGES and (folder := Path(source).expanduser()).is_dir():
        check_listed(folder)
    return found


def _adopted(found: ModelSource) -> Handle[Weights]:
    """The stage for one source. What identifies its content is the key; where it lies is not."""

    def adopt(ctx: Context, *, source: dict[str, Any]) -> None:
        from ayllu.data.origin import write_origin

        try:
            origin = found.read(ctx.folder)
        except ValueError as error:
            shutil.rmtree(ctx.folder)
            raise UserError(f"{found.name} cannot be adopted: {error}") from error
        write_origin(ctx.folder, origin)
        ctx.note("title", origin.title)
        ctx.note("licence", origin.licence)
        ctx.note("types", origin.types)

    # How a source is read depends on what it is, so the reader of this one is part of the code that makes it.
    made = stage(identity="adopt", makes=Weights, reaches=lambda arguments: [found.read])
    return made(adopt)(source=found.identity)
