"""The `ayllu eval` commands."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts

from ayllu.api import measuring
from ayllu.api.home import find_home
from ayllu.cli.options import Home, Json, print_json, print_lines
from ayllu.evals.dtype import Dtype
from ayllu.lab.error import UserError
from ayllu.lab.visible import visible

SAFETY = "safety"
"""The suite whose outcomes are no scores of question sets."""

app = cyclopts.App(
    name="eval", help="Measure a model: published question sets, held-out text, and differences between models."
)


@app.default
def evaluate(
    model: str,
    /,
    *,
    suite: str = "small",
    items: int | None = None,
    shots: int | None = None,
    data: list[Path] | None = None,
    text: Path | None = None,
    hazards: Path | None = None,
    out: Path | None = None,
    policy: Path | None = None,
    dtype: Dtype = "float32",
    first_token: Literal["bos", "none", "tokenizer"] | None = None,
    row: list[str] | None = None,
    mode: Literal["rank", "gen"] | None = None,
    chat_template: Literal["auto", "on", "off"] = "auto",
    seed_file: Path | None = None,
    served_model: str | None = None,
    key_variable: str | None = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Measure how often a model finds the right answer likeliest, and how many bits it needs for it.

    With `--suite profile`: how general it is, as the difficulty that it solves half the time in each of ten domains.

    Parameters
    ----------
    model
        The name that a recipe gave a model, or a Hugging Face folder of a Llama model with its tokenizer; for standard
        sets and the profile also the address of an OpenAI-compatible server; for the profile a simple program:
        program:random, program:five-gram, program:calculator, program:lookup.
    suite
        small (HellaSwag, PIQA and ARC-Easy, 1,000 items of each), standard (all standard sets, all items; also called
        full), names of standard sets with commas between, profile, or none; or safety: over-refusal, harmful requests,
        toxicity, bias and memory, each measured or said not to be.
    items
        How many items of each set, instead of the suite's own number; for the profile, of each generator and level.
    shots
        Solved examples before each question of a standard set, instead of the set's own number.
    data
        Files with sets that no registry has (gsm8k_train.jsonl, blimp.zip, ifeval_input_data.jsonl), or folders that
        hold them; each counts only with the sha256 that is pinned.
    text
        Also measure held-out bits per byte on this file or folder, read as `folder:PATH` is in a run: each record with
        a `text` and, if wanted, a `source` is a document, and so is a plain file.
    hazards
        For the suite safety: a JSON file with path and sha256 of your own over_refusal, harmful, toxicity, bias and
        corpus, as far as wanted. Bias (BBQ's rows) and memory (what the model was trained on) need it.
    out
        Keep scores.json and the outcome of every item and document in this folder; of safety, hazards.json.
    policy
        Rules of a release, signed by `ayllu release policy`: the scores keep that they were measured under them.
    dtype
        What the model computes in; bfloat16 is about twice as fast on CPUs that have it.
    first_token
        What the items of a suite begin with: bos, the model's own, as it began documents in training and as small has
        it; none; or tokenizer, what the tokenizer itself puts there, as standard sets and lm-eval have it. The scores
        say which; held-out text always begins with bos.
    row
        Profile: only this row; may be given several times.
    mode
        Profile: only ranked choices (rank), or only generated text (gen).
    chat_template
        Whether prompts stand in the model's chat format. Profile, and standard sets of a server: generated answers
        alone, auto where it has one. Standard sets of weights: all prompts, auto for none, as lm-eval has it.
    seed_file
        Profile: draw the items from the secret that `ayllu eval commit` wrote, whose digest was told before.
    served_model
        Of a server: which of its models.
    key_variable
        Of a server: the environment variable that holds the API key for it.
    """
    from ayllu.evals.profile.table import profile_table
    from ayllu.evals.table import scores_table

    if suite == SAFETY:
        from ayllu.safety.suites.table import hazard_lines

        if row or mode or seed_file or served_model or key_variable or chat_template != "auto":
            raise UserError("--row and the options for the profile are not for the suite safety; leave them out")
        if text is not None or first_token is not None or shots is not None or data:
            raise UserError("--text, --first-token, --shots and --data are not for the suite safety; leave them out")
        found = measuring.evaluate_hazards(
            model, hazards=hazards, items=items, out=out, policy=policy, dtype=dtype, home=home
        )
        _print(found, json, lambda value: "\n".join(hazard_lines(value)))
        return 0
    if hazards is not None:
        raise UserError(f"--hazards is for the suite safety, not {suite}; give --suite safety")
    if suite == "profile":
        if text is not None or policy is not None or first_token is not None or shots is not None or data:
            raise UserError(
                "--text, --policy, --first-token, --shots and --data are not for the profile: leave them out"
            )
        found = measuring.profile(
            model,
            rows=row,
            items=items,
            mode=mode,
            chat_template=chat_template,
            dtype=dtype,
            seed_file=seed_file,
            served_model=served_model,
            api_key=_key(key_variable),
            out=out,
            home=home,
        )
        _print(found, json, profile_table)
        return 0
    if row or mode or seed_file:
        raise UserError("--row, --mode and --seed-file are for --suite profile: leave them out")
    chosen = None if suite == "none" else suite
    scores = measuring.evaluate(
        model,
        suite=chosen,
        items=items,
        shots=shots,
        data=data or (),
        text=text,
        out=out,
        policy=policy,
        dtype=dtype,
        first_token=first_token,
        chat_template=chat_template,
        served_model=served_model,
        api_key=_key(key_variable),
        home=home,
    )
    found = scores.as_json()
    if not (found["scores"] or found["bits_per_byte"]):
        # 0 says that a result is there.
        reasons = "; ".join(f"{visible(name)}: {visible(reason)}" for name, reason in scores.not_measured.items())
        raise UserError(f"nothing was measured ({reasons or 'no item was asked'}): choose other sets or another model")
    _print(found, json, scores_table)
    return 0


