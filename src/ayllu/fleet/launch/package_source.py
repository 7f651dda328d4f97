"""Where another machine gets the Ayllu that is installed here: no index is taken to have it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ayllu.lab.error import UserError

EXTRAS = "full"
MOUNTED = ".ayllu-package"
"""Where a folder or a wheel of this machine is laid in the home of the other."""


@dataclass(frozen=True, kw_only=True)
class PackageSource:
    """How pip gets the package on another machine."""

    words: str
    """What stands behind `pip install`, for a shell."""
    mounts: Mapping[str, str] = field(default_factory=dict)
    """Files or folders to bring along: place there, place here."""


def package_source(given: str | None = None) -> PackageSource:
    """What `given` says (a requirement, a URL, a wheel or a folder), else what this installation was made from.

    pip keeps that in `direct_url.json` (PEP 610): a folder, an archive or a commit; without it the package came from an
    index, which has this very version. Raises UserError when it is gone from here.
    """
    if given is not None:
        path = Path(given).expanduser()
        looks_local = "/" in given and "://" not in given
        return _local(path.resolve()) if path.exists() or looks_local else PackageSource(words=shlex.quote(given))
    here = _source_tree()
    if here is not None:
        return _local(here)
    try:
        installed = metadata.distribution("ayllu")
    except metadata.PackageNotFoundError:
        raise UserError("launch: Ayllu is not installed here; say what to install there with --install") from None
    told = installed.read_text("direct_url.json")
    if not told:
        return PackageSource(words=shlex.quote(f"ayllu[{EXTRAS}]=={installed.version}"))
    return _direct(json.loads(told))


def _source_tree() -> Path | None:
    """The checkout that this very code runs from, if it does."""
    root = Path(__file__).resolve().parents[4]
    return root if (root / "pyproject.toml").is_file() and (root / "src" / "ayllu").is_dir() else None


def _direct(told: Mapping[str, Any]) -> PackageSource:
    """From the fields of `direct_url.json`."""
    url = str(told["url"])
    if url.startswith("file://"):
        return _local(Path(unquote(urlsplit(url).path)))
    control = told.get("vcs_info")
    address = f"{control['vcs']}+{url}@{control['commit_id']}" if control else url
    return PackageSource(words=shlex.quote(f"ayllu[{EXTRAS}] @ {address}"))


def _local(path: Path) -> PackageSource:
    """A folder or an archive that must come along."""
    if not path.exists():
        raise UserError(f"launch: {path}, which Ayllu is installed from, is not there; give --install")
    if path.is_dir() and not (path / "pyproject.toml").is_file():
        raise UserError(f"launch: {path} holds no package (no pyproject.toml); give another --install")
    place = f"{MOUNTED}/{path.name}" if path.is_file() else MOUNTED
    return PackageSource(words='"$HOME"/' + shlex.quote(f"{place}[{EXTRAS}]"), mounts={f"~/{place}": str(path)})
