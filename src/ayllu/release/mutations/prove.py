"""Harm a small release in every way that we know, one at a time, and say which of them verification names."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.lab import progress
from ayllu.lab.error import UserError
from ayllu.release.files.contents import MANIFEST
from ayllu.release.gates import SCORES
from ayllu.release.mutations import executed
from ayllu.release.mutations.edits import put
from ayllu.release.mutations.harms import Mutation, mutations
from ayllu.release.mutations.small import Small, build_small, seal, sign_files
from ayllu.release.trust.known import judge
from ayllu.release.trust.policy_file import POLICY, POLICY_SIGNATURE, sign_policy
from ayllu.release.trust.revocation import learn, released, revoke
from ayllu.release.verify import verify_release


def prove() -> list[dict[str, Any]]:
    """Name, `caught` and message of each mutation; a mutation is caught where a problem says what was done.

    Raises UserError where the release that is to be harmed does not verify itself: then nothing would be proven.
    """
    with tempfile.TemporaryDirectory(prefix="ayllu-mutations-") as folder:
        place = Path(folder)
        small = build_small(place)
        sound = verify_release(small.folder, small.public)
        if sound.problems:
            raise UserError(f"the release that is to be harmed does not verify: {sound.problems[0]}; report this")
        steps = [*_verified(place, small), *_remembered(place, small), *_executed_again(place / "executed")]
        return [step() for step in progress.track(steps, "mutations", total=len(steps), unit="mutations")]


Step = Callable[[], dict[str, Any]]


def _verified(place: Path, small: Small) -> Iterator[Step]:
    for number, mutation in enumerate(mutations()):
        yield partial(_try, place / str(number), small, mutation)


def harmed(place: Path, small: Small, mutation: Mutation) -> Path:
    """A copy of the release in the new folder `place`, harmed and, where the mutation says so, signed again."""
    folder = Path(shutil.copytree(small.folder, place / "release"))
    if not mutation.of_manifest:
        mutation.harm(folder, small)
    if mutation.signer == "publisher":
        seal(folder, small.key, small.policy)
    elif mutation.signer == "stranger":
        seal(folder, ec.generate_private_key(ec.SECP256R1()), small.policy)
    if mutation.of_manifest:
        mutation.harm(folder, small)
        sign_files(folder, small.key)
    return folder


def _try(place: Path, small: Small, mutation: Mutation) -> dict[str, Any]:
    folder = harmed(place, small, mutation)
    problems = [str(problem) for problem in verify_release(folder, small.public).problems]
    named = next((problem for problem in problems if problem.startswith(mutation.found)), None)
    shutil.rmtree(place)
    return _row(mutation.name, named, problems)


def _row(name: str, named: str | None, said: list[str]) -> dict[str, Any]:
    return {"name": name, "caught": named is not None, "message": named or "; ".join(said) or "verified"}


def _executed_again(place: Path) -> Iterator[Step]:
    """What only somebody finds who computes again what a release says."""

    def told(step: Callable[[], tuple[str, str, list[str]]]) -> dict[str, Any]:
        name, found, problems = step()
        return _row(name, next((problem for problem in problems if problem.startswith(found)), None), problems)

    yield from (partial(told, step) for step in executed.rows(place))


def _remembered(place: Path, small: Small) -> Iterator[Step]:
    """What only somebody finds who has verified a release of that name before, without a key at hand."""

    def stranger() -> dict[str, Any]:
        known = place / "known-stranger.json"
        judge(verify_release(small.folder), known)
        folder = Path(shutil.copytree(small.folder, place / "stranger"))
        key = ec.generate_private_key(ec.SECP256R1())
        (folder / POLICY_SIGNATURE).unlink()
        put(SCORES, "about", "policy", value=sign_policy(folder / POLICY, key).digests)(folder, small)
        seal(folder, key, small.policy)
        found = verify_release(folder)
        standing = judge(found, known)
        said = "signed by another key than the release of this name that was verified here first"
        named = said if found.verified and standing.signer == "changed" else None
        return _row("re-signed by a stranger, no key given", named, [*map(str, found.problems), standing.signer])

    def replayed() -> dict[str, Any]:
        known = place / "known-replayed.json"
        newer = Path(shutil.copytree(small.folder, place / "newer"))
        put(MANIFEST, "created", value="2999-01-01T00:00:00+00:00")(newer, small)
        sign_files(newer, small.key)
        judge(verify_release(newer, small.public), known)
        standing = judge(verify_release(small.folder, small.public), known)
        named = f"an older release than {standing.newer} of {standing.newer_created} by the same key"
        return _row("replayed older version", named if standing.newer else None, [])

    def revoked(name: str, **given: Any) -> dict[str, Any]:
        lists = place / name.replace(" ", "-")
        lists.mkdir()
        list_file = lists / "list.json"
        revoke(list_file, small.key, reason="it repeats personal data", **given)
        learn(list_file, lists)
        problems = [str(problem) for problem in verify_release(small.folder, small.public, lists=lists).problems]
        said = f"{MANIFEST} is that of a release that is not to be used"
        return _row(name, next((problem for problem in problems if problem.startswith(said)), None), problems)

    release = released(small.folder, small.key.public_key())
    yield from (stranger, replayed)
    yield partial(revoked, "revoked release", release=release)
    yield partial(revoked, "revoked key", whole_key=True)
