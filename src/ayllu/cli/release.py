"""The `ayllu release` commands."""

from __future__ import annotations

from collections.abc import Iterator
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING

import cyclopts

from ayllu.cli.lab.promote import promote
from ayllu.cli.lab.tiers import app as tiers
from ayllu.cli.options import Flag, Json, print_json, print_lines
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.release.proof.execute import ReExecution
    from ayllu.release.trust.known import Standing
    from ayllu.release.verify import Verification

app = cyclopts.App(name="release", help="Check releases: who signed them, and whether they say what they hold.")
app.command(promote)
app.command(tiers)


@app.command
def verify(
    folder: Path,
    /,
    *,
    key: Path | None = None,
    re_execute: Flag = False,
    proof: Path | None = None,
    seed: int | None = None,
    json: Json = False,
) -> int:
    """Verify a release offline: signature, files, scores, sources and every number on its card.

    Parameters
    ----------
    folder
        The release.
    key
        The publisher's public key, from a place that you trust. Without it the release's own key is used: that shows
        that nothing changed since the signing, but not who signed. The key that signed a name when it was first
        verified here is kept, and a release of that name by another key is refused.
    re_execute
        Also execute again what the release's proof holds: generations, log-likelihoods, steps of its training, and the
        data pipeline on a sample of documents. What is not executed is named, and is no success.
    proof
        Folder of the proof; the folder `proof` beside the release when not given.
    seed
        Draws which scores are asked again; drawn anew each time when not given, so that no publisher can foresee it.
    """
    if not re_execute and (proof is not None or seed is not None):
        raise UserError("--proof and --seed are of the re-execution: give --re-execute too")
    from ayllu.release.trust.known import judge, known_path
    from ayllu.release.verify import verify_release

    found = verify_release(folder, key)
    standing = judge(found, known_path()) if found.verified else None
    accepted = standing is not None and standing.signer != "changed"
    executed = _executed(found, proof, seed) if re_execute and accepted else None
    said = {"verified": accepted, "signer": standing and standing.as_json()}
    if json:
        again = {"re_execution": executed and executed.as_json()} if re_execute else {}
        print_json(found.as_json() | said | again, indent=2)
    else:
        print_lines(_told(found, standing) if standing else _refused(found))
        print_lines(_re_executed(executed) if executed else [])
    return 0 if accepted and (executed is None or executed.succeeded) else 1


def _executed(found: Verification, proof: Path | None, seed: int | None) -> ReExecution:
    from ayllu.release.proof.execute import re_execute

    return re_execute(found, proof, seed=seed)


def _re_executed(found: ReExecution) -> Iterator[str]:
    """Every part by name, those that were not executed too, and what it comes to."""
    for part in found.parts:
        row = part.as_json()
        took = f" in {part.seconds:.0f} s" if part.word == "PASS" else ""
        yield f"{row['part']}: {part.word}{took}: {row['told']}"
    yield from map(str, found.problems)
    if found.succeeded:
        yield f"Re-executed (scores drawn with --seed {found.seed}): all that the release promises came out as it was."
    else:
        yield "NOT verified by re-execution: see the parts above."


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
def documents(folder: Path, /, *, out: Path, key: Path | None = None, json: Json = False) -> int:
    """Write what others ask for about a release: bills of materials, a data card, a summary, how open it is, and more.

    A release holds them itself, in its folder `documents`; this makes them for an older one too.

    Parameters
    ----------
    folder
        The release, which must verify.
    out
        Folder for the documents, beside the release.
    key
        The publisher's public key, as for verify.
    """
    from ayllu.release.documents.make import BILL, OPENNESS
    from ayllu.release.documents.write import write_documents

    found = write_documents(folder, out, key=key)
    open_ = loads(found[OPENNESS])
    if json:
        print_json({"bill_of_materials": loads(found[BILL]), "openness": open_, "files": sorted(found)}, indent=2)
    else:
        lacking = ", ".join(open_["missing"]["III"]) or "nothing"
        print_lines([f"{out}: {', '.join(sorted(found))}"])
        print_lines([f"Model Openness Framework: class {open_['class'] or 'none'}; class III lacks {lacking}"])
    return 0


@app.command(name="print")
def print_(folder: Path, /, *, out: Path, key: Path | None = None, json: Json = False) -> int:
    """Print the card of a release as a PDF: scores with intervals, the data mix, its figures, and the whole text.

    Parameters
    ----------
    folder
        The release, which must verify.
    out
        The PDF, beside the release.
    key
        The publisher's public key, as for verify.
    """
    from ayllu.release.documents.printed import print_card

    pages = print_card(folder, out, key=key)
    if json:
        print_json({"file": str(out), "pages": pages})
    else:
        print_lines([f"{out}: {pages} pages"])
    return 0


