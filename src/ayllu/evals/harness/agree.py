"""Whether our scores are lm-evaluation-harness's: the same items through both, answer by answer.

lm-eval runs in its own environment, from the same folder of weights, with its own task files over our rows: prompts,
metrics and filters are those of its release.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.evals.dtype import Dtype, torch_dtype
from ayllu.evals.harness import peer
from ayllu.evals.harness.environment import harness_python
from ayllu.evals.standard.answers import Answer
from ayllu.evals.standard.prompts import chosen_rows, prompts_of
from ayllu.evals.standard.rows import Reader
from ayllu.evals.standard.run import answers
from ayllu.evals.standard.task import Prompt, Row, Task
from ayllu.evals.standard.tokens import Encoder
from ayllu.lab import progress
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.evals.likelihood.branches import Forward
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

TOLERANCE = 1e-3
"""Largest difference of two log-likelihoods that count as the same, in nats, in float32."""
RELATIVE = 1e-6
"""The same for whole texts, as a share: lm-eval adds up their thousands of ids in float32, which rounds as much."""
BATCH_SIZE = 16
"""Rows that lm-eval's backend takes at a time."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The items of a task that one file of lm-eval asks: a subject of MMLU, a phenomenon of BLiMP."""

    yaml: str
    rows: tuple[tuple[str, Row], ...]
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, kw_only=True)
class Side:
    """The answers of one program, by item, and the time that they took."""

    answers: Mapping[str, Answer]
    seconds: float
    cpu: float
    memory: float = 0.0
    """Peak of the process, in MiB, up to the end of the task; 0 where it was not asked for."""


def agree(
    folder: Path,
    model: Transformer,
    tokenizer: Tokenizer,
    tasks: Sequence[Task],
    reader: Reader,
    *,
    items: int | None,
    shots: int | None = None,
    dtype: Dtype = "float32",
    batch_size: int | str = BATCH_SIZE,
    penalty: float = 1.0,
) -> dict[str, Any]:
    """Both programs on the same items of each task, one after the other.

    Returns {"dtype", "with", "batch_size", "first_token", "tasks": [{"task", "items", "mode", "shots",
    "prompts_that_differ", "largest_log_likelihood_difference", "items_rounded", "largest_difference_as_rounded",
    "choices_that_differ", "values_that_differ", "items_per_second", "items_per_second_lm_eval", "cpu_seconds",
    "cpu_seconds_lm_eval", "peak_memory_mib_lm_eval", "agrees"}]}. A choice differs where the likeliest answer, the
    greedy word or the generated text is another; a value where a metric of the item is. `items_rounded` were further
    apart than `TOLERANCE` until lm-eval, asked again, added up the probabilities of all ids in float64; how far is
    `largest_difference_as_rounded`.
    Raises UserError for a task that lm-eval lacks, or that cannot run there without a network.
    """
    from ayllu.evals.likelihood.branches import Forward

    strangers = [task.name for task in tasks if not task.harness]
    if strangers:
        raise UserError(f"lm-eval has no task {', '.join(strangers)} that could be compared: leave it out")
    parts = {task.name: parts_of(task, reader, items, shots) for task in tasks}
    forward, encoder = Forward(model, torch_dtype(dtype)), Encoder(tokenizer, "tokenizer")
    ours = {task.name: _ours(forward, encoder, task, parts[task.name], penalty) for task in tasks}
    theirs = _theirs(folder, tasks, parts, reader, shots, dtype, batch_size)
    exact: dict[str, Side] = {}
    if dtype == "float32":
        # torch's float32 softmax of 49,152 ids is up to 0.0013 from float64's of the same logits, by the processor.
        far = {
            name: [part for part in own if not _all_near(part, ours[name], theirs[name])] for name, own in parts.items()
        }
        again = [task for task in tasks if far[task.name]]
        exact = _theirs(folder, again, far, reader, shots, dtype, batch_size, softmax_dtype="float64") if again else {}
    return {
        "dtype": dtype,
        "with": "lm-eval 0.4.13, hf backend",
        "batch_size": batch_size,
        "first_token": encoder.told("tokenizer"),
        "tasks": [
            compared(task, parts[task.name], ours[task.name], theirs[task.name], shots, dtype, exact.get(task.name))
            for task in tasks
        ],
    }


def parts_of(task: Task, reader: Reader, items: int | None, shots: int | None) -> list[Part]:
    """A task's chosen items by the file of lm-eval that asks them."""
    grouped: dict[str, list[tuple[str, Row]]] = {}
    for key, row in chosen_rows(task, reader, items):
        grouped.setdefault(task.harness.format_map(row), []).append((key, row))
    return [
        Part(yaml=yaml, rows=tuple(rows), prompts=tuple(prompts_of(task, reader, rows, shots=shots)))
        for yaml, rows in grouped.items()
    ]


