"""The `ayllu release` commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cyclopts

from ayllu.cli.options import Flag, Json, print_json, print_lines

if TYPE_CHECKING:
    from ayllu.release.trust.known import Standing
    from ayllu.release.verify import Verification

app = cyclopts.App(name="release", help="Check releases: who signed them, and whether they say what they hold.")


@app.command
def verify(folder: Path, /, *, key: Path | None = None, json: Json = False) -> int:
    """Verify a release offline: signature, files, scores, sources and every number on its card.

    Parameters
    ----------
    folder
        The release.
    key
        The publisher's public key, from a place that you trust. Without it the release's own key is used: that shows
        that nothing changed since the signing, but not who signed. The key that signed a name when it was first
        verified here is kept, and a release of that name by another key is refused.
    """
    from ayllu.release.trust.known import judge, known_path
    from ayllu.release.verify import verify_release

    found = verify_release(folder, key)
    standing = judge(found, known_path()) if found.verified else None
    accepted = standing is not None and standing.signer != "changed"
    if json:
        print_json(found.as_json() | {"verified": accepted, "signer": standing and standing.as_json()}, indent=2)
    else:
        print_lines(_told(found, standing) if standing else _refused(found))
    return 0 if accepted else 1


@app.command
def policy(file: Path, /, *, key: Path | None = None, json: Json = False) -> int:
    """Sign the rules of releases before a model is measured by them; writes FILE with the ending .sig beside it.

    Parameters
    ----------
    file
        JSON with name and, as far as wanted, weights_licence, permitted_licences and thresholds: objects with score
        (such as sets/hellaswag/accuracy_norm), at_least or at_most, and least, the items from which it can decide.
    key
        Your private key; your own release key when not given.
    """
    from ayllu.release import sign
    from ayllu.release.trust.policy_file import sign_policy, signature_path

    signer = sign.private_key(key)
    signed = sign_policy(file, signer)
    fingerprint = sign.fingerprint(signer.public_key())
    if json:
        value = {"policy": signed.policy.as_json(), "digests": signed.digests, "key": fingerprint}
        print_json(value | {"signature_file": str(signature_path(file))}, indent=2)
    else:
        print_lines([f"{file} is signed with the key {fingerprint}: {signature_path(file)}"])
        print_lines(["Give it to the measurement with --policy: a release by it is refused where it came later."])
    return 0


@app.command
def revoke(
    folder: Path | None = None,
    /,
    *,
    list: Path,
    reason: str = "",
    whole_key: Flag = False,
    days: int = 90,
    key: Path | None = None,
    json: Json = False,
) -> int:
    """Take a release back: put it on a signed list, which whoever has it gives to `ayllu release revocations`.

    Parameters
    ----------
    folder
        The release; without it the list is signed anew, until a later day.
    list
        The list, new or your own.
    reason
        Why, in one sentence that users will read.
    whole_key
        Take back everything that your key has signed: it is lost, or somebody else has it.
    days
        How long the list speaks; sign it again before.
    key
        Your private key; your own release key when not given.
    """
    from ayllu.release import sign
    from ayllu.release.trust.revocation import learn, released, revoke

    signer = sign.private_key(key)
    release = released(folder, signer.public_key()) if folder is not None else None
    found = revoke(list, signer, release=release, reason=reason, whole_key=whole_key, days=days)
    learn(list)
    if json:
        print_json(found.as_json() | {"list": str(list)}, indent=2)
    else:
        print_lines([f"{list}: {found.told()}", "It counts where `ayllu release revocations FILE` has read it."])
    return 0


@app.command
def revocations(file: Path, /, *, json: Json = False) -> int:
    """Learn from a publisher's signed list which releases were taken back: they are not used here any more.

    Parameters
    ----------
    file
        The list. It speaks only for releases signed with its own key, so it may come from anywhere.
    """
    from ayllu.release.trust.revocation import learn

    found, newer = learn(file)
    if json:
        print_json(found.as_json() | {"new": newer}, indent=2)
    else:
        print_lines([found.told() if newer else f"known already, or newer here: {found.told()}"])
    return 0


@app.command
def mutations(*, json: Json = False) -> int:
    """Build a small release, harm it in every way that is known, and say which of them verification finds by name."""
    from ayllu.release.mutations.prove import prove

    found = prove()
    if json:
        print_json({"mutations": found}, indent=2)
    else:
        print_lines(f"{'caught' if row['caught'] else 'MISSED'}: {row['name']}: {row['message']}" for row in found)
        print_lines([f"{sum(row['caught'] for row in found)} of {len(found)} caught by name"])
    return 0 if all(row["caught"] for row in found) else 1


def _refused(found: Verification) -> Iterator[str]:
    yield from map(str, found.problems)
    yield f"{found.title} is NOT verified"


def _told(found: Verification, standing: Standing) -> Iterator[str]:
    if standing.signer == "changed":
        yield (
            f"signed by another key ({found.fingerprint}) than the {found.name} that was verified here first, on "
            f"{standing.since} ({standing.first_key}): somebody else made it, or the publisher has a new key; pass "
            "--key with the publisher's public key to say which is right"
        )
        yield f"{found.title} is NOT verified"
        return
    if standing.newer:
        yield (
            f"an older release: {found.created} here, while {standing.newer} of {standing.newer_created}, by the same "
            "key, was verified here before"
        )
    if standing.signer == "new":
        yield "The signer is unknown here: nobody has vouched for the key that this release carries."
    yield f"{found.title} is verified: {found.files} files, {found.bytes / 1e6:,.1f} MB"
    yield f"signed with the key {found.fingerprint}"
    if standing.signer == "known":
        yield f"It is the key that signed {found.name} when it was first verified here, on {standing.since}."
    elif standing.signer == "new":
        yield "This is the key inside the release: nothing changed since the signing, but anyone could have signed."
        yield "Pass --key with the publisher's public key to know who did."
    if found.undecided:
        yield f"REVIEW: its own policy could not be decided for {', '.join(found.undecided)}"
    if found.revocations and found.revocations.expired:
        yield (
            f"The list of what its publisher has revoked ended on {found.revocations.expires.date()}: what was revoked "
            "since is not known here; get a new list, and give it to `ayllu release revocations`"
        )
    if found.beside:
        yield f"beside the release, not signed and not read: {', '.join(found.beside)}"
    if standing.note:
        yield standing.note
