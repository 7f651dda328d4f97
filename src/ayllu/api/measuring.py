"""What a model can do, measured: scores, a profile, hazards, and differences between models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ayllu.api.home import find_home
from ayllu.api.models import Model, load
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.evals.dtype import Dtype
    from ayllu.evals.score import Scores


def evaluate(
    model: str | Path | Model,
    /,
    *,
    suite: str | None = "small",
    items: int | None = None,
    shots: int | None = None,
    data: Sequence[Path | str] = (),
    text: Path | str | None = None,
    out: Path | str | None = None,
    policy: Path | str | None = None,
    dtype: Dtype = "float32",
    first_token: Literal["bos", "none", "tokenizer"] | None = None,
    chat_template: Literal["auto", "on", "off"] = "auto",
    served_model: str | None = None,
    api_key: str | None = None,
    home: Path | str | None = None,
) -> Scores:
    """Measure how often a model finds the right answer likeliest, and how many bits it needs for a byte of `text`.

    `model` may also be the address of an OpenAI-compatible server (with `served_model` and `api_key` where it needs
    them), which is asked standard sets: ranked ones where it tells log-likelihoods of a prompt (completions with echo
    and logprobs), written answers in its model's chat format unless `chat_template` is off. Weights are asked in their
    chat format where it is on.
    `suite` is small, standard (or full), names of sets with commas between, or None; `items` is how many of each set,
    `shots` how many solved examples stand before each question of a standard set, and `data` are files, or folders of
    files, with sets that no registry has. `text` is a file or a folder of text, read as a recipe's `folder:PATH` is.
    `first_token` is what items begin with: the model's BOS, as `small` has it, nothing, or what the tokenizer itself
    puts there, as standard sets and lm-eval have it. What is kept in the folder `out` lets a killed measurement of
    `small` go on; answers to standard sets are kept in the cache. `policy` is a file of a release's rules that `ayllu
    release policy` has signed: the scores keep its digests. Raises UserError when there is nothing to measure or the
    model cannot be read.
    """
    from ayllu.evals.dtype import torch_dtype
    from ayllu.evals.endpoint.client import is_address
    from ayllu.evals.endpoint.measure import measure_server
    from ayllu.evals.likelihood.heldout import document_bits, read_texts
    from ayllu.evals.likelihood.multiple_choice import told_first_token
    from ayllu.evals.measure import Manner, check_manner, measure_suite
    from ayllu.evals.score import Scores
    from ayllu.release.trust.policy_file import read_policy

    if suite is None and text is None:
        raise UserError("there is nothing to measure: give a suite or a file with --text")
    manner = Manner(
        items=items,
        shots=shots,
        dtype=dtype,
        first_token=first_token,
        chat_template=chat_template,
        data=tuple(map(Path, data)),
    )
    check_manner(suite, manner)
    under = {"policy": read_policy(Path(policy)).digests} if policy is not None else {}
    texts = list(read_texts(Path(text))) if text is not None else []
    folder = Path(out) if out is not None else None
    if is_address(str(model)):
        if texts:
            raise UserError(
                "a server does not tell bits per byte of whole texts: name the weights, or leave --text out"
            )
        scores = measure_server(str(model), suite, manner, about=under, served_model=served_model, api_key=api_key)
        if folder is not None:
            scores.save(folder)
        return scores
    if served_model is not None or api_key is not None:
        raise UserError("a served model and a key are for the address of a server; give http://… or leave them out")
    found = model if isinstance(model, Model) else load(model, home=home)
    transformer, tokenizer = found.weights(dtype=dtype)
    scores = Scores(about={"dtype": dtype, "first_token": told_first_token(tokenizer, "bos"), **under})
    if suite is not None:
        penalty = found.about.sampling.repetition_penalty
        scores = measure_suite(transformer, tokenizer, suite, manner, about=under, folder=folder, penalty=penalty)
    if texts:
        bits = document_bits(transformer, tokenizer, texts, dtype=torch_dtype(dtype), total=len(texts))
        scores = scores.with_documents(bits)
    if folder is not None:
        scores.save(folder)
    return scores


def profile(
    model: str | Path | Model,
    /,
    *,
    rows: Sequence[str] | None = None,
    items: int | None = None,
    mode: Literal["rank", "gen"] | None = None,
    chat_template: Literal["auto", "on", "off"] = "auto",
    dtype: Dtype = "float32",
    seed_file: Path | str | None = None,
    served_model: str | None = None,
    api_key: str | None = None,
    out: Path | str | None = None,
    home: Path | str | None = None,
) -> dict[str, Any]:
    """How general a model is: for each row of the profile the difficulty that it solves half the time.

    `model` may also be the address of an OpenAI-compatible server (with `served_model` and `api_key` where it needs
    them), or a simple program: program:random, program:five-gram, program:calculator, program:lookup. `rows` are names
    of rows (None: all), `items` is how many of each generator and level, `mode` rank or gen (None: all that it can).
    `seed_file` holds a secret that `ayllu eval commit` drew: the items are made of it. What is answered is kept under
    the cache, so that a killed measurement goes on; profile and answers are written to the folder `out` too. What comes
    back is the object of `ayllu.evals.profile.figures.profile_figures`. Raises UserError for what the user can mend.
    """
    from ayllu.data.archive import default_cache
    from ayllu.evals.profile.commitment import commitment_of, read_secret
    from ayllu.evals.profile.item import SEED
    from ayllu.evals.profile.run import run_profile
    from ayllu.evals.profile.subjects.choose import program_or_server, weights_subject

    secret = None if seed_file is None else read_secret(Path(seed_file))
    subject = program_or_server(str(model), served_model=served_model, api_key=api_key)
    if subject is None:
        if served_model is not None or api_key is not None:
            raise UserError("a served model and a key are for the address of a server; give http://… or leave them out")
        found = model if isinstance(model, Model) else load(model, home=home)
        weights, tokenizer = found.weights(dtype=dtype)
        subject = weights_subject(
            found.name, weights, tokenizer, folder=found.folder, dtype=dtype, chat_template=chat_template
        )
    elif dtype != "float32" or chat_template != "auto":
        raise UserError("dtype and chat template are for weights on this machine: leave them out")
    return run_profile(
        subject,
        cache=default_cache(),
        rows=rows,
        each=items,
        seed=SEED if secret is None else secret,
        modes=None if mode is None else (mode,),
        about={} if secret is None else {"commitment": commitment_of(secret)},
        folder=None if out is None else Path(out),
        known_as=model.name if isinstance(model, Model) else str(model),
    )


def compare(first: str | Path, second: str | Path, /, *, home: Path | str | None = None) -> dict[str, Any]:
    """How a second model differs from a first, on the same items, pair by pair: {"sets", "bits_per_byte", "profile"}.

    Each is a folder that `evaluate` or `profile` wrote, the name of a model whose release holds scores, or what was
    last given to `profile`; one of them may be what lm-eval wrote with --log_samples. Raises UserError where the two
    have nothing in common, or were not asked the same.
    """
    from ayllu.data.archive import default_cache
    from ayllu.evals.comparison.measured import compare_measured

    return compare_measured(str(first), str(second), home=find_home(home), cache=default_cache())


def across_seeds(names: Sequence[str | Path], /, *, home: Path | str | None = None) -> dict[str, Any]:
    """One measurement of models that differ in their seed alone, put together: {"scores": [...]}.

    Each name is one that `compare` takes. Raises UserError for fewer than two, and where they were not asked the same.
    """
    from ayllu.data.archive import default_cache
    from ayllu.evals.comparison.measured import seeds_measured

    return seeds_measured([str(name) for name in names], home=find_home(home), cache=default_cache())


def agree(
    model: str | Path | Model,
    /,
    *,
    tasks: str,
    items: int | None = 20,
    shots: int | None = None,
    data: Sequence[Path | str] = (),
    dtype: Dtype = "float32",
    batch_size: int = 16,
    home: Path | str | None = None,
) -> dict[str, Any]:
    """The same `items` of each of `tasks` (standard sets, with commas between) through our scorer and lm-eval 0.4.13.

    `data` are files with sets that no registry has. See `ayllu.evals.harness.agree.agree` for what comes back. Raises
    UserError for a set that is unknown or cannot be compared, and where lm-eval cannot be installed or run.
    """
    from ayllu.evals.harness.agree import agree
    from ayllu.evals.standard.rows import open_reader
    from ayllu.evals.standard.table import find_tasks

    if items is not None and items < 1:
        raise UserError(f"{items} items of each set compare nothing: ask for at least 1")
    chosen, reader = find_tasks(tasks), open_reader(data)
    found = model if isinstance(model, Model) else load(model, home=home)
    transformer, tokenizer = found.weights(dtype=dtype)
    return agree(
        found.folder,
        transformer,
        tokenizer,
        chosen,
        reader,
        items=items,
        shots=shots,
        dtype=dtype,
        batch_size=batch_size,
        penalty=found.about.sampling.repetition_penalty,
    )


def evaluate_hazards(
    model: str | Path | Model,
    /,
    *,
    hazards: Path | str | None = None,
    items: int | None = None,
    out: Path | str | None = None,
    policy: Path | str | None = None,
    dtype: Dtype = "float32",
    home: Path | str | None = None,
) -> dict[str, Any]:
    """Measure a model's hazards: what `ayllu eval MODEL --suite safety --json` prints, kept in `out` as hazards.json.

    `hazards` is a JSON file that names files of one's own by path and sha256 (`ayllu.safety.suites.files`); `items` is
    how many of each suite. Raises UserError where a file is missing or another, and when the model cannot be read.
    """
    import json

    from ayllu.data.archive import default_cache
    from ayllu.evals.dtype import torch_dtype
    from ayllu.lab.store import storage_told, write_atomically
    from ayllu.release.trust.policy_file import read_policy
    from ayllu.safety.judge.judge import load_judge
    from ayllu.safety.suites.files import read_hazard_files
    from ayllu.safety.suites.subject import Subject
    from ayllu.safety.suites.suite import HAZARDS_FILE, ITEMS, measure_hazards
    from ayllu.text.chat import NO_TEMPLATE

    computed_in = torch_dtype(dtype)
    under = {"policy": read_policy(Path(policy)).digests} if policy is not None else {}
    files = read_hazard_files(Path(hazards)) if hazards is not None else {}
    found = model if isinstance(model, Model) else load(model, home=home)
    transformer, tokenizer = found.weights(dtype=dtype)
    if not tokenizer.holds_conversations:
        raise UserError(NO_TEMPLATE)
    subject = Subject(transformer=transformer, tokenizer=tokenizer, dtype=computed_in)
    count = ITEMS if items is None else items
    told = {"model": found.name, "dtype": dtype, **under}
    measured = told | measure_hazards(subject, load_judge(), files, items=count, cache=default_cache())
    if out is not None:
        folder = Path(out)
        with storage_told(folder, "the hazards"):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / HAZARDS_FILE, json.dumps(measured, indent=2) + "\n")
    return measured


def overlap(
    text: Path | str, /, *, suite: str, items: int | None = None, data: Sequence[Path | str] = ()
) -> dict[str, Any]:
    """Which items of standard sets stand in `text`, a file or folder, word for word or nearly so.

    What comes back is the object of `ayllu.evals.contamination.measure.measure_overlap`. Raises UserError for unknown
    sets and a text that cannot be read.
    """
    from ayllu.evals.contamination.measure import measure_overlap
    from ayllu.evals.standard.rows import open_reader
    from ayllu.evals.standard.table import find_tasks

    if items is not None and items < 1:
        raise UserError(f"{items} items of each set find nothing: ask for at least 1")
    return measure_overlap(find_tasks(suite), open_reader(data), Path(text), items=items)


def puzzles(
    name: str = "arc-agi-1",
    /,
    *,
    part: Literal["training", "evaluation"] = "evaluation",
    tasks: int | None = 40,
    seed: str = "ayllu-arc-1",
    minutes: float = 1.0,
    processes: int | None = None,
) -> dict[str, Any]:
    """Solve puzzles of ARC-AGI by our recursive forests and by simple programs.

    What comes back is the object of `ayllu.evals.arc.run.measure_puzzles`. Raises UserError for
    a set that there is not and for no puzzles, time or processes.
    """
    from ayllu.evals.arc.run import measure_puzzles

    if not minutes > 0:
        raise UserError(f"{minutes} minutes a puzzle solve nothing: give more than 0")
    if processes is not None and processes < 1:
        raise UserError(f"{processes} processes solve nothing: give at least 1")
    return measure_puzzles(name, part, tasks=tasks, seed=seed, minutes=minutes, processes=processes)