def _ours(forward: Forward, encoder: Encoder, task: Task, parts: Sequence[Part], penalty: float) -> Side:
    """What counts of the time is what counts of lm-eval's: no loading, which a cast of the weights is a part of."""
    prompts = [prompt for part in parts for prompt in part.prompts]
    wall, cpu = time.perf_counter(), time.process_time()
    found: dict[str, Answer] = {}
    with progress.bar(f"{task.name}: ayllu", total=len(prompts), unit="items") as bar:
        for answer in answers(forward, encoder, task, prompts, penalty=penalty):
            found[answer.id] = answer
            bar.advance()
    return Side(answers=found, seconds=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def _theirs(
    folder: Path,
    tasks: Sequence[Task],
    parts: Mapping[str, Sequence[Part]],
    reader: Reader,
    shots: int | None,
    dtype: str,
    batch_size: int | str,
    softmax_dtype: str | None = None,
) -> dict[str, Side]:
    """lm-eval's answers; in `softmax_dtype`, its own option, it adds up the probabilities of all ids."""
    import torch

    python = harness_python(reader.cache)
    with tempfile.TemporaryDirectory(prefix="ayllu-agree-") as scratch:
        jobs = [
            _job(task, part, Path(scratch) / f"{task.name}-{number}", reader, shots)
            for task in tasks
            for number, part in enumerate(parts[task.name])
        ]
        out = Path(scratch) / "out.jsonl"
        job: dict[str, Any] = {"model": str(folder), "dtype": dtype, "batch_size": batch_size, "out": str(out)}
        job |= {"softmax_dtype": softmax_dtype}
        job |= {"threads": torch.get_num_threads(), "tasks": jobs}
        (Path(scratch) / "job.json").write_text(json.dumps(job))
        total = sum(len(part.prompts) for task in tasks for part in parts[task.name])
        lines = _run(python, Path(scratch) / "job.json", out, total)
    found = iter(lines)
    return {task.name: _side(task, [(part, next(found)) for part in parts[task.name]]) for task in tasks}


def _job(task: Task, part: Part, place: Path, reader: Reader, shots: int | None) -> dict[str, Any]:
    """A part as files: parquet, for lm-eval's reader of JSON takes some texts for dates."""
    number = task.default_shots if shots is None else shots
    examples: Path | None = None
    # lm-eval opens the examples of its task file even where it shows none.
    if task.shots and task.shots.in_data:
        examples = place.with_suffix(".examples.parquet")
        _write_rows(task.shots.examples(reader, part.rows[0][1]), examples)
    _write_rows([row for _, row in part.rows], place.with_suffix(".parquet"))
    return {
        "task": f"ayllu_{place.name.replace('-', '_')}",
        "yaml": part.yaml,
        "data": str(place.with_suffix(".parquet")),
        "shots": number,
        "examples": str(examples) if examples else None,
    }


def _write_rows(rows: Sequence[Row], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept = [{name: value for name, value in row.items() if not name.startswith("_")} for row in rows]
    pq.write_table(pa.Table.from_pylist(kept), path)


def _run(python: Path, job: Path, out: Path, total: int) -> list[dict[str, Any]]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    log = job.with_name("log.txt")
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [str(python), peer.__file__, str(job)], env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        ) as process,
        progress.bar("lm-eval", total=total, unit="items") as bar,
    ):
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1.0)
                done = sum(len(line["samples"]) for line in _lines(out))
                bar.advance(done - bar.done)
                if process.returncode is not None:
                    break
        finally:
            process.kill()
    if process.returncode:
        said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise UserError(f"lm-eval ended with {process.returncode} ({said[-1] if said else 'it said nothing'})")
    return _lines(out)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    *whole, _ = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in whole]


def _side(task: Task, parts: Sequence[tuple[Part, dict[str, Any]]]) -> Side:
    found: dict[str, Answer] = {}
    for part, line in parts:
        for prompt, sample in zip(part.prompts, line["samples"], strict=True):
            found[prompt.id] = Answer(
                id=prompt.id,
                task=task.name,
                digest="" if prompts_differ(prompt, sample["pairs"]) else prompt.digest,
                mode=task.mode,
                log_likelihoods=tuple(sample["log_likelihoods"]),
                text=sample["text"],
                values=named_values(task, sample["values"]),
                sizes={} if sample["greedy"] is None else {"greedy": int(sample["greedy"])},
            )
    return Side(
        answers=found,
        seconds=sum(line["seconds"] for _, line in parts),
        cpu=sum(line["cpu"] for _, line in parts),
        memory=max(line["memory"] for _, line in parts),
    )


