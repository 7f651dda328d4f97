"""Names of accelerators as drivers, clouds and papers write them: `NVIDIA A100-SXM4-80GB`, `Tesla T4`, `8x H100`.

A name says a model, and often a form (SXM, PCIe, NVL) and a memory. A part must agree with all that the name says: an
A100 on a PCIe card is another machine than one on SXM, and a slice of an H100 is no H100.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAKERS = frozenset(
    (
        *("nvidia", "tesla", "geforce", "amd", "instinct", "intel", "habana", "google", "cloud", "aws", "amazon"),
        *("huawei", "microsoft", "meta", "gpu", "gpus", "tpus", "chips", "accelerator"),
        *("hbm2", "hbm2e", "hbm3", "hbm3e", "oam"),
    )
)
"""Words that tell no part from another."""
OTHER_PARTS = frozenset(
    (
        *("ti", "super", "d", "laptop", "mobile", "max", "q", "ada", "lite", "x", "s", "g", "c", "3e"),
        *("generation", "vf"),
    )
)
"""Words behind a part's name that make another part of it (RTX 3090 Ti)."""
_SLICE = re.compile(r"\bmig\b|\b\d+g\.\d+gb\b")
_FORM = re.compile(r"(?<![a-z])(sxm\d?|pci-?e(?:xpress)?\d?|nvl)(?!\w)|(?<=\d)(sxm\d?|pcie)(?!\w)")
_MEMORY = re.compile(r"(?<![\w.])(\d{1,4})\s*gi?b?(?!\w)")
_COUNT = re.compile(r"^\s*\d+\s*[x×*]\s*")


@dataclass(frozen=True, kw_only=True)
class PartName:
    """What a name says. `words` are in order, without makers, form and memory."""

    words: tuple[str, ...]
    form: str | None
    """sxm, pcie or nvl."""
    memory_gb: float | None
    is_slice: bool

    @property
    def model(self) -> str:
        return "".join(self.words)

    @property
    def is_bare(self) -> bool:
        """Whether it says the model alone."""
        return self.form is None and self.memory_gb is None


def read_name(text: str) -> PartName:
    """The name in `text`."""
    text = _COUNT.sub("", text.lower())
    is_slice = _SLICE.search(text) is not None
    form = _FORM.search(text)
    memory = _MEMORY.search(text)
    rest = _MEMORY.sub(" ", _FORM.sub(" ", re.sub(r"(dgx|hgx|nvl\d+)", r" \1 ", text)))
    words = tuple(word for word in re.split(r"[^a-z0-9]+", rest) if word and word not in MAKERS)
    said = (form[1] or form[2]) if form else None
    return PartName(
        words=words,
        form=None if said is None else "pcie" if said.startswith("pci") else said[:3],
        memory_gb=float(memory[1]) if memory else None,
        is_slice=is_slice,
    )


@dataclass(frozen=True, kw_only=True)
class KnownPart:
    """A part of the catalogue by all its names; the first is its full one."""

    id: str
    names: tuple[PartName, ...]
    memory_gb: float | None

    @property
    def form(self) -> str | None:
        return self.names[0].form

    def agrees(self, said: PartName, own: PartName) -> bool:
        """Whether the part is of the form and has the memory that are `said` with its own name `own`."""
        form = said.form is None or self.form in (said.form, None)
        return form and (said.memory_gb is None or said.memory_gb in (self.memory_gb, own.memory_gb))

    def called_bare(self, model: str) -> bool:
        """Whether the model alone, without form and memory, means this part."""
        return any(own.model == model and own.is_bare for own in self.names)


def find_part(text: str, parts: Sequence[KnownPart]) -> str | None:
    """The id of the part that `text` names whole; None where there is none, or only one of another form or memory."""
    said = read_name(text)
    if said.is_slice or not said.model:
        return None
    return _best(
        said.model, [part for part in parts if any(o.model == said.model and part.agrees(said, o) for o in part.names)]
    )


def find_part_within(text: str, parts: Sequence[KnownPart]) -> str | None:
    """The id of the part whose name stands somewhere in `text`, the longest name first (`DGX H100 nodes, IB`)."""
    said = read_name(text)
    if said.is_slice:
        return None
    runs = {"".join(run) for run in _runs(said.words)}
    found = {
        o.model for part in parts for o in part.names if len(o.model) > 2 and o.model in runs and part.agrees(said, o)
    }
    for model in sorted(found, key=lambda each: (-len(each), each)):
        return _best(
            model, [part for part in parts if any(o.model == model and part.agrees(said, o) for o in part.names)]
        )
    return None


def _runs(words: Sequence[str]) -> Iterable[Sequence[str]]:
    """Words that stand together, but for those behind which a word makes another part of it."""
    for first in range(len(words)):
        for end in range(first + 1, len(words) + 1):
            if end == len(words) or words[end] not in OTHER_PARTS:
                yield words[first:end]


def _best(model: str, parts: Sequence[KnownPart]) -> str | None:
    """The one that the bare name means, else the one on the better link, else the first."""
    ranked = sorted(parts, key=lambda part: (not part.called_bare(model), part.form != "sxm"))
    return ranked[0].id if ranked else None
