"""What the commands run: the material fetched, the judges measured, the weights written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.data.archive import default_cache
from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.lab.store import storage_told
from ayllu.safety.judge.labelled import Labelled, read_file
from ayllu.safety.judge.material import read_material
from ayllu.safety.judge.measure import judges_table
from ayllu.safety.judge.regression import Array
from ayllu.safety.judge.train import Training

if TYPE_CHECKING:
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A model that is asked as a judge."""

    name: str
    transformer: Transformer
    tokenizer: Tokenizer


def measure_judges(
    *, labelled: Sequence[Path], sha256: Sequence[str], model: Asked | None = None, items: int = 100
) -> dict[str, Any]:
    """The table of `ayllu.safety.judge.measure`, for all judges that can be had here; `model` is asked as one too."""
    training = Training(read_material(default_cache(), _own(labelled, sha256)))
    others: dict[str, Array] = {}
    why_not: dict[str, str] = {}
    if model is None:
        why_not["the model itself"] = "no --model was given"
    else:
        from ayllu.safety.judge.ask import model_scores

        rows = [training.material.labelled[i] for i in training.material.scored]
        others[f"{model.name} itself"] = model_scores(model.transformer, model.tokenizer, rows, items=items)
    say("the judge is cross-validated: ten times trained on nine tenths")
    return table_of(training, others, why_not)


def table_of(
    training: Training, others: dict[str, Array] | None = None, why_not: dict[str, str] | None = None
) -> dict[str, Any]:
    """The table of one material."""
    return judges_table(training, training.crossed(), others or {}, why_not or {})


def train_judge(out: Path, *, labelled: Sequence[Path], sha256: Sequence[str]) -> dict[str, Any]:
    """Write the judge's weights to `out`; gives what they say of themselves."""
    if out.suffix != ".safetensors":
        raise UserError(f"{out} does not end in .safetensors; name a file that does")
    training = Training(read_material(default_cache(), _own(labelled, sha256)))
    crossed = training.crossed()
    judge = training.judge(crossed)
    draft = out.with_name(f".{os.getpid()}.{out.name}")
    with storage_told(out.parent, "the judge"):
        judge.save(draft)
        draft.replace(out)
    return dict(judge.about)


def _own(labelled: Sequence[Path], sha256: Sequence[str]) -> list[Labelled]:
    if sha256 and len(sha256) != len(labelled):
        raise UserError(f"{len(sha256)} digests for {len(labelled)} files; give one --sha256 for each --labelled")
    pins = [*sha256, *[None] * (len(labelled) - len(sha256))]
    return [row for path, pin in zip(labelled, pins, strict=True) for row in read_file(path, pin)]
