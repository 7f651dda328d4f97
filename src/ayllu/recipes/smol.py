"""smol: somebody else's small open model, made into an assistant that calls tools, in the minutes that you give it."""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle
from ayllu.lab.progress import say
from ayllu.lab.visible import visible
from ayllu.recipes.adopt import adopted
from ayllu.recipes.limits import check_budget, check_least, check_own_licence, check_positive, check_seed
from ayllu.recipes.stages.artifacts import Comparison, Dataset, OwnScores, Release, SafetyChange, ScoreFolder, Weights
from ayllu.recipes.stages.better import keep_better
from ayllu.recipes.stages.dataset import build_dataset
from ayllu.recipes.stages.evaluate import (
    benchmarks,
    check_refusals,
    compare,
    losses,
    measure_safety,
    plan_benchmarks,
    skills,
)
from ayllu.recipes.stages.methods import SUMS, TURNS
from ayllu.recipes.stages.own import LONGEST, score_own
from ayllu.recipes.stages.posttrain import (
    ORDER,
    PosttrainPlan,
    measured_in,
    plan_posttraining,
    posttrain,
)
from ayllu.recipes.stages.rehearse import rehearse
from ayllu.recipes.stages.release import Contents, policy_arguments, previous_argument, release_stage
from ayllu.recipes.stages.weights import interpolate_weights
from ayllu.recipes.taught import GENERATED, own_sources, safety_sources, subjects, unused_sources
from ayllu.recipes.traces import with_traces

if TYPE_CHECKING:
    from ayllu.release.proof.make import Evidence
    from ayllu.text.chat import Message

RATES = (1e-4, 3e-3, 5e-4)
"""Learning rates of GRPO, SFT and DPO."""
WORKED_RATE = 3e-3
"""Learning rate of the worked sums before GRPO."""
HELD_OUT = 0.1
"""Share of one's own conversations that is scored and not learnt, unless another is given."""
KEPT = 0.5
"""Share of what was learnt that the final model keeps: see `interpolate_weights`."""


