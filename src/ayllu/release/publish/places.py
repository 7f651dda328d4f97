"""Where a release is published: it is verified before, copied, and verified again as it lies there."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.store import storage_told, write_atomically
from ayllu.release import sign
from ayllu.release.proof.folder import FOLDER, beside, open_proof, promised
from ayllu.release.publish.page import page
from ayllu.release.verify import Verification, verify_release


def publish(
    folder: Path,
    to: str,
    *,
    key: Path | None = None,
    endpoint: str | None = None,
    proof: Path | None = None,
    with_proof: bool = True,
) -> dict[str, Any]:
    """Publish the release in `folder` and say where it is, and where its proof is.

    `to` is a folder, `site:FOLDER` for a site of static files, or `hf:OWNER/NAME` for the hub, whose client takes the
    user's own token; `endpoint` is the hub's address where it is another. The proof, in the folder `proof` or beside
    the release, comes to lie beside it there too, under the same name with "-proof"; it is there before the release is.
    UserError where the release or its proof does not verify, here or there, and where the place is taken.
    """
    found = verify_release(folder, key)
    if found.problems:
        raise UserError(f"{folder} is not verified ({found.problems[0]}): only a whole release is published")
    carried = _carried(found, proof) if with_proof else None
    kind, colon, place = to.partition(":")
    makers: dict[str, Callable[[], tuple[Path | str, Path | str | None]]] = {
        "hf": lambda: _on_hub(found, carried, place, endpoint),
        "site": lambda: _on_site(found, carried, Path(place)),
    }
    if colon and re.fullmatch(r"\w+", kind) and (kind not in makers or not place):
        raise UserError(f"{to} is no place: give a folder (./{to} is one), site:FOLDER or hf:OWNER/NAME")
    where, beside_it = makers[kind]() if colon and kind in makers else _in_folder(found, carried, Path(to))
    return {
        "name": found.name,
        "version": found.version,
        "where": str(where),
        "proof": str(beside_it) if beside_it else None,
        "promises_proof": promised(found.folder) is not None,
        "key": found.fingerprint,
        "files": found.files,
    }


def _carried(found: Verification, given: Path | None) -> Path | None:
    """The proof to go along; None where the release speaks of none, or none is beside it and none was given."""
    if promised(found.folder) is None:
        if given is not None:
            raise UserError(f"{found.title} was built without a proof: leave out --proof")
        return None
    place = given or beside(found.folder)
    if given is None and not place.is_dir():
        return None
    _check_proof(place, found, "only the proof that the release was signed with is published")
    return place


def _check_proof(place: Path, found: Verification, then: str) -> None:
    said = promised(found.folder) or {}
    _, problems = open_proof(place, str(said.get("sha256")), found.model_digest)
    if problems:
        raise UserError(f"the proof in {place} is not that of {found.title} ({problems[0]}): {then}")


def _in_folder(found: Verification, proof: Path | None, out: Path) -> tuple[Path, Path | None]:
    """Copies, each of which is there whole or not at all."""
    if out.exists():
        raise UserError(f"{out} is there already: choose a new folder, for a release is never written over")
    for source in (found.folder, proof):
        if source is not None and out.resolve().is_relative_to(source.resolve()):
            kind = "release" if source == found.folder else "proof"
            raise UserError(f"{out} is inside the {kind}, which is signed as it is: choose another folder")
    kept = out.with_name(f"{out.name}-{FOLDER}") if proof else None
    with storage_told(out, "the release"):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".publish-", dir=out.parent) as draft:
            copy = Path(shutil.copytree(found.folder, Path(draft) / "release", ignore=_beside))
            _again(copy, found)
            if proof and kept:
                _proof_in_folder(found, proof, kept, Path(draft) / FOLDER)
            copy.rename(out)
    return out, kept


def _proof_in_folder(found: Verification, proof: Path, kept: Path, draft: Path) -> None:
    """A copy of the proof; one that is there already, of a try before, must be the same."""
    if not kept.exists():
        copy = Path(shutil.copytree(proof, draft, ignore=_beside))
        _check_proof(copy, found, "publish it again")
        copy.rename(kept)
    _check_proof(kept, found, "take it away, for nothing is written over")


def _on_site(found: Verification, proof: Path | None, site: Path) -> tuple[Path, Path | None]:
    """The release under NAME/VERSION with its card as a page, and a page of all releases of the site."""
    out, kept = _in_folder(found, proof, site / str(found.name) / str(found.version))
    card = (out / "README.md").read_text(encoding="utf-8")
    with storage_told(site, "the site"):
        # The page lies beside the release, which is signed as it is; its links lead into it.
        version = str(found.version)
        card = card.replace("](documents/", f"]({version}/documents/").replace("](figures/", f"]({version}/figures/")
        card = card.replace("](LICENSES.md)", f"]({version}/LICENSES.md)")
        write_atomically(site / str(found.name) / f"{version}.html", page(found.title, card))
        pages = sorted(path.relative_to(site).as_posix() for path in site.glob("*/*.html"))
        listed = "".join(f"- [{path.removesuffix('.html').replace('/', ' ')}]({path})\n" for path in pages)
        write_atomically(site / "index.html", page("Releases", f"# Releases\n\n{listed}"))
    return out, kept


def _on_hub(found: Verification, proof: Path | None, repository: str, endpoint: str | None) -> tuple[str, str | None]:
    """A repository that holds the release and nothing else, and one for the proof.

    Both are fetched back and verified as strangers get them.
    """
    try:
        kept = None
        if proof is not None:
            name = f"{repository}-{FOLDER}"
            kept = _to_hub(found, proof, name, endpoint, lambda copy: _check_proof(copy, found, "publish it again"))
        return _to_hub(found, found.folder, repository, endpoint, lambda copy: _again(copy, found)), kept
    except UserError:
        raise
    except Exception as error:  # the client lets through the errors of its HTTP library and of its own storage
        raise UserError(f"{repository} could not be published ({' '.join(str(error).split())[:300]})") from None


def _to_hub(
    found: Verification, folder: Path, repository: str, endpoint: str | None, check: Callable[[Path], None]
) -> str:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint)
    api.create_repo(repository, exist_ok=True)
    commit = api.upload_folder(
        repo_id=repository,
        folder_path=folder,
        commit_message=f"{found.title}, signed with {found.fingerprint}",
        delete_patterns="*",
        ignore_patterns=[".git/*", ".cache/*"],
    )
    with tempfile.TemporaryDirectory(prefix="ayllu-published-") as place:
        api.snapshot_download(repository, revision=commit.oid, local_dir=place)
        check(Path(place))
    return f"{api.endpoint}/{repository}/tree/{commit.oid}"


def _again(copy: Path, found: Verification) -> None:
    """Verify what lies there with the key that signed what was given."""
    there = verify_release(copy, found.folder / sign.PUBLIC_KEY)
    if there.problems:
        raise UserError(f"what was published is not what was given ({there.problems[0]}): publish it again")


def _beside(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in (".git", ".cache")]
