"""The pages of a release: the model card and the list of licences. Every number is a reference to the records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from ayllu.release.documents import terms
from ayllu.release.documents.hub import model_index
from ayllu.release.documents.openness import OPENNESS, openness_line
from ayllu.release.gates import RECORDS, SCORES, SOURCES, excepted
from ayllu.release.pages.sections import (
    changes_section,
    data_section,
    energy_section,
    gates_section,
    hazards_section,
    safety_section,
    scores_section,
    settings_section,
    shape_section,
    source_title,
    training_section,
)
from ayllu.release.policy import Policy
from ayllu.release.reference import Pages, Records

USE = """\
## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
ids = tokenizer.apply_chat_template(
    [{{"role": "user", "content": "Hello!"}}], add_generation_prompt=True, return_tensors="pt", return_dict=True
)
print(tokenizer.decode(model.generate(**ids, max_new_tokens=100)[0]))
```

`{gguf}` holds the same model for llama.cpp and the programs built on it:

```
llama-cli -m {gguf} -cnv
```
"""
LIMITS = """\
## Limits

The model writes what is likely after what it read. It makes statements that are false, and repeats what its sources
say, their prejudices too. The scores below are all that was measured: nothing here says that it is fit for a task, or
safe in front of people who did not ask for it. Do not let it decide about anybody.
[Acceptable use](documents/ACCEPTABLE_USE.md) says what it is for, and what not.
"""
DOCUMENTS = """\
## Documents

All of them are made of this release's records, and verification makes them again and compares:

- [a data card](documents/croissant.json) (Croissant), with [a table of the sources](documents/sources.jsonl)
- [a bill of materials](documents/mlbom.cdx.json) (CycloneDX), and [an AI package](documents/spdx.json) (SPDX)
- [the public summary of the training content](documents/TRAINING_CONTENT.md) after the EU's template
- [the scores for the hub](documents/eval_results.yaml), and [what it is for](documents/ACCEPTABLE_USE.md)
"""
CHANGED = """\
- [what changed since the release before](documents/CHANGES.md)
"""
VERIFY = """\
## Verify

```
ayllu release verify . --key PUBLISHERS_KEY.pub
```

checks offline that no file was changed, added or removed since the holder of the key signed, computes the scores again
from the raw outcomes, compares the GGUF file with the weights, and looks up every number on this page in
`records.json`, `scores.json` and `sources.json`, where `references.json` says that it comes from. Without `--key`
anybody could have signed: the publisher's key must come from a place that you trust. The independent
`model_signing verify key` command accepts the signature too.
"""


PROOF = """\
## Proof

```
ayllu release verify . --key PUBLISHERS_KEY.pub --re-execute --proof PROOF
```

also executes again what the folder of the proof, which is published beside this release and never in it, holds:
{parts}. The sha256 of its proof.json: {sha256}"""


def model_card(records: Records, policy: Policy, *, gguf: str, figures: Iterable[str] = ()) -> str:
    """README.md with the front matter of Hugging Face; `figures` are paths inside the release."""
    pages = Pages(records)
    name = pages.show(RECORDS, "release", "name")
    version = pages.show(RECORDS, "release", "version")
    described = pages.get(RECORDS, "training", "description")
    parts = [
        "\n".join(_front_matter(pages, policy)),
        f"# {name}\n",
        *excepted(pages),
        *_undecided(pages),
        *([pages.show(RECORDS, "training", "description") + "\n"] if described else []),
        f"Version {version}: a language model of the Llama-3 architecture, made with Ayllu. Its weights are given "
        f"under {policy.weights_licence}; [LICENSES.md](LICENSES.md) names the licence of every source, and "
        "[the technical report](TECHNICAL_REPORT.md) tells how it came to be.\n",
        USE.format(gguf=gguf),
        LIMITS,
        *_sections(pages),
        *(f"![{PurePosixPath(figure).stem.replace('_', ' ')}]({figure})\n" for figure in figures),
        DOCUMENTS + (CHANGED if pages.get(RECORDS, "changes") else ""),
        *([_openness(pages)] if pages.get(RECORDS, OPENNESS) else []),
        VERIFY,
        *([_proof(pages)] if pages.get(RECORDS, "proof") else []),
    ]
    return "\n".join(parts)


def _openness(pages: Pages) -> str:
    """The class of the Model Openness Framework, and what the next one lacks."""
    line = openness_line(pages.get(RECORDS, OPENNESS), pages.show(RECORDS, OPENNESS, "framework"))
    return f"## Openness\n\n{line}\n"


def _proof(pages: Pages) -> str:
    """What can be executed again, and what cannot and why."""
    parts = pages.get(RECORDS, "proof", "parts")
    named = ", ".join(pages.show(RECORDS, "proof", "parts", i) for i in range(len(parts)))
    lacking = [
        f"- {name}: {pages.show(RECORDS, 'proof', 'lacking', name)}" for name in pages.get(RECORDS, "proof", "lacking")
    ]
    missing = "\n\nNot in the proof:\n\n" + "\n".join(lacking) if lacking else ""
    return PROOF.format(parts=named, sha256=pages.show(RECORDS, "proof", "sha256")) + missing + "\n"


def _undecided(pages: Pages) -> Iterator[str]:
    """What the release's own policy could not decide, before anything else is said."""
    rows = pages.get(RECORDS, "policy", "verdicts") or []
    open_ones = [i for i, row in enumerate(rows) if row["verdict"] == "REVIEW"]
    if open_ones:
        named = (pages.show(RECORDS, "policy", "verdicts", i, "score") for i in open_ones)
        yield f"**REVIEW: its own policy could not be decided for {', '.join(named)}. See Gates.**\n"


def licences_page(records: Records, policy: Policy) -> str:
    """LICENSES.md: the licence of the weights and of every source, with the archive that it was read from."""
    pages = Pages(records)
    lines = [
        "# Licences",
        "",
        f"The weights are given under {policy.weights_licence} (see LICENSE). They were learnt from:",
    ]
    for kind, title in (("corpus", "Texts"), ("dialogues", "Dialogues")):
        for i, source in enumerate(pages.get(SOURCES, kind) or []):
            lines += ["", f"## {title}: {source_title(pages, kind, i)}", ""]
            lines += [f"- licence: {pages.show(SOURCES, kind, i, 'licence')}"]
            if source.get("description"):
                lines += [f"- content: {pages.show(SOURCES, kind, i, 'description')}"]
            for j in range(len(source.get("archives") or [])):
                shown = [
                    pages.show(SOURCES, kind, i, "archives", j, field) for field in ("name", "version", "registry")
                ]
                digest = pages.show(SOURCES, kind, i, "archives", j, "sha256")
                lines += [f"- archive: {shown[0]} {shown[1]} ({shown[2]}), sha256 {digest}"]
    lines += ["", "## What they allow together", ""]
    told = terms.together(pages.get(SOURCES) or {}, policy.weights_licence, policy.permitted_licences)
    lines += [line for sentence in told for line in (sentence, "")]
    return "\n".join(lines).rstrip() + "\n"


def _front_matter(pages: Pages, policy: Policy) -> Iterator[str]:
    yield "---"
    yield f"license: {policy.weights_licence.lower()}"
    yield "language: en"
    yield "library_name: transformers"
    yield "pipeline_tag: text-generation"
    yield "tags: [ayllu, llama, conversational]"
    yield from model_index(pages, RECORDS, SCORES)
    yield "---\n"


def _sections(pages: Pages) -> Iterator[str]:
    yield "## Model\n\n" + shape_section(pages)
    changes = list(changes_section(pages))
    if changes:
        yield "## What training changed\n\n" + "\n".join(changes)
    if pages.get(RECORDS, "training", "safety"):
        yield safety_section(pages)
    training = list(training_section(pages))
    if training:
        yield "## Training\n\n" + "\n".join(training)
    yield "## Energy and hardware\n\n" + "\n".join(energy_section(pages))
    settings = list(settings_section(pages))
    if settings:
        yield "## Settings\n\n" + "\n".join(settings)
    yield "## Scores\n\n" + "\n".join(scores_section(pages))
    if pages.get(SCORES, "about", "hazards"):
        yield hazards_section(pages)
    if pages.get(RECORDS, "policy", "verdicts"):
        yield gates_section(pages)
    yield "## Data\n\n" + data_section(pages)