def smol(
    *,
    budget: float = 45.0,
    seed: int = 0,
    base: str = "smollm2",
    chats: Path | None = None,
    traces: Path | None = None,
    only_chats: bool = False,
    held_out: float = HELD_OUT,
    preferences: Path | None = None,
    licence: str | None = None,
    safety: bool = False,
    items: int = 200,
    methods: tuple[str, ...] = ORDER,
    steps: tuple[int, int, int] | None = None,
    epochs: float | None = None,
    lr: tuple[float, float, float] = RATES,
    policy: Path | None = None,
    previous: Path | None = None,
    private: bool = False,
    name: str = "smol",
) -> Handle[Release]:
    """Adopt a small open model, teach it sums, tools and manners on this machine, measure both, and release it.

    Parameters
    ----------
    budget
        Minutes in all: six of ten for training, the rest for measuring. A few steps of each kind are timed first.
    seed
        Draws what is learnt, its order, and the answers that GRPO compares.
    base
        What to start from, as `ayllu adopt` takes it.
    chats
        Conversations of your own, JSONL or a JSON list, with `messages` (OpenAI), `conversations` (ShareGPT),
        `instruction` (Alpaca) or `prompt` and `completion` in each: a third of what SFT sees.
    traces
        A trace of the assistant, or a folder of them: those that `ayllu assist approve` approved are conversations of
        your own too. Held-out tasks are never learnt.
    only_chats
        SFT sees your own conversations and no others.
    held_out
        Share of your own conversations that is not learnt, but scored before and after.
    preferences
        Pairs of answers of your own, JSONL or a JSON list, with `prompt`, `chosen` and `rejected` in each: half of what
        DPO sees.
    licence
        Which licence your own conversations and preferences have, as an SPDX expression; it stands on the card.
    safety
        SFT also learns to refuse harmful requests and to answer harmless ones that sound like them, a fifth of what it
        sees; replies to held-out ones are judged before and after, which takes some minutes more.
    items
        Held-out questions of each kind; of each benchmark six times as many, or what a tenth of the budget is enough
        for on this machine, at least as many.
    methods
        Which of grpo, sft and dpo are run, in that order.
    steps
        Steps of GRPO, SFT and DPO instead of what the budget buys; 0 leaves one out, and before GRPO as many pass over
        sums worked out. With the same values a run can be repeated exactly.
    epochs
        Passes of SFT over your own conversations, instead of what the budget buys; with --only-chats.
    lr
        Learning rates of GRPO, SFT and DPO.
    policy
        Rules of the release, signed by `ayllu release policy`: thresholds of its scores. Ayllu's own when not given.
    previous
        The release before, by its name or folder: what changed since stands in the new one, with scores paired by
        item.
    private
        Keep the model for yourself: it has a name, serves and exports, is not signed, and any licence will do.
    name
        Name of the release, and of the channel that points to it.
    """
    from ayllu.data.conversations.chats import read_chats, read_preferences

    check_budget(budget, usual=45)
    check_seed(seed)
    check_least(10, items=items)
    check_positive(grpo=lr[0], sft=lr[1], dpo=lr[2], epochs=epochs)
    used = _used(methods, steps)
    if not 0 <= held_out < 1:
        raise UserError(f"held_out is {held_out:g}; give a share from 0 to below 1")
    if held_out not in (0, HELD_OUT) and not (chats or traces):
        raise UserError("--held-out is a share of your own conversations: give --chats or --traces")
    if only_chats and not (chats or traces):
        raise UserError("--only-chats needs your own conversations: give --chats or --traces")
    if epochs is not None and (not only_chats or steps is not None or "sft" not in used):
        raise UserError(
            "--epochs counts passes of SFT over your own conversations: give it with --only-chats, not --steps"
        )
    if safety and (only_chats or "sft" not in used):
        raise UserError("--safety is what SFT learns beside other things: give it without --only-chats, and with sft")
    if licence is not None and not (chats or traces or preferences):
        raise UserError(
            "--licence is of your own conversations and preferences: give --chats, --traces or --preferences"
        )
    for given, option, method in (
        (chats, "--chats", "sft"),
        (traces, "--traces", "sft"),
        (preferences, "--preferences", "dpo"),
    ):
        if given is not None and method not in used:
            raise UserError(
                f"{option} is what {method.upper()} learns from, and it is not run: leave out the one or the other"
            )
    own, rules = {}, policy_arguments(policy, private=private)[0]
    for kind, path, read in (("chats", chats, read_chats), ("preferences", preferences, read_preferences)):
        if path is not None:
            own[kind] = _own(path, read)
            check_own_licence(path, licence, policy=rules)
    if traces is not None:
        check_own_licence(traces, licence, policy=rules)
        own["chats"] = with_traces(traces, own.get("chats"), lambda file, names: _own(file, read_chats, called=names))
    return from_adopted(
        adopted(base),
        budget=budget,
        seed=seed,
        chats=own.get("chats"),
        preferences=own.get("preferences"),
        items=items,
        steps=steps,
        policy=policy,
        private=private,
        name=name,
        methods=used,
        lr=lr,
        epochs=epochs,
        only_chats=only_chats,
        held_out=held_out if "chats" in own else 0.0,
        licences=dict.fromkeys(own, licence or "not stated"),
        previous=previous_argument(previous, private=private),
        safety=safety,
    )


def _used(methods: tuple[str, ...], steps: tuple[int, int, int] | None) -> tuple[str, ...]:
    """The methods that are run, in their order. Raises UserError for none, and for unknown ones."""
    if unknown := [method for method in methods if method not in ORDER]:
        raise UserError(f"there is no method {unknown[0]!r} here: give some of {', '.join(ORDER)}")
    if steps is None:
        return tuple(method for method in ORDER if method in methods)
    if min(steps) < 0 or max(steps) < 1:
        told = ", ".join(map(str, steps))
        raise UserError(f"steps are {told}; give three numbers from 0 on, for GRPO, SFT and DPO, not all of them 0")
    given = tuple(method for method, count in zip(ORDER, steps, strict=True) if count)
    if set(methods) not in (set(ORDER), set(given)):
        raise UserError(
            f"--methods are {', '.join(methods)}, but --steps are of {', '.join(given)}: give one of the two"
        )
    return given


