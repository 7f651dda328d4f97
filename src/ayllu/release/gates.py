"""The gates: what a release says is checked against what it holds, when it is built and whenever it is verified."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from ayllu.evals.recompute import discrepancies, recompute
from ayllu.evals.score import DOCUMENTS, ITEMS
from ayllu.lab.error import UserError
from ayllu.lab.visible import visible
from ayllu.model.config import ModelConfig
from ayllu.model.draw_settings import shown
from ayllu.release import conformance, reference
from ayllu.release.digest import inspect_weights, tensor_names
from ayllu.release.files.contents import content_problems, oversized
from ayllu.release.files.listing import list_folder
from ayllu.release.files.same_model import gguf_problems
from ayllu.release.licences import licence_text, read_licence
from ayllu.release.policy import Policy
from ayllu.release.reference import json_object
from ayllu.release.trust.exception import EXCEPTION, exception_rows, excused
from ayllu.release.trust.policy_file import POLICY, policy_problems
from ayllu.release.trust.verdicts import verdicts

RECORDS, SCORES, SOURCES = "records.json", "scores.json", "sources.json"
INDEX = "model.safetensors.index.json"
REFERENCES = "references.json"
"""Which number on a page comes from where in the records."""
PAGES = ("README.md", "LICENSES.md")
REPORT = "TECHNICAL_REPORT.md"
"""A page too, which releases of before it lack."""
REPORT_PARTS = (
    "Data",
    "Architecture",
    "Training",
    "Evaluation",
    "Energy and hardware",
    "Limits",
    "Making it again",
)
"""What a technical report tells of, in its order: a page without one of them is none."""
SHAPE = {
    "vocabulary": "vocab_size",
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "feed_forward": "intermediate_size",
    "head_width": "head_dim",
    "context": "max_position_embeddings",
    "rope_theta": "rope_theta",
    "norm_epsilon": "rms_norm_eps",
    "tied": "tie_word_embeddings",
}
"""Fields of `ModelConfig`, as records.json has them, and their names in config.json."""
ALWAYS = ("weights", "scores", "licences", "template", "card")
"""Gates that every release has passed since the first."""
GATES = ("files", "weights", "gguf", "scores", "policy", *ALWAYS[2:])
TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Types of the weights, and their names in config.json."""
BOUNDS = ("low", "value", "high")
DIGEST = re.compile("[0-9a-f]{64}")
LONGEST = 600
"""Characters of a problem that are shown: whoever wrote the file does not choose how much is printed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why a release does not hold."""

    file: str
    """Path inside the release."""
    reason: str
    """What is wrong with it; reads on from the file's name."""
    gate: str = "integrity"

    def __str__(self) -> str:
        return visible(f"{self.file} {self.reason}", longest=LONGEST)


def gate_problems(folder: Path, policy: Policy, key: EllipticCurvePublicKey) -> Iterator[Problem]:
    """Run every gate over the content of `folder`; `key` is the signer's."""
    for file, reason in oversized(list_folder(folder).files):
        yield Problem(file=file, reason=reason, gate="files")
        return
    try:
        records = {
            file: json_object((folder / file).read_text(encoding="utf-8"), file) for file in (RECORDS, SCORES, SOURCES)
        }
    except (OSError, ValueError) as error:
        yield Problem(file=RECORDS, reason=f"or a file beside it cannot be read ({error})", gate="card")
        return
    checks = {
        "files": (RECORDS, content_problems(folder, records[RECORDS])),
        "gguf": ("config.json", gguf_problems(folder)),
        "weights": (RECORDS, _weights(folder, records[RECORDS])),
        "scores": (SCORES, _scores(folder, records[SCORES])),
        "policy": (POLICY, _policy(folder, records, policy, key)),
        "licences": (SOURCES, _licences(folder, records[SOURCES], policy)),
        "template": ("tokenizer.json", conformance.conversation_problems(folder)),
        "card": (PAGES[0], _pages(folder, records)),
    }
    failed = set()
    for gate in GATES:
        main, found = checks[gate]
        if gate == "gguf" and "weights" in failed:
            continue
        try:
            for file, reason in found:
                failed.add(gate)
                yield Problem(file=file, reason=_one_line(reason), gate=gate)
        except Exception as error:
            # A release comes from strangers: any field may hold anything, and each library has its own error for it.
            reason = f"or a file that it is checked with holds something unexpected ({type(error).__name__}: {error})"
            yield Problem(file=main, reason=_one_line(reason), gate=gate)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def licence_problems(sources: dict[str, Any], policy: Policy) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, for each source whose licence or origin stops a release."""
    entries = [*sources.get("corpus", []), *sources.get("dialogues", [])]
    if not entries:
        yield SOURCES, "names no source; a release says what the model learnt from"
    for entry in entries:
        name = entry.get("name") or "a source without a name"
        licence = read_licence(str(entry.get("licence") or "unknown"), policy.permitted_licences)
        if licence.objection:
            yield SOURCES, f"names {name}, whose licence ({entry.get('licence')}) {licence.objection}"
        for archive in entry.get("archives") or []:
            if not archive.get("version") or not DIGEST.fullmatch(str(archive.get("sha256"))):
                yield SOURCES, f"names an archive of {name} without its version or sha256"


def score_problems(scores: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, for each score that stands without its interval."""
    sets, sources = scores.get("sets") or {}, scores.get("bits_per_byte") or {}
    if not sets and not sources:
        yield SCORES, "holds no score; a release is measured"
    stated = {f"{name} {entry['headline']}": entry[entry["headline"]] for name, entry in sets.items()}
    stated |= {f"bits per byte of {name}": entry for name, entry in sources.items()}
    hazards = (scores.get("about") or {}).get("hazards")
    for name, entry in (hazards if isinstance(hazards, dict) else {}).items():
        # A hazard that the judge cannot tell has no bounds at all.
        if isinstance(entry, dict) and any(entry.get(bound) is not None for bound in BOUNDS):
            stated[f"hazard {name}"] = entry
    for name, entry in stated.items():
        bounds = tuple(entry.get(bound) for bound in BOUNDS)
        if not all(isinstance(bound, int | float) and math.isfinite(bound) for bound in bounds):
            yield SCORES, f"gives {name} without an interval; measure more items"
        elif not bounds[0] <= bounds[1] <= bounds[2]:
            yield SCORES, f"gives {name} outside its own interval"