@app.command(name="except")
def except_(score: str, /, *, scores: Path, policy: Path, reason: str, key: Path, json: Json = False) -> int:
    """Let a release be built though a score fails its policy, with a second key that the policy names for it.

    Parameters
    ----------
    score
        The threshold's score, such as sets/hellaswag/accuracy_norm.
    scores
        scores.json of the evaluation: the exception holds for it alone.
    policy
        The signed policy; its exceptions_by has the fingerprint of the key. The exception lies beside it afterwards,
        and a recipe that is given the policy again takes it along.
    reason
        Why, in one sentence; it stands at the top of the card.
    key
        The second private key.
    """
    from ayllu.release import sign
    from ayllu.release.trust.exception import make_exception

    if not scores.is_file():
        raise UserError(f"{scores} is no file: give scores.json of the evaluation")
    signer = sign.private_key(key)
    place = make_exception(scores, policy, signer, score=score, reason=reason)
    by = sign.fingerprint(signer.public_key())
    if json:
        print_json({"file": str(place), "score": score, "reason": reason, "key": by})
    else:
        print_lines([f"{place}: {score} is excepted by the key {by}"])
    return 0


@app.command
def publish(
    folder: Path,
    /,
    *,
    to: str,
    key: Path | None = None,
    proof: Path | None = None,
    without_proof: Flag = False,
    json: Json = False,
) -> int:
    """Publish a release that verifies: to a folder, a static site, or the Hugging Face hub; it is verified there again.

    Its proof goes along where it lies beside it: beside the release there too, as FOLDER-proof or OWNER/NAME-proof.

    Parameters
    ----------
    folder
        The release.
    to
        A new folder; site:FOLDER for static pages; or hf:OWNER/NAME, which uses the token of the hub's client.
    key
        The publisher's public key, as for verify.
    proof
        Folder of the proof; the one beside the release when not given.
    without_proof
        Leave the proof out: it holds the questions of benchmarks in plain text, and the state of a training.
    """
    from ayllu.release.publish.places import publish

    if without_proof and proof is not None:
        raise UserError("--proof gives the proof that --without-proof leaves out: give one of the two")
    found = publish(folder, to, key=key, proof=proof, with_proof=not without_proof)
    if json:
        print_json(found)
        return 0
    print_lines([f"{found['name']} {found['version']} is published and verified: {found['where']}"])
    if found["proof"]:
        print_lines([f"its proof: {found['proof']}"])
    elif found["promises_proof"]:
        why = "was left out" if without_proof else f"is not in {folder.absolute().parent}: give it with --proof"
        print_lines([f"its proof {why}; without it nobody executes the release again"])
    return 0


@app.command
def diff(before: Path, after: Path, /, *, json: Json = False) -> int:
    """Say what changed from one release to the next: model, sources, settings, files, and scores paired by item.

    Parameters
    ----------
    before
        The earlier release.
    after
        The later one.
    """
    from ayllu.release.documents.changes import KINDS, changes

    found = changes(before, after)
    if json:
        print_json(found)
        return 0
    print_lines([f"{found['before']} to {found['after']}{'' if found['same_key'] else ', signed with another key'}"])
    for kind in KINDS:
        print_lines(f"{kind}: {row['name']}: {_short(row['before'])} to {_short(row['after'])}" for row in found[kind])
    for row in found["scores"]:
        told = "no interval" if row["low"] is None else f"95 %: {row['low']:+.4g} to {row['high']:+.4g}"
        print_lines([f"score: {row['score']}: {row['first']:.4g} to {row['second']:.4g}, "
                     f"{row['difference']:+.4g} ({told}, {row['items']:,} items)"])  # fmt: skip
    if found["not_compared"]:
        print_lines([f"scores are not compared: {found['not_compared']}"])
    return 0


def _short(value: object) -> str:
    text = "not there" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


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
    if found.excepted:
        yield f"EXCEPTION: it fails its own policy for {', '.join(found.excepted)}; a second key let it through"
    yield f"gates: {', '.join(f'{gate} {word}' for gate, word in found.gates.items())}"
    if found.undecided:
        yield f"REVIEW: its own policy could not be decided for {', '.join(found.undecided)}"
    if found.revocations and found.revocations.expired:
        yield (
            f"The list of what its publisher has revoked ended on {found.revocations.expires.date()}: what was revoked "
            "since is not known here; get a new list, and give it to `ayllu release revocations`"
        )
    if found.revocations and found.revocations.issued and found.revocations.from_the_future:
        yield (
            f"This machine's clock is wrong: the list of what its publisher has revoked was signed on "
            f"{found.revocations.issued.date()}, which is still to come here, so that nobody knows whether it has "
            "ended; set the clock"
        )
    if found.beside:
        yield f"beside the release, not signed and not read: {', '.join(found.beside)}"
    if standing.note:
        yield standing.note