@app.command
def commit(file: Path, /, *, json: Json = False) -> int:
    """Draw a secret for the items of a profile into a new file, and print its digest, to be told before training.

    Parameters
    ----------
    file
        Where the secret is kept, for `--seed-file` after training.
    """
    from ayllu.evals.profile.commitment import commit

    _print({"commitment": commit(file), "file": str(file)}, json, lambda told: f"{told['commitment']}\n")
    return 0


@app.command
def compare(first: str, second: str, /, *, home: Home = None, json: Json = False) -> int:
    """Compare two models on the same items: paired differences, second minus first.

    Parameters
    ----------
    first
        The first model: a folder that `ayllu eval --out` wrote, the name of a model whose release holds scores, or what
        was last given to `ayllu eval … --suite profile`. One of the two may be the folder that lm-eval wrote with
        --log_samples.
    second
        The second model, measured on the same items.
    """
    from ayllu.evals.profile.compare import profile_comparison_table
    from ayllu.evals.table import comparison_table

    def table(found: dict[str, Any]) -> str:
        scores = comparison_table(found) if found["sets"] or found["bits_per_byte"] or found.get("answers") else ""
        rows = profile_comparison_table(found["profile"]) if found["profile"] else ""
        return "\n".join(part for part in (scores, rows) if part) or "Nothing to compare.\n"

    _print(measuring.compare(first, second, home=home), json, table)
    return 0


@app.command
def agree(
    model: str,
    /,
    *,
    tasks: str,
    with_: Annotated[Literal["lm-eval"], cyclopts.Parameter(name="--with")] = "lm-eval",
    items: int = 20,
    shots: int | None = None,
    data: list[Path] | None = None,
    dtype: Dtype = "float32",
    batch_size: int = 16,
    home: Home = None,
    json: Json = False,
) -> int:
    """Put the same items to our scorer and to lm-evaluation-harness 0.4.13, and compare them one by one.

    lm-eval is installed in an environment of its own under $AYLLU_CACHE the first time. Ends with 1 where an answer
    differs.

    Parameters
    ----------
    model
        The name that a recipe gave a model, or a Hugging Face folder of a Llama model with its tokenizer.
    tasks
        Standard sets, with commas between.
    with_
        What to compare with.
    items
        How many items of each set.
    shots
        Solved examples before each question, instead of the set's own number.
    data
        Files with sets that no registry has, or folders that hold them.
    dtype
        What both compute in; the promise (the same choices, likelihoods within 0.001) is for float32.
    batch_size
        Rows that lm-eval takes at a time; ours sizes its batches itself.
    """
    from ayllu.evals.harness.table import agreement_table

    found = measuring.agree(
        model, tasks=tasks, items=items, shots=shots, data=data or (), dtype=dtype, batch_size=batch_size, home=home
    )
    _print(found, json, agreement_table)
    return 0 if all(task["agrees"] for task in found["tasks"]) else 1


@app.command
def arc(
    name: Literal["arc-agi-1", "arc-agi-2"] = "arc-agi-1",
    /,
    *,
    part: Literal["training", "evaluation"] = "evaluation",
    tasks: int | None = 40,
    seed: str = "ayllu-arc-1",
    minutes: float = 1.0,
    processes: int | None = None,
    json: Json = False,
) -> int:
    """Solve puzzles of ARC-AGI by recursive forests that are grown on each puzzle alone, and by simple programs.

    No language model takes part; one is measured on the same grids by `ayllu eval MODEL --suite arc_agi_1`. Killed, the
    same command goes on where it was.

    Parameters
    ----------
    name
        Which set.
    part
        Which part of the set; nothing is trained on either.
    tasks
        How many puzzles, drawn by the seed.
    seed
        Draws which puzzles are asked.
    minutes
        Most time of a core that the forests have for a puzzle.
    processes
        How many puzzles are tried at once; as many as there are cores when not given.
    """
    from ayllu.evals.arc.table import puzzles_table

    found = measuring.puzzles(name, part=part, tasks=tasks, seed=seed, minutes=minutes, processes=processes)
    _print(found, json, puzzles_table)
    return 0