def from_adopted(
    start: Handle[Weights],
    *,
    budget: float,
    seed: int,
    chats: str | None,
    preferences: str | None,
    items: int,
    steps: tuple[int, int, int] | None,
    name: str,
    rank: int = 16,
    policy: Path | None = None,
    private: bool = False,
    methods: tuple[str, ...] = ORDER,
    lr: tuple[float, float, float] = RATES,
    epochs: float | None = None,
    only_chats: bool = False,
    held_out: float = 0.0,
    licences: Mapping[str, str] | None = None,
    previous: str | None = None,
    safety: bool = False,
) -> Handle[Release]:
    """The recipe from an adopted model on; your own conversations and preferences by their digests."""
    rules, signed = policy_arguments(policy, private=private)
    groups = max(60, round(20 * budget))
    data = build_dataset(
        start,
        seed=seed,
        groups=groups,
        chats=chats,
        preferences=preferences,
        only_own=only_chats,
        held_out=held_out,
        safety=safety,
    )
    wanted = tuple(count for count in steps if count) if steps else None
    plan = plan_posttraining(
        start, data, budget=budget, seed=seed, steps=wanted, items=items, methods=methods, epochs=epochs
    )
    rates = dict(zip(ORDER, lr, strict=True))
    worked = grpo = summed = sft = dpo = right = between = None
    # Rewards first: GRPO needs answers that differ, and after SFT all of a small model's answers are alike.
    if "grpo" in methods:
        worked = posttrain(
            start, data, plan, method="worked", seed=seed, lr=WORKED_RATE, rank=rank, adopted=start, tasks=TURNS
        )
        grpo = posttrain(
            worked, data, plan, method="grpo", seed=seed, lr=rates["grpo"], rank=rank, adopted=start, tasks=TURNS
        )
        # A GRPO that took something away is not what the rest stands on.
        summed = keep_better(worked, grpo, plan, seed=seed, tasks=TURNS)
        between = skills(summed, plan, items=items, kinds=tuple(SUMS))
    if "sft" in methods:
        right = rehearse(summed, plan, seed=seed) if summed and not only_chats else None
        sft = posttrain(
            summed or start,
            data,
            plan,
            method="sft",
            seed=seed,
            lr=rates["sft"],
            rank=rank,
            adopted=start,
            rehearsal=right,
        )
    if "dpo" in methods:
        dpo = posttrain(
            sft or summed or start, data, plan, method="dpo", seed=seed, lr=rates["dpo"], rank=rank, adopted=start
        )
    final = interpolate_weights(start, dpo or sft or summed or start, kept=KEPT)
    kinds = ("tool_calls", "strangers_calls", *SUMS)
    # Once for all runs from this model.
    kept = measured_in(plan)
    first, last = (skills(model, its, items=items, kinds=kinds) for model, its in ((start, kept), (final, plan)))
    most = 6 * items
    counted = None if wanted else plan_benchmarks(start, kept, budget=budget, most=most)
    before = benchmarks(start, kept, items=most, counted=counted)
    tuned = measure_safety(start, final, plan, items=items) if safety else None
    after = benchmarks(final, plan, items=most, policy=signed, safety=tuned, counted=counted)
    comparison = compare(first, between, last, before, after, grpo)
    mine = score_own(start, final, plan, chats=chats, held_out=held_out) if chats and held_out else None
    own = [(kind, digest, (licences or {}).get(kind, "not stated")) for kind, digest in
           (("chats", chats), ("preferences", preferences)) if digest]  # fmt: skip
    return release_assistant(
        start,
        final,
        grpo,
        sft,
        dpo,
        after,
        comparison,
        plan,
        name=name,
        version="1.0.0",
        policy=rules,
        own=tuple(own),
        unused=unused_sources(methods, only_chats=only_chats),
        mine=mine,
        worked=worked,
        summed=summed,
        data=data if sft is not None and not only_chats else None,
        previous=previous,
        tuned=tuned,
    )


