"""What a folder of weights or a release says about itself, for the API and the page."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ayllu.data.origin import ORIGIN, read_json_object
from ayllu.lab.error import UserError
from ayllu.lab.key import file_digest
from ayllu.lab.progress import say
from ayllu.lab.store import digests_of
from ayllu.model.sampling import Sampling, recommended_sampling
from ayllu.release.digest import inspect_weights
from ayllu.release.files.contents import MANIFEST, PUBLIC_KEY, SIGNATURE

_HALF = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """The model that is served. What the folder does not say is None."""

    name: str
    created: int
    """Seconds since 1970."""
    context: int
    parameters: int
    aliases: tuple[str, ...] = ()
    """Other names that it is asked for by."""
    version: str | None = None
    licence: str | None = None
    digest: str | None = None
    """sha256 of the weights, where it is the one that the release's manifest says."""
    bits_per_byte: float | None = None
    """On held-out text, as the release's manifest says."""
    card: str | None = None
    """The model card: Markdown."""
    sampling: Sampling = field(default_factory=Sampling)
    """How tokens are drawn when a request does not say."""
    folder: Path | None = None
    """Where it lies."""
    adapters: tuple[str, ...] = ()
    """Names of the LoRA adapters that it is served with."""
    base: str | None = None
    """Of an adapter: the model that it is put on."""

    @property
    def names(self) -> tuple[str, ...]:
        """What it is asked for by, its adapters aside."""
        return (self.name, *self.aliases)

    def adapted(self, adapter: str) -> About:
        """What is told about its adapter of that name: what was measured and signed is the base's alone."""
        alone = replace(self, name=adapter, base=self.name, aliases=(), adapters=())
        return replace(alone, version=None, digest=None, bits_per_byte=None, card=None)


def describe(
    folder: Path, *, context: int, parameters: int, name: str | None = None, aliases: Sequence[str] = ()
) -> About:
    """Read what `folder` says about its model; the name is the manifest's, the adopted model's,
    or else the folder's own.
    """
    manifest, origin = _signed_manifest(folder), read_json_object(folder / ORIGIN)
    card = folder / "README.md"
    name = name or _text(manifest.get("name")) or _text(origin.get("title")) or folder.resolve().name
    return About(
        name=name,
        aliases=tuple(alias for alias in dict.fromkeys(aliases) if alias != name),
        created=_created(folder, manifest),
        context=context,
        parameters=parameters,
        version=_text(manifest.get("version")),
        licence=_text(manifest.get("licence")) or _text(origin.get("licence")),
        digest=_seen_digest(folder, _text(manifest.get("model_digest"))),
        bits_per_byte=_number(manifest.get("bits_per_byte")),
        card=card.read_text(encoding="utf-8", errors="replace") if card.is_file() else None,
        sampling=recommended_sampling(read_json_object(folder / "generation_config.json"))[0],
        folder=folder,
    )


def _signed_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a release; empty where there is none, and where it is not the one that was signed."""
    path, bundle = folder / MANIFEST, folder / SIGNATURE
    manifest = read_json_object(path)
    if not manifest or not bundle.is_file():
        return manifest
    from ayllu.release import sign  # which takes longer to import than all the rest here takes

    try:
        key = sign.public_key((folder / PUBLIC_KEY).read_bytes(), PUBLIC_KEY)
        signed = sign.signed_digests(bundle.read_text(encoding="utf-8"), key).get(path.name)
    except (OSError, ValueError, UserError, sign.BadSignature):
        signed = None
    if signed == file_digest(path):
        return manifest
    say(f"{path} is not what was signed, so nothing that it says is stated; see `ayllu release verify {folder}`")
    return {}


def _seen_digest(folder: Path, stated: str | None) -> str | None:
    """The stated digest, if the weights that are there have it: they are read once, until they change."""
    if stated is None:
        return None
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    digests = digests_of(folder)
    try:
        found = digests.of_all("weights", names, lambda: inspect_weights(folder).digest)
    except (OSError, ValueError):
        found = None
    digests.save()
    if found == stated:
        return stated
    say(f"the weights in {folder} are not those that its manifest names, so no digest of them is stated")
    return None


def _created(folder: Path, manifest: dict[str, Any]) -> int:
    try:
        return int(datetime.fromisoformat(str(manifest.get("created"))).timestamp())
    except ValueError:
        return int((folder / "config.json").stat().st_mtime)


def _text(value: object) -> str | None:
    """A text that can be told: half a character of UTF-16, which JSON can hold, is none."""
    return value if isinstance(value, str) and value and not _HALF.search(value) else None


def _number(value: object) -> float | None:
    """A number that can be told: JSON as Python reads it also holds infinite ones, and some that no float can."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return None
    return float(value)