def _weights(folder: Path, records: dict[str, Any]) -> Iterator[tuple[str, str]]:
    try:
        found = inspect_weights(folder)
    except (OSError, ValueError) as error:
        yield "model.safetensors", f"cannot be read ({error})"
        return
    stated = records.get("model") or {}
    for field in ("parameters", "dtype", "digest"):
        if stated.get(field) != getattr(found, field):
            yield RECORDS, f"says {field} {stated.get(field)}, but the weights have {getattr(found, field)}"
    yield from ((INDEX, reason) for reason in _index_problems(folder))
    config = json_object((folder / "config.json").read_text(encoding="utf-8"), "config.json")
    for field in ("dtype", "torch_dtype"):
        if config.get(field) not in (None, TYPES.get(found.dtype)):
            yield "config.json", f"says {field} {shown(config[field])}, but the weights are {found.dtype}"
    for ours, theirs in SHAPE.items():
        if config.get(theirs) != stated.get(ours):
            yield "config.json", f"says {theirs} {config.get(theirs)}, but {RECORDS} {stated.get(ours)}"
    if ModelConfig(**{field: stated[field] for field in SHAPE}).parameters != found.parameters:
        yield RECORDS, f"describes another shape than that of the {found.parameters:,} parameters in the weights"


def _index_problems(folder: Path) -> Iterator[str]:
    """Why other programs would load other weights than are there: they look only where the index says."""
    held = {name: path.name for path in sorted(folder.glob("*.safetensors")) for name in tensor_names(path)}
    if not (folder / INDEX).is_file():
        if set(held.values()) != {"model.safetensors"}:
            yield "is missing; without it other programs find no weights but those of model.safetensors"
        return
    listed = json_object((folder / INDEX).read_text(encoding="utf-8"), INDEX).get("weight_map")
    listed = listed if isinstance(listed, dict) else {}
    for name in sorted(listed.keys() | held.keys()):
        if listed.get(name) != held.get(name):
            there, said = held.get(name) or "no file", listed.get(name) or "none"
            yield f"says that {name} is in {said}, but it is in {there}"
            return


def _scores(folder: Path, scores: dict[str, Any]) -> Iterator[tuple[str, str]]:
    try:
        yield from score_problems(scores)
        for line in discrepancies(folder):
            file, _, reason = line.partition(": ")
            yield file, f"contradicts the raw outcomes: {reason}"
        yield from _doubled(folder)
    except UserError as error:
        yield SCORES, f"cannot be computed again: {error}"