@release_stage(
    identity="release_post",
    added={"own": (), "unused": (), "previous": None} | dict.fromkeys(("mine", "worked", "summed", "data", "tuned")),
)
def release_assistant(
    ctx: Context,
    base: Handle[Weights],
    model: Handle[Weights],
    grpo: Handle[Weights] | None,
    sft: Handle[Weights] | None,
    dpo: Handle[Weights] | None,
    scores: Handle[ScoreFolder],
    comparison: Handle[Comparison],
    plan: Handle[PosttrainPlan],
    *,
    name: str,
    version: str,
    policy: str,
    own: tuple[tuple[str, str, str], ...] = (),
    unused: tuple[str, ...] = (),
    mine: Handle[OwnScores] | None = None,
    worked: Handle[Weights] | None = None,
    summed: Handle[Weights] | None = None,
    data: Handle[Dataset] | None = None,
    previous: str | None = None,
    tuned: Handle[SafetyChange] | None = None,
) -> Contents:
    """The assistant, with the table of before and after. Raises UserError where it may have lost what it could do."""
    from ayllu.data.origin import read_origin

    measured_on = json.loads((comparison.value / "comparison.json").read_text())
    safety = json.loads((tuned.value / "safety.json").read_text()) if tuned is not None else None
    if safety is not None:
        check_refusals(name, safety)
    if lost := losses(measured_on):
        raise UserError(
            f"{name} is not released: beside the adopted model a loss cannot be ruled out ({'; '.join(lost)}); give it "
            "another --seed or more minutes, or more --items to measure by"
        )
    origin = read_origin(base.value)
    passed = {"worked": worked, "grpo": grpo, "sft": sft, "dpo": dpo}
    trained = {kind: handle for kind, handle in passed.items() if handle is not None}
    told = {kind: handle.artifact.record for kind, handle in trained.items()}
    measured = math.fsum(record["seconds"] for record in told.values())
    return Contents(
        name=name,
        version=version,
        policy=policy,
        weights=model.value,
        scores=scores.value,
        sources=[{"name": origin.title, "title": origin.source, "licence": origin.licence}],
        dialogues=[*(made for made in GENERATED if made["name"] not in unused), *own_sources(own, ctx.cache)]
        + (safety_sources() if safety else []),
        records={
            "description": (
                f"{origin.title}, taught {subjects(unused, own)}, with Ayllu's recipe smol. The weights "
                f"keep {100 * KEPT:.0f} % of what training changed."
            ),
            "predicted": {"seconds": round(plan.value.seconds, 1)},
            "measured": {"seconds": round(measured, 1)},
            "posttraining": {
                kind: {field: record[field] for field in ("steps", "seconds", "loss", "final_loss")}
                for kind, record in told.items()
            },
            "comparison": measured_on,
            **({"safety": safety} if safety else {}),
            **({"state_after_grpo": summed.artifact.record["choice"]["told"]} if summed is not None else {}),
            **({"own_conversations": json.loads((mine.value / "own.json").read_text())} if mine is not None else {}),
            "machine": list(trained.values())[-1].artifact.manifest["machine"],
        },
        figures=([comparison.value / "rewards.png"] if grpo is not None else [])
        + ([tuned.value / "safety.png"] if tuned is not None else []),
        previous=previous,
        evidence=_evidence(base, trained, summed, data),
    )


def _evidence(
    base: Handle[Weights],
    trained: Mapping[str, Handle[Weights]],
    summed: Handle[Weights] | None,
    data: Handle[Dataset] | None,
) -> Evidence:
    """Of the last training that the release stands on: it lies between what that made and the adopted model."""
    from ayllu.recipes.stages.proof import training
    from ayllu.release.proof.lessons import Lessons
    from ayllu.release.proof.make import Evidence

    dropped = {"grpo"} if summed is not None and summed.artifact.record["choice"]["kept"] == "before" else set()
    made = [(kind, handle) for kind, handle in trained.items() if kind not in dropped]
    (name, last), begins = made[-1], made[-2][1] if len(made) > 1 else base
    learnt = None
    if data is not None:
        seed, groups = (data.arguments[name] for name in ("seed", "groups"))
        learnt = Lessons(conversations=data.value.folder / "conversations.jsonl", seed=seed, groups=groups)
    return Evidence(
        trainings=[training(name, last, begins=begins, reference=base, kept=KEPT)],
        lessons=learnt,
        no_origins="no conversations of the generators were learnt from",
    )


def _own(path: Path, read: Callable[..., Any], *, called: str | None = None) -> str:
    """The digest of a file of yours, `called` so if not by its path.

    Every line is read first, so that a bad one stops the run before it starts.
    """
    from ayllu.data.archive import default_cache
    from ayllu.data.conversations.chats import store_copy

    unread: Counter[str] = Counter()
    path = path.expanduser()
    shown = visible(called or str(path))

    def words(messages: list[Message]) -> int:
        return sum(len(message.content.split()) for message in messages)

    try:
        content = path.read_bytes()  # once: a pipe says it only once
    except OSError as error:
        raise UserError(f"{shown} cannot be read ({error.strerror}): give a JSONL file") from error
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / (path.name or "own")  # its ending says how it is packed
        copy.write_bytes(content)
        # A token has at least one byte, so that what is too long for any tokenizer shows already here.
        read(copy, longest=4 * LONGEST, length=words, shown=shown, unread=unread)
        digest = store_copy(copy, default_cache(), called=Path(shown))
    if unread:
        named = ", ".join(f"{visible(name, longest=60)} ({count:,})" for name, count in sorted(unread.items()))
        say(f"{shown}: not read: {named}")
    return digest