def prompts_differ(prompt: Prompt, pairs: Sequence[Any]) -> bool:
    """Whether lm-eval gave the model another text."""
    asked = prompt.asked.pairs
    if prompt.asked.words:
        return [pair[0] for pair in pairs] != [text for _, text in asked]
    scored = all(isinstance(pair[1], str) for pair in pairs)
    return [tuple(pair) for pair in pairs] != list(asked) if scored else pairs[0][0] != asked[0][0]


def named_values(task: Task, values: Mapping[str, float]) -> dict[str, float]:
    """lm-eval's metrics by our names: without the filter where there is but one."""
    plain = {name.removesuffix(",none"): value for name, value in values.items()}
    return {name: plain[name] for name in task.metrics if name in plain}


def compared(
    task: Task,
    parts: Sequence[Part],
    ours: Side,
    theirs: Side,
    shots: int | None,
    dtype: str,
    exact: Side | None = None,
) -> dict[str, Any]:
    """One entry of the table; `exact` has answers of lm-eval whose sums are of float64, for items that were far off.

    Choices and values are those of lm-eval as it is.
    """
    pairs = [(ours.answers[p.id], theirs.answers[p.id]) for part in parts for p in part.prompts]
    summed = [(mine, _summed(mine, other, exact)) for mine, other in pairs]
    largest, as_rounded = _largest(summed), _largest(pairs)
    near = all(_near(mine, other) for mine, other in summed)
    choices = sum(choice_of(mine) != choice_of(other) for mine, other in pairs)
    prompts = sum(not other.digest for _, other in pairs)
    values = sum(_values_differ(mine, other) for mine, other in pairs)
    return {
        "task": task.name,
        "items": len(pairs),
        "mode": task.mode,
        "shots": task.default_shots if shots is None else shots,
        "prompts_that_differ": prompts,
        "largest_log_likelihood_difference": largest,
        "items_rounded": sum(a is not b for (_, a), (_, b) in zip(pairs, summed, strict=True)),
        "largest_difference_as_rounded": as_rounded,
        "choices_that_differ": choices,
        "values_that_differ": values,
        "items_per_second": len(pairs) / ours.seconds,
        "items_per_second_lm_eval": len(pairs) / theirs.seconds,
        "cpu_seconds": ours.cpu,
        "cpu_seconds_lm_eval": theirs.cpu,
        "peak_memory_mib_lm_eval": theirs.memory,
        "agrees": not (prompts or choices or values) and (dtype != "float32" or near),
    }


def _summed(mine: Answer, other: Answer, exact: Side | None) -> Answer:
    """lm-eval's answer, with the sums of float64 where those of float32 are too far from ours."""
    if exact is None or _near(mine, other) or other.id not in exact.answers:
        return other
    return replace(other, log_likelihoods=exact.answers[other.id].log_likelihoods)


def _largest(pairs: Sequence[tuple[Answer, Answer]]) -> float | None:
    return max((abs(a - b) for pair in pairs for a, b in _zipped(*pair)), default=None)


def _zipped(mine: Answer, other: Answer) -> list[tuple[float, float]]:
    return list(zip(mine.log_likelihoods, other.log_likelihoods, strict=True))


def _all_near(part: Part, ours: Side, theirs: Side) -> bool:
    return all(_near(ours.answers[prompt.id], theirs.answers[prompt.id]) for prompt in part.prompts)


def choice_of(answer: Answer) -> Any:
    """What a model chose: the likeliest of the choices, whether greedy decoding writes the word, or the text."""
    if answer.mode == "generate":
        return answer.text
    if answer.mode == "likelihood":
        return bool(answer.values.get("acc"))
    likelihoods = answer.log_likelihoods
    return max(range(len(likelihoods)), key=likelihoods.__getitem__)


def _near(mine: Answer, other: Answer) -> bool:
    relative = RELATIVE if mine.mode == "rolling" else 0.0
    return all(abs(a - b) <= max(TOLERANCE, relative * abs(a)) for a, b in _zipped(mine, other))


def _values_differ(mine: Answer, other: Answer) -> bool:
    def near(name: str) -> bool:
        return abs(mine.values[name] - other.values[name]) <= TOLERANCE

    return not all(near(name) for name in mine.values if name in other.values)