def _doubled(folder: Path) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, where outcomes stand twice: that makes each interval narrower than it is."""
    raw = recompute(folder)
    asked = Counter((outcome.set, outcome.id) for outcome in raw.outcomes)
    for (name, item), times in asked.items():
        if times > 1:
            yield ITEMS, f"holds the outcome of {item} in {name} {times} times; each question counts once"
            return
    # Two texts of a source may be equal, but not most of them.
    for source, documents in raw.by_source().items():
        distinct = len({document.digest for document in documents})
        if len(documents) > 1 and 2 * distinct <= len(documents):
            yield DOCUMENTS, f"holds {len(documents):,} texts of {source}, but only {distinct:,} different ones"


def _policy(
    folder: Path, records: dict[str, Any], policy: Policy, key: EllipticCurvePublicKey
) -> Iterator[tuple[str, str]]:
    scores = records[SCORES]
    yield from policy_problems(folder, policy, scores["about"], key)
    found = verdicts(policy, scores)
    named = records[RECORDS].get("policy") or {}
    if named and (named.get("name"), named.get("sha256")) != (policy.name, policy.digest):
        yield RECORDS, "names another policy than the manifest does"
    if (records[RECORDS].get("policy") or {}).get("verdicts", []) != found:
        yield RECORDS, "gives other verdicts on the policy than the scores do"
    try:
        let = excused(folder, policy, key)
    except ValueError as error:
        yield EXCEPTION, str(error)
        return
    if (records[RECORDS].get("policy") or {}).get("exceptions", []) != list(exception_rows(let)):
        yield RECORDS, f"gives other exceptions than {EXCEPTION} does"
    elif let and not _on_top(folder, records):
        yield PAGES[0], "does not say at its top which scores were excepted, why, and by whom"
    failing = {entry["score"] for entry in found if entry["verdict"] == "FAIL"}
    for score in sorted(let.keys() - failing):
        yield EXCEPTION, f"excepts {score}, which does not fail the policy {policy.name}"
    for entry in found:
        if entry["verdict"] == "FAIL" and entry["score"] not in let:
            wanted = f"at least {entry['at_least']}" if "at_least" in entry else f"at most {entry['at_most']}"
            measured = f"{entry['value']} ({entry['low']} to {entry['high']})"
            yield SCORES, f"fails the policy {policy.name}: {entry['score']} is {measured}, and must be {wanted}"


def excepted(pages: reference.Pages) -> Iterator[str]:
    """What fails the policy and was released all the same: on the card before anything else."""
    for i in range(len(pages.get(RECORDS, "policy", "exceptions") or [])):
        score, reason, by = (
            pages.show(RECORDS, "policy", "exceptions", i, field) for field in ("score", "reason", "by")
        )
        yield f"**EXCEPTION: {score} FAILS the release's own policy. A second key let it through: {reason}**\n"
        yield f"The key that signed the exception: {by}\n"


def _on_top(folder: Path, records: dict[str, Any]) -> bool:
    """Whether the card says all that was excepted right behind its heading."""
    card = re.sub(r"\A---\n.*?\n---\n", "", _marked(folder, PAGES[0]), flags=re.DOTALL).lstrip()
    pages = reference.Pages(records)
    heading, _, rest = card.partition("\n")
    # A heading of its own could open a comment that hides what follows.
    named = heading == f"# {pages.show(RECORDS, 'release', 'name')}"
    return named and rest.lstrip().startswith("\n".join(excepted(pages)).strip())


def _licences(folder: Path, sources: dict[str, Any], policy: Policy) -> Iterator[tuple[str, str]]:
    yield from licence_problems(sources, policy)
    text = (folder / "LICENSE").read_text(encoding="utf-8") if (folder / "LICENSE").is_file() else ""
    if text != licence_text(policy.weights_licence):
        yield "LICENSE", f"is not the text of {policy.weights_licence}"
    for page in PAGES:
        marked = _marked(folder, page) if (folder / page).is_file() else ""
        yield from ((page, reason) for reason in _unnamed_licences(marked, sources))


def _marked(folder: Path, page: str) -> str:
    """A page with a reference behind each number. Raises OSError or ValueError where it cannot be read."""
    text = (folder / page).read_text(encoding="utf-8")
    path = folder / REFERENCES
    references = json_object(path.read_text(encoding="utf-8"), REFERENCES) if path.is_file() else {}
    try:
        return reference.attach(text, references.get(page, []))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{REFERENCES} does not fit: {error}") from None


def _unnamed_licences(text: str, sources: dict[str, Any]) -> Iterator[str]:
    """Why a page that lists the sources is incomplete: whoever copies the release owes each of them its terms."""
    shown = reference.Pages({SOURCES: sources})
    for kind in ("corpus", "dialogues"):
        for i, source in enumerate(sources.get(kind, [])):
            if shown.show(SOURCES, kind, i, "licence") not in text:
                yield f"does not give the licence of {source.get('name')}, {source.get('licence')}"


def _pages(folder: Path, records: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for page in (*PAGES, *([REPORT] if (folder / REPORT).exists() else [])):
        try:
            text = _marked(folder, page)
        except (OSError, ValueError) as error:
            yield page, f"cannot be read ({error})"
            continue
        for line, problem in reference.number_problems(text, records):
            yield page, f"line {line}: {problem}"
        if page == REPORT:
            yield from ((page, reason) for reason in _report_problems(text))


def _report_problems(text: str) -> Iterator[str]:
    """Why a page is no technical report: a part of it is not there, or empty."""
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    told = dict(zip(parts[1::2], parts[2::2], strict=True))
    for name in REPORT_PARTS:
        if not told.get(name, "").strip():
            yield f"says nothing of {name.lower()}, which a technical report tells of"
