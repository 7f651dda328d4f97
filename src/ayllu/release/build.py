"""Make a release: a folder that stands alone, with everything that somebody needs to use, check and copy the model."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

from ayllu.lab.error import UserError
from ayllu.release import gates, reference, sign
from ayllu.release.digest import StoredWeights, file_digests, folder_files
from ayllu.release.documents.changes import compared_parts
from ayllu.release.documents.earlier import Earlier, changes_since
from ayllu.release.documents.hub import evaluated
from ayllu.release.documents.make import documents
from ayllu.release.documents.openness import OPENNESS, said_openness
from ayllu.release.files.contents import DOCUMENTS, MANIFEST, UNFINISHED
from ayllu.release.files.model import copy_files, copy_weights, write_gguf
from ayllu.release.gates import GATES, RECORDS, SCORES, SOURCES
from ayllu.release.licences import licence_text
from ayllu.release.manifest import NAME, VERSION, check_called, describe, write_manifest
from ayllu.release.pages import card
from ayllu.release.pages.technical_report import technical_report
from ayllu.release.policy import Policy
from ayllu.release.reference import write_json
from ayllu.release.trust.exception import EXCEPTION, exception_rows, excused
from ayllu.release.trust.policy_file import POLICY, POLICY_SIGNATURE, SignedPolicy
from ayllu.release.trust.verdicts import verdicts

SCORE_FILES = (SCORES, "items.jsonl", "documents.jsonl")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseSummary:
    """What was built."""

    folder: Path
    name: str
    version: str
    files: int
    bytes: int
    parameters: int
    model_digest: str
    gguf: str
    """Name of the GGUF file."""
    gates: tuple[str, ...]
    """The gates that it passed."""
    fingerprint: str
    """Of the key that signed."""
    seconds: float


def build_release(
    folder: Path,
    *,
    weights: Path,
    scores: Path,
    sources: Sequence[Mapping[str, Any]],
    dialogues: Sequence[Mapping[str, Any]] = (),
    records: Mapping[str, Any],
    name: str,
    version: str,
    policy: Policy | SignedPolicy,
    key: Path | None = None,
    figures: Sequence[Path] = (),
    proof: Mapping[str, Any] | None = None,
    earlier: Earlier | None = None,
) -> ReleaseSummary:
    """Write a release of the model in the Hugging Face folder `weights` into `folder`, and sign it.

    `scores` is the folder that `ayllu.evals.score.Scores.save` wrote. `sources` and `dialogues` are what the model
    learnt from, each with `name` and `licence`, and as far as known `title`, `description`, `archives`, `documents`,
    `bytes`.
    `records` are the facts of the training, any JSON object; where it has `predicted` and `measured`, the card shows
    them side by side, and `description` opens the card. A `policy` that was signed must be the one that the evaluation
    kept; where its thresholds cannot be decided, the card says so first. `key` is a private key in PEM form, the user's
    own by default. `proof` is what `ayllu.release.proof.make.write_proof` gave for the proof beside the release, and
    `earlier` the release before, from which a change log tells this one.

    Raises UserError when an input is missing, when `folder` holds something else, and when a gate of `policy` fails.
    """
    start = time.monotonic()
    check_called("name", name, NAME)
    check_called("version", version, VERSION)
    signing_key = sign.private_key(key)
    signed, policy = (policy, policy.policy) if isinstance(policy, SignedPolicy) else (None, policy)
    origins = {"corpus": [dict(source) for source in sources], "dialogues": [dict(source) for source in dialogues]}
    for file, reason in gates.licence_problems(origins, policy):
        raise _stopped(gates.Problem(file=file, reason=reason, gate="licences"))
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    release = {"name": name, "version": version, "licence": policy.weights_licence, "date": date}
    try:
        with _clean_folder(folder):
            stored = copy_weights(weights, folder)
            copy_files(SCORE_FILES, scores, folder)
            (folder / "LICENSE").write_text(licence_text(policy.weights_licence), encoding="utf-8")
            if signed:
                (folder / POLICY).write_bytes(signed.content)
                (folder / POLICY_SIGNATURE).write_bytes(signed.signature)
            if signed and signed.exceptions:
                (folder / EXCEPTION).write_bytes(signed.exceptions)
            facts = _write_records(
                folder, stored, release, records, origins, policy, signing_key.public_key(), proof, earlier
            )
            gguf = write_gguf(folder, stored, name, policy.weights_licence)
            _write_pages(folder, facts, policy, gguf=gguf, figures=_copy_figures(figures, folder))
            for problem in gates.gate_problems(folder, policy, signing_key.public_key()):
                raise _stopped(problem)
            _seal(folder, stored, facts, policy, signing_key)
    except OSError as error:
        where = error.filename or folder
        raise UserError(f"the release cannot be written ({error.strerror or error}: {where}): free the disk") from error
    paths = folder_files(folder)
    return ReleaseSummary(
        folder=folder,
        name=name,
        version=version,
        files=len(paths),
        bytes=sum((folder / path).stat().st_size for path in paths),
        parameters=stored.parameters,
        model_digest=stored.digest,
        gguf=gguf,
        gates=GATES,
        fingerprint=sign.fingerprint(signing_key.public_key()),
        seconds=time.monotonic() - start,
    )


def _write_records(
    folder: Path,
    stored: StoredWeights,
    release: Mapping[str, str],
    training: Mapping[str, Any],
    origins: Mapping[str, Any],
    policy: Policy,
    key: EllipticCurvePublicKey,
    proof: Mapping[str, Any] | None,
    earlier: Earlier | None,
) -> dict[str, Any]:
    """Write records.json and sources.json; gives their values and that of scores.json, as they stand in the files."""
    from ayllu.model.files.hf_config import load_config

    model = {**asdict(load_config(folder)), **asdict(stored)}
    scores = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    judged = verdicts(policy, scores) if policy.thresholds else []
    said: dict[str, Any] = {"proof": dict(proof)} if proof is not None else {}
    said |= {"policy": {"name": policy.name, "sha256": policy.digest, "verdicts": judged}} if judged else {}
    try:
        excepted = list(exception_rows(excused(folder, policy, key)))
    except ValueError as error:
        raise _stopped(gates.Problem(file=EXCEPTION, reason=str(error), gate="policy")) from None
    if excepted:
        said["policy"]["exceptions"] = excepted
    facts = {"release": release, "model": model, "training": dict(training), "evaluation": evaluated(scores)}
    said[OPENNESS] = said_openness({*folder_files(folder), *gates.PAGES, gates.REPORT, SOURCES}, origins)
    if earlier is not None:
        title, signer = f"{release['name']} {release['version']}", sign.fingerprint(key)
        parts = compared_parts(facts, origins)
        said["changes"] = changes_since(earlier, title=title, key=signer, parts=parts, scores=folder)
    write_json(folder / RECORDS, facts | said)
    write_json(folder / SOURCES, origins)
    return {file: json.loads((folder / file).read_text(encoding="utf-8")) for file in (RECORDS, SCORES, SOURCES)}


def _write_pages(folder: Path, facts: Mapping[str, Any], policy: Policy, *, gguf: str, figures: Sequence[str]) -> None:
    """The card, the list of licences and the report as plain text, and where each of their numbers comes from."""
    marked_pages = (
        card.model_card(facts, policy, gguf=gguf, figures=figures),
        card.licences_page(facts, policy),
        technical_report(facts, policy, figures=figures),
    )
    references = {}
    for page, marked in zip((*gates.PAGES, gates.REPORT), marked_pages, strict=True):
        plain, references[page] = reference.detach(marked)
        (folder / page).write_text(plain, encoding="utf-8")
    write_json(folder / gates.REFERENCES, references)


def _copy_figures(figures: Sequence[Path], folder: Path) -> list[str]:
    copied = []
    for figure in figures:
        if not figure.is_file():
            raise UserError(f"the figure {figure} does not exist: leave it out or draw it first")
        (folder / "figures").mkdir(exist_ok=True)
        shutil.copyfile(figure, folder / "figures" / figure.name)
        copied.append(f"figures/{figure.name}")
    return copied


def _seal(
    folder: Path,
    stored: StoredWeights,
    facts: Mapping[str, Any],
    policy: Policy,
    key: EllipticCurvePrivateKey,
) -> None:
    """Put in the public key and the manifest, and sign every file."""
    (folder / sign.PUBLIC_KEY).write_bytes(sign.public_pem(key.public_key()))
    paths = [path for path in folder_files(folder) if path != UNFINISHED]
    (folder / DOCUMENTS).mkdir()
    for name, text in documents(describe(folder, paths, stored, facts, policy), facts).items():
        (folder / DOCUMENTS / name).write_text(text, encoding="utf-8")
        paths.append(DOCUMENTS + name)
    write_manifest(folder, sorted(paths), stored, facts, policy)
    digests = file_digests(folder, sorted([*paths, MANIFEST]))
    name = facts[RECORDS]["release"]["name"]
    (folder / sign.SIGNATURE).write_text(sign.sign(name, digests, key), encoding="utf-8")


def _stopped(problem: gates.Problem) -> UserError:
    return UserError(f"the release is stopped by the gate “{problem.gate}”: {problem}")


@contextmanager
def _clean_folder(folder: Path) -> Iterator[None]:
    """An empty folder to build in, empty again when the build fails.

    What a killed build left is cleared; anything else is somebody's, and stays.
    """
    mark = folder / UNFINISHED
    if folder.exists() and any(folder.iterdir()):
        if not mark.exists():
            raise UserError(f"{folder} is not empty: choose a new folder for the release")
        _clear(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        yield
        mark.unlink()
    except BaseException:
        _clear(folder)
        mark.unlink(missing_ok=True)
        raise


def _clear(folder: Path) -> None:
    """Empty the folder; the mark goes last, so that a killed clearing is taken up again."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != UNFINISHED:
            path.unlink()