@app.command
def overlap(
    text: Path,
    /,
    *,
    suite: str = "standard",
    items: int | None = None,
    data: list[Path] | None = None,
    json: Json = False,
) -> int:
    """Look for the items of standard sets in a text, such as what a model is to be trained on.

    Parameters
    ----------
    text
        A file or folder of text, read as `folder:PATH` is in a run.
    suite
        standard, or names of standard sets with commas between.
    items
        How many items of each set; all when not given.
    data
        Files with sets that no registry has, or folders that hold them.
    """
    from ayllu.evals.contamination.measure import overlap_table

    _print(measuring.overlap(text, suite=suite, items=items, data=data or ()), json, overlap_table)
    return 0


@app.command
def picture(*profiles: str, out: Path, mode: Literal["rank", "gen"] | None = None, json: Json = False) -> int:
    """Draw profiles over each other, as a PNG or as a page of its own.

    Parameters
    ----------
    profiles
        Folders that `ayllu eval … --suite profile --out` wrote, or what was last given to it.
    out
        The file to write; it ends in .png or .html.
    mode
        Ranked choices or generated text; the first in which all were measured when not given.
    """
    from ayllu.data.archive import default_cache
    from ayllu.evals.profile.kept import read_profile
    from ayllu.evals.profile.picture import draw_profiles

    found = [read_profile(name, default_cache()) for name in profiles]
    path = draw_profiles(found, out, mode=mode)
    _print({"picture": str(path), "subjects": [kept.name for kept in found]}, json, lambda told: f"{told['picture']}\n")
    return 0


@app.command
def seeds(*runs: str, home: Home = None, json: Json = False) -> int:
    """Put runs together that differ in their seed alone: the mean for other seeds, and how much of the spread is such.

    Parameters
    ----------
    runs
        At least two measurements on the same items: folders that `ayllu eval --out` wrote, or names as in compare.
    """
    from ayllu.evals.comparison.seeds import seeds_table

    _print(measuring.across_seeds(runs, home=home), json, seeds_table)
    return 0


@app.command
def human(
    *,
    row: str,
    name: str = "me",
    items: int = 1,
    port: int = 0,
    seed_file: Path | None = None,
    out: Path | None = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Take the items of a row of the profile yourself, in a page on this machine.

    Parameters
    ----------
    row
        Which row: knowledge, reading_writing, mathematics, on_the_spot_reasoning, working_memory, long_term_retrieval,
        speed, learning, knowing_limits, correction or habit.
    name
        Who takes them.
    items
        How many of each generator and level.
    port
        Where the page is served, on the loopback address alone; 0 for any free port.
    seed_file
        Take the items of the secret that `ayllu eval commit` wrote.
    out
        Where answers and profile are kept; people/NAME in the home when not given.
    """
    from ayllu.evals.profile.commitment import read_secret
    from ayllu.evals.profile.human.take import take_row
    from ayllu.evals.profile.item import SEED
    from ayllu.evals.profile.table import profile_table
    from ayllu.lab.progress import say

    found = take_row(
        row,
        name,
        folder=out or find_home(home) / "people" / name,
        each=items,
        port=port,
        seed=SEED if seed_file is None else read_secret(seed_file),
        ready=lambda address: say(f"open {address} in a browser on this machine; Ctrl-C ends it, and answers are kept"),
    )
    _print(found, json, profile_table)
    return 0


@app.command
def check(folder: Path, /, *, json: Json = False) -> int:
    """Compute every score in a folder again from the outcomes of its items and documents.

    Parameters
    ----------
    folder
        A folder that `ayllu eval --out` wrote.
    """
    from ayllu.evals.recompute import discrepancies

    found = discrepancies(folder)
    _print({"sound": not found, "discrepancies": found}, json, _verdict)
    return 1 if found else 0


def _key(variable: str | None) -> str | None:
    """The API key in an environment variable. UserError where it holds none."""
    if variable is None:
        return None
    if not (key := os.environ.get(variable, "")):
        raise UserError(f"the environment variable {variable} holds no key: set it, or leave --key-variable out")
    return key


def _verdict(value: dict[str, Any]) -> str:
    lines = value["discrepancies"] or ["Every score follows from the outcomes of its items and documents."]
    return "".join(f"{visible(line)}\n" for line in lines)


def _print(value: dict[str, Any], json: bool, table: Callable[[dict[str, Any]], str]) -> None:
    if json:
        print_json(value, indent=2)
    else:
        print_lines(table(value).removesuffix("\n").split("\n"))
