"""What lm-evaluation-harness wrote about a model, read so that it can be compared with ours, item by item.

`lm_eval run --log_samples --output_path DIR` writes one `samples_TASK_DATE.jsonl` a task. An item is the same where the
texts that were given and scored are the same, so that it does not matter how either numbers its items.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ayllu.evals.comparison.compare import compare_scores
from ayllu.evals.harness.peer import likelihood_of, ordered_arguments
from ayllu.evals.recompute import recompute
from ayllu.evals.score import Outcome, Scores
from ayllu.lab.error import UserError

PATTERN = "samples_*.jsonl"


def sample_files(path: Path) -> list[Path]:
    """Files of samples: the path itself, or those under it."""
    if path.is_file():
        return [path] if path.match(PATTERN) else []
    return sorted(path.rglob(PATTERN)) if path.is_dir() else []


def read_results(path: Path, like: Scores) -> Scores:
    """lm-eval's likelihoods of the ranked choices that `like` holds, as scores of the same items.

    Items that `like` has not are kept under names of their own, so that a comparison refuses them. Raises UserError
    where a line cannot be read, or an item stands there twice with two answers.
    """
    known = {(outcome.digest, len(outcome.log_likelihoods)): outcome for outcome in like.outcomes}
    found: dict[str, Outcome] = {}
    for file in sample_files(path):
        for number, sample in _lines(file):
            try:
                outcome = _outcome(sample, known, f"{file.stem}/{sample['doc_id']}")
            except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
                raise UserError(
                    f"{file} line {number} is no sample of lm-eval's ({error}): give its samples"
                ) from error
            if outcome is None:
                continue
            other = found.setdefault(outcome.id, outcome)
            if other.log_likelihoods != outcome.log_likelihoods:
                raise UserError(f"{path} has two answers to {outcome.id}: give the samples of one run")
    if not found:
        raise UserError(f"{path} holds no ranked choices: run lm-eval with --log_samples on sets that rank choices")
    about = {"first_token": {"kind": "tokenizer", "ids": None}, "scorer": "lm-eval"}
    return Scores(outcomes=tuple(found.values()), about=about)


def compare_with_samples(names: Sequence[str], folders: Sequence[Path | None]) -> dict[str, Any]:
    """`compare_scores` of a folder of ours and samples of lm-eval's, in the order of the names. UserError otherwise."""
    if all(folder is None for folder in folders):
        raise UserError(
            f"neither {names[0]} nor {names[1]} holds scores of ours: one of the two must, to know items and answers by"
        )
    first, second = folders
    if first is not None:
        ours = recompute(first)
        return compare_scores(ours, read_results(Path(names[1]).expanduser(), ours))
    assert second is not None
    ours = recompute(second)
    return compare_scores(read_results(Path(names[0]).expanduser(), ours), ours)


def _outcome(sample: Mapping[str, Any], known: Mapping[tuple[str, int], Outcome], name: str) -> Outcome | None:
    pairs = ordered_arguments(sample["arguments"])
    if not all(len(pair) == 2 and isinstance(pair[1], str) for pair in pairs) or len(pairs) < 2:
        return None
    likelihoods = tuple(likelihood_of(answer[0]) for answer in sample["resps"])
    if len(likelihoods) != len(pairs):
        raise ValueError(f"it has {len(likelihoods)} answers to {len(pairs)} choices")
    for gold in range(len(pairs)):
        if ours := known.get((_digest(pairs, gold), len(pairs))):
            return replace(ours, log_likelihoods=likelihoods)
    sizes = tuple(len(scored.strip().encode()) for _, scored in pairs)
    return Outcome(
        id=name,
        set="not in the other",
        digest=_digest(pairs, 0),
        gold=0,
        log_likelihoods=likelihoods,
        bytes=sizes,
        tokens=(1,) * len(pairs),
    )


def _digest(pairs: list[Any], gold: int) -> str:
    """`Prompt.digest` of the same texts."""
    return hashlib.sha256(json.dumps([pairs, gold], ensure_ascii=False).encode()).hexdigest()[:16]


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                yield number, json.loads(line)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): give the folder that lm-eval wrote") from error
