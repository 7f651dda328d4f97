"""A Hugging Face data set as a source: `hf:OWNER/NAME[:CONFIG][@REVISION]`, parquet and JSONL files, the train split.

Files are taken one at a time as the reading goes, so that a limit of documents is also a limit of what is downloaded.
What is in the hub's cache on this machine is used without a network.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ayllu.data.document import Document, Source
from ayllu.data.sources.local import read_files
from ayllu.lab import progress
from ayllu.lab.error import UserError

_SPEC = re.compile(r"hf:(?P<repository>[\w.-]+/[\w.-]+)(?::(?P<config>[^@]+))?(?:@(?P<revision>.+))?")
_LINES = (".jsonl", ".ndjson")
_PACKED = ("", ".gz", ".zst", ".xz", ".bz2")
_ENDINGS = (
    ".parquet",
    *(line + packed for line in (*_LINES, ".json") for packed in _PACKED if line + packed != ".json"),
)


@dataclass(frozen=True, kw_only=True)
class HubDataset:
    """What the text after `hf:` names."""

    repository: str
    """OWNER/NAME."""
    config: str | None = None
    revision: str | None = None
    """Branch, tag or commit; None is `main`."""


def parse_hub_name(name: str) -> HubDataset:
    """Read `hf:OWNER/NAME[:CONFIG][@REVISION]`. Raises UserError where it is something else."""
    match = _SPEC.fullmatch(name)
    if match is None:
        raise UserError(f"{name} does not name a data set: write hf:OWNER/NAME, hf:OWNER/NAME:CONFIG or …@REVISION")
    return HubDataset(**match.groupdict())


def hub_source(name: str) -> Source:
    """The source that `hf:…` names. Nothing is fetched before it is read."""
    data_set = parse_hub_name(name)
    notes: list[str] = []
    return Source(
        name=name,
        title=data_set.repository,
        licence="stated by the data set's card",
        description="A data set from the Hugging Face hub.",
        required=True,
        read=lambda cache: _read(data_set, name, notes),
        notes=notes,
    )


def _read(data_set: HubDataset, source: str, notes: list[str]) -> Iterator[Document]:
    commit, names, get = open_repository(data_set.repository, data_set.revision, kind="dataset")
    card = read_card(get("README.md")) if "README.md" in names else {}
    chosen = choose_files(names, card, data_set)
    notes.append(f"revision {commit}, {len(chosen)} file{'s' if len(chosen) > 1 else ''} of the train split")
    if licence := card.get("license"):
        notes.append(f"licence on the card: {licence if isinstance(licence, str) else ', '.join(licence)}")
    for name in chosen:
        path = get(name)
        # The cache may keep the file under another root, so the id starts at the repository.
        base = Path(str(path)[: -len(name)])
        yield from read_files([path], base=base, source=source, notes=notes)


class _UnreachableError(UserError):
    """The hub did not answer; its cache may still help."""


Kind = Literal["dataset", "model"]


def open_repository(
    repository: str, revision: str | None, *, kind: Kind
) -> tuple[str, list[str], Callable[[str], Path]]:
    """The commit, the names of its files, and a function that brings one of them; from the cache when offline.

    Raises UserError where the repository, the revision or the hub cannot be had.
    """
    from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download

    what = f"{'data set' if kind == 'dataset' else kind} {repository}"
    if not constants.HF_HUB_OFFLINE:
        try:
            with _explained(what, revision):
                info = HfApi().repo_info(repository, repo_type=kind, revision=revision)
        except _UnreachableError as error:
            progress.say(f"{error}; looking into the cache of this machine")
        else:

            def get(name: str) -> Path:
                with _explained(what, revision):
                    return Path(hf_hub_download(repository, name, repo_type=kind, revision=info.sha))

            return str(info.sha), [file.rfilename for file in getattr(info, "siblings", None) or ()], get
    try:
        folder = Path(snapshot_download(repository, repo_type=kind, revision=revision, local_files_only=True))
    except OSError as error:
        raise UserError(f"{what} is not in the cache and the hub is out of reach: go online") from error
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    return folder.name, names, lambda name: folder / name


@contextmanager
def _explained(what: str, revision: str | None) -> Iterator[None]:
    """Say in one sentence what the hub's client means."""
    import httpx2
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except GatedRepoError as error:
        raise UserError(f"{what} is gated: accept its terms on its page, then log in with `hf auth login`") from error
    except RevisionNotFoundError as error:
        raise UserError(f"{what} has no revision {revision}: name a branch, tag or commit of it") from error
    except RepositoryNotFoundError as error:
        raise UserError(f"there is no {what} that you may read: check its name or `hf auth login`") from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise _UnreachableError(f"{what} cannot be fetched from the hub ({type(error).__name__})") from error


def choose_files(names: list[str], card: dict[str, Any], data_set: HubDataset) -> list[str]:
    """The files of the train split of a configuration, as the card declares them or else as their names tell.

    Raises UserError where none fits.
    """
    readable = sorted(name for name in names if name.lower().endswith(_ENDINGS))
    declared = {entry.get("config_name", "default"): entry for entry in card.get("configs") or ()}
    if data_set.config and declared and data_set.config not in declared:
        raise UserError(f"{data_set.repository} has no configuration {data_set.config}: choose {', '.join(declared)}")
    if declared:
        default = next((entry for entry in declared.values() if entry.get("default")), None)
        entry = (
            declared[data_set.config]
            if data_set.config
            else default or declared.get("default") or next(iter(declared.values()))
        )
        patterns = _train_patterns(entry)
        chosen = [name for name in readable if any(_matches(name, pattern) for pattern in patterns)]
    else:
        chosen = [name for name in readable if not data_set.config or data_set.config in name.split("/")[:-1]]
        chosen = [name for name in chosen if "train" in name.lower()] or chosen
    if not chosen:
        raise UserError(
            f"{data_set.repository} has no parquet or JSONL file of a train split: convert it or use folder:PATH"
        )
    return chosen


def _train_patterns(entry: dict[str, Any]) -> list[str]:
    """The paths that a configuration on a card gives for its train split, or for everything where it names no split."""
    files = entry.get("data_files") or f"{entry.get('data_dir', '').rstrip('/')}/*".lstrip("/")
    listed = files if isinstance(files, list) else [files]
    paths: list[Any] = []
    for item in listed:
        if isinstance(item, dict) and item.get("split", "train") != "train":
            continue
        path = item["path"] if isinstance(item, dict) else item
        paths += path if isinstance(path, list) else [path]
    return [str(path) for path in paths]


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name, pattern.replace("**/", ""))


def read_card(readme: Path) -> dict[str, Any]:
    """The YAML at the head of a README on the hub; empty where there is none that can be read."""
    import yaml

    head = re.match(r"---\s*\n(.*?)\n---", readme.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    try:
        card = yaml.safe_load(head[1]) if head else {}
    except yaml.YAMLError:
        return {}
    return card if isinstance(card, dict) else {}
