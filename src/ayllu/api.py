"""What `import ayllu` offers to Python, and what the commands call.

To import this imports neither torch nor numpy: each function does, when it is called.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.evals.score import Scores
    from ayllu.fleet.catalogue import Fleet, Precision
    from ayllu.fleet.planner.plan_fleet import FleetPlan
    from ayllu.model.generate import Sampling
    from ayllu.model.transformer import Transformer
    from ayllu.release.export import Format, Type
    from ayllu.serve.about import About
    from ayllu.serve.conversation import Conversation
    from ayllu.serve.engines.engine import Engine
    from ayllu.text.chat import Message
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.distributed.layout import Layout

# Read by torch when it is imported, after this: threads that wait in a loop for each other are several times slower as
# soon as another program wants a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

Recipe = Callable[..., Any]
"""A function whose call describes the stages of a run and gives the handle of the last one."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a recipe has made."""

    recipe: str
    release: Path
    """The folder of the release; of a recipe that ends otherwise, what it makes."""
    channel: str
    """The name by which `load`, `ayllu chat` and `ayllu serve` find it."""
    predicted: dict[str, float | None]
    """What was expected before the run: seconds, bits per byte, …"""
    measured: dict[str, float | None]
    """The same figures as they came out."""
    bits_per_byte: dict[str, float]
    """On held-out text, by source."""
    final_loss: float | None
    """Of pretraining, in nats per token."""
    stages: dict[str, Path]
    """The artifact of each stage; of one that is used several times, of the last use, and of each by its label."""
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """What `ayllu run --json` prints."""
        stages = {name: str(folder) for name, folder in self.stages.items()}
        return {**self.__dict__, "release": str(self.release), "stages": stages, "seconds": round(self.seconds, 1)}


def run(
    recipe: str | Recipe, /, *, home: Path | str | None = None, layout: Layout | str | None = None, **options: Any
) -> RunReport:
    """Run a recipe: every stage that is not there yet, from where a killed run stopped.

    `recipe` is the name of one (`cria`, `smol`, …) or a function that returns a handle, of a release as a rule;
    `options` are its parameters, `home` is the folder for artifacts. A `layout` of several devices, such as
    `dp_shard=2`, needs that many processes, which torchrun or `ayllu run` start. Raises UserError for what the user can
    mend.
    """
    from ayllu.fleet.launch.planned_layout import job_layout
    from ayllu.lab.channel import check_name, promote
    from ayllu.lab.graph import labels, order
    from ayllu.lab.progress import say
    from ayllu.lab.run import resolve
    from ayllu.lab.why import explain, outline
    from ayllu.recipes.registry import command_of, made_by
    from ayllu.release.trust.revocation import refuse_revoked
    from ayllu.train.distributed.launch import processes_missing

    began = time.monotonic()
    function = find_recipe(recipe)
    handle = function(**options)
    recipe_name = getattr(function, "__name__", "recipe")
    channel = str(options.get("name", recipe_name))
    check_name(channel)  # before hours of work
    place = _place(home, layout=job_layout(layout), command=command_of(recipe_name, options))
    if place.layout is not None and processes_missing(place.layout):
        raise UserError(
            f"the layout needs {place.layout.devices} processes and this is one; start them with torchrun, or let "
            "`ayllu run --layout` do it"
        )
    if place.rank == 0:
        say(*outline(channel, explain(handle, place)))
    made = resolve(handle, place)
    result = made[handle]
    refuse_revoked(result.folder / "release")
    if place.rank == 0:
        promote(place.store, channel, result.folder, made_by=made_by(recipe, options))
    record, release = result.record, result.folder / "release"
    names, identities = labels(order(handle)), {node: node.stage.identity for node in made}
    scores = (a.record["bits_per_byte"] for node, a in made.items() if node.stage.identity in ("evaluate", "heldout"))
    return RunReport(
        recipe=recipe_name,
        release=release if release.is_dir() else result.folder,
        channel=channel,
        predicted=record.get("predicted", {}),
        measured=record.get("measured", {}),
        bits_per_byte=next(scores, {}),
        final_loss=record.get("pretraining", {}).get("final_loss"),
        stages={name: made[node].folder for found in (identities, names) for node, name in found.items()},
        seconds=time.monotonic() - began,
    )


def why(recipe: str | Recipe, /, *, home: Path | str | None = None, **options: Any) -> list[dict[str, Any]]:
    """For each stage of a recipe, in order: `stage`, `label` (which tells several uses of one stage apart), `state`
    (kept, runs, …), `why`, `changed` and `seconds` (that it took). Nothing is run, and nothing is written.

    The arguments are those of `run`, or the name of a release or model alone, and so are the errors.
    """
    from ayllu.lab.channel import current
    from ayllu.lab.why import explain, trace
    from ayllu.recipes.registry import RECIPES, recalled

    place = _place(home, writes=False)
    if isinstance(recipe, str) and recipe not in RECIPES.names() and not options:
        entry = current(place.store, recipe)
        try:
            recipe, options = recalled(entry.get("made_by")) or (recipe, options)
            return [row.as_json() for row in explain(find_recipe(recipe)(**options), place)]
        except UserError:  # the recipe is not here, or what it was given is gone: what is kept can still be told
            return [row.as_json() for row in trace(place.store, entry["stage"], entry["key"])]
    return [row.as_json() for row in explain(find_recipe(recipe)(**options), place)]


def accept(recipe: str | Recipe, /, *, home: Path | str | None = None, **options: Any) -> list[str]:
    """Keep the results of a recipe whose code has changed since, and say by it that nothing that matters has.

    The stages for which that was said; the arguments are those of `run`, and so are the errors.
    """
    from ayllu.lab import why

    return why.accept(find_recipe(recipe)(**options), _place(home))


class Model:
    """A model in a folder: a release, an adopted one, or weights with their tokenizer. It is read when it is needed."""

    def __init__(self, folder: Path, *, name: str | None = None, engine: str = "auto") -> None:
        self.folder = folder
        self.name = name or folder.name
        """What other functions and commands find it by."""
        self._engine_name = engine

    @cached_property
    def engine(self) -> Engine:
        """What computes its answers, loaded: llama.cpp if installed and the folder has a GGUF file, or torch."""
        from ayllu.serve.engines.choose import open_engine

        return open_engine(self.folder, self._engine_name)

    @cached_property
    def about(self) -> About:
        """What the folder says of the model: title, licence, size, context, recommended sampling."""
        from ayllu.model.files import hf
        from ayllu.serve.about import describe
        from ayllu.serve.engines.engine import LONGEST_CONTEXT

        try:
            config = hf.load_config(self.folder)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.folder} cannot be served: {error}") from error
        return describe(self.folder, context=min(config.context, LONGEST_CONTEXT), parameters=config.parameters)

    def sampling(
        self, *, temperature: float | None = None, top_p: float | None = None, seed: int | None = None
    ) -> Sampling:
        """How the next token is drawn: as the model recommends, but for what is given. UserError for what cannot be."""
        from ayllu.serve.conversation import given_sampling

        return replace(self.about.sampling, **given_sampling(temperature=temperature, top_p=top_p, seed=seed))

    def conversation(
        self,
        *,
        system: str | None = None,
        messages: Sequence[Message] = (),
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
    ) -> Conversation:
        """A conversation, which `ask` continues: it remembers what was said, `messages` first."""
        from ayllu.serve.conversation import Conversation

        sampling = sampling or self.about.sampling
        return Conversation(self.engine, system=system, messages=messages, sampling=sampling, max_tokens=max_tokens)

    def chat(
        self,
        message: str | Sequence[Mapping[str, str]],
        *,
        system: str | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        max_tokens: int | None = None,
    ) -> str:
        """The answer to a message, or to the last of several: `{"role": "user", "content": "…"}` and so on.

        Without `temperature` and `top_p` the model's own are taken; with the same `seed` the answer is the same. It has
        at most `max_tokens` tokens, or as many as fit. Raises UserError when the messages do not fit into the model's
        context, or its chat template refuses them.
        """
        from ayllu.text.chat import Message

        said = [{"role": "user", "content": message}] if isinstance(message, str) else message
        try:
            turns = [Message(**turn) for turn in said]  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise UserError(f"a message cannot be read ({error}); give each a role and a content") from error
        if turns and turns[0].role == "system" and system is None:
            system, turns = turns[0].content, turns[1:]
        if not turns or turns[-1].role != "user":
            raise UserError("there is nothing to answer: the last message must be the user's")
        sampling = self.sampling(temperature=temperature, top_p=top_p, seed=seed)
        talk = self.conversation(system=system, messages=turns[:-1], sampling=sampling, max_tokens=max_tokens)
        try:
            return "".join(talk.ask(turns[-1].content))
        except ValueError as error:
            raise UserError(str(error)) from error

    def complete(
        self,
        text: str,
        *,
        max_tokens: int = 128,
        stop: Sequence[str] = (),
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> str:
        """What the model continues `text` with, up to the first of the strings `stop`. Errors are those of `chat`."""
        import threading

        from ayllu.serve.engines.engine import GenerationRequest

        tokenizer = self.engine.tokenizer
        sampling = self.sampling(temperature=temperature, top_p=top_p, seed=seed)
        prompt = [tokenizer.bos, *tokenizer.encode(text)]
        try:
            request = GenerationRequest(prompt=prompt, max_tokens=max_tokens, sampling=sampling, stop=tuple(stop))
            return "".join(chunk.text for chunk in self.engine.generate(request, threading.Event()))
        except ValueError as error:
            raise UserError(str(error)) from error

    def export(self, to: Format, out: Path | str, *, dtype: Type | None = None) -> list[str]:
        """Write it into the new folder `out` as another program's files: `hf`, `gguf` or `meta`; gives their names."""
        from ayllu.release.export import export_model

        return export_model(self.folder, to, Path(out).expanduser().absolute(), dtype=dtype)

    def weights(self) -> tuple[Transformer, Tokenizer]:
        """The transformer, in float32, and its tokenizer. UserError when the folder holds none that can be read."""
        from ayllu.model.files import hf
        from ayllu.text.tokenizer import Tokenizer

        try:
            tokenizer = Tokenizer.load(self.folder)
            return hf.load(self.folder), tokenizer
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.folder} holds no model that can be read ({error}): give a Hugging Face folder of a Llama model"
            ) from error

    def facts(self) -> dict[str, Any]:
        """Title, licence, parameters, context and more, as JSON values; where it comes from, if it was adopted."""
        from ayllu.lab.store import MANIFEST
        from ayllu.recipes.adopt import Adopted

        if (self.folder / "origin.json").is_file() and (self.folder / MANIFEST).is_file():
            return Adopted(name=self.name, folder=self.folder).facts()
        about = asdict(self.about)
        return {"title": about.pop("name"), **{name: value for name, value in about.items() if name != "card"}}

    def __repr__(self) -> str:
        return f"<ayllu.Model {self.name} in {self.folder}>"


def load(name: str | Path, /, *, home: Path | str | None = None, engine: str = "auto") -> Model:
    """The model that `run` or `adopt` named so, or that lies in a folder; UserError when there is none."""
    from ayllu.lab.channel import find_model
    from ayllu.release.trust.revocation import refuse_revoked

    folder = find_model(str(name), find_home(home))
    refuse_revoked(folder)
    return Model(folder, name=Path(name).name, engine=engine)


def adopt(
    source: str, /, *, name: str | None = None, licence: str | None = None, home: Path | str | None = None
) -> Model:
    """Make an open model of the Llama architecture yours, unless it was before, and name it.

    `source` is smollm2, a GGUF file, a folder of Hugging Face's or Meta's kind, or OWNER/NAME[@REVISION] on the hub;
    `licence` (an SPDX identifier) is needed where the source states none. Raises UserError, and leaves nothing
    half-written, when the source cannot be had or used.
    """
    from ayllu.recipes.adopt import adopt

    found = adopt(source, name=name, licence=licence, home=find_home(home))
    return Model(found.folder, name=found.name)


def evaluate(
    model: str | Path | Model,
    /,
    *,
    suite: str | None = "small",
    items: int | None = None,
    text: Path | str | None = None,
    out: Path | str | None = None,
    policy: Path | str | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    first_token: Literal["bos", "none"] = "bos",
    home: Path | str | None = None,
) -> Scores:
    """Measure how often a model finds the right answer likeliest, and how many bits it needs for a byte of `text`.

    `suite` is small, full, the name of a set, or None; `items` is how many of each set. `text` is a file or a folder of
    text, read as a recipe's `folder:PATH` is. `first_token` is what the items of a suite begin with: the model's BOS,
    or nothing, as lm-eval has it by default. What is kept in the folder `out` lets a killed measurement go on. `policy`
    is a file of a release's rules that `ayllu release policy` has signed: the scores keep its digests. Raises UserError
    when there is nothing to measure or the model cannot be read.
    """
    import torch

    from ayllu.evals.likelihood.heldout import document_bits, read_texts
    from ayllu.evals.likelihood.multiple_choice import evaluate_suite, told_first_token
    from ayllu.evals.score import Scores
    from ayllu.evals.suite import load_suite
    from ayllu.evals.table import describe_power
    from ayllu.lab.progress import say
    from ayllu.release.trust.policy_file import read_policy

    if suite is None and text is None:
        raise UserError("there is nothing to measure: give a suite or a file with --text")
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"dtype is {dtype!r}; choose float32 or bfloat16")
    under = {"policy": read_policy(Path(policy)).digests} if policy is not None else {}
    if first_token not in ("bos", "none"):
        raise UserError(f"first_token is {first_token!r}; choose bos or none")
    texts = list(read_texts(Path(text))) if text is not None else []
    found = model if isinstance(model, Model) else load(model, home=home)
    transformer, tokenizer = found.weights()
    folder, kind = Path(out) if out is not None else None, getattr(torch, dtype)
    scores = Scores(about={"dtype": dtype, "first_token": told_first_token(tokenizer, "bos"), **under})
    if suite is not None:
        chosen = load_suite(suite, items_per_set=items)
        say(*describe_power(chosen).split("\n"))
        scores = evaluate_suite(
            transformer, tokenizer, chosen, dtype=kind, about=under, folder=folder, first_token=first_token
        )
    if texts:
        bits = document_bits(transformer, tokenizer, texts, dtype=kind, total=len(texts))
        scores = scores.with_documents(bits)
    if folder is not None:
        scores.save(folder)
    return scores


def plan(
    recipe: str,
    /,
    *,
    fleet: Fleet | str,
    tokens: float | None = None,
    deadline: float | None = None,
    sequence: int | None = None,
    batch: int | None = None,
    precision: Precision | None = None,
    budget: float | None = None,
    adapter_rank: int | None = None,
    price_hour: float | str | Mapping[str, float] | None = None,
    price_kwh: float | None = None,
    carbon: float | None = None,
    top: int = 5,
    picture: Path | str | None = None,
    accelerators: Path | str | None = None,
) -> FleetPlan:
    """The best layouts of a training run on each pool of a fleet: time, memory, energy, cost, and why.

    `recipe` is one that `run` takes, a model by name, or a folder with a config.json; `fleet` a name, or written as
    64xh100. `tokens` (of the run), `sequence` and `batch` (tokens of each) and `budget` (minutes) take the place of the
    recipe's own; `adapter_rank` trains LoRA of that rank alone; `deadline` is in days, prices are per accelerator and
    hour (one, or each kind's own) and per kWh, `carbon` is grams per kWh. The `top` best layouts are kept.
    `accelerators` is a CSV or JSON file with parts of your own. Raises UserError where it fits no pool, and for figures
    that cannot be.
    """
    from ayllu.fleet.own_accelerators import own_accelerators
    from ayllu.fleet.planner.choice import Prices, read_price_hour
    from ayllu.fleet.planner.plan_fleet import plan_fleet
    from ayllu.recipes.planned import PLANNED

    asked = {"tokens": tokens, "sequence": sequence, "batch": batch, "precision": precision, "budget": budget}
    asked["adapter_rank"] = adapter_rank
    with own_accelerators(accelerators):
        return plan_fleet(
            recipe,
            fleet,
            recipes=PLANNED,
            prices=Prices(per_hour=read_price_hour(price_hour), per_kwh=price_kwh, grid_g_per_kwh=carbon),
            deadline=deadline,
            top=top,
            picture=Path(picture) if picture is not None else None,
            **asked,
        )


def find_recipe(recipe: str | Recipe) -> Recipe:
    """The recipe of that name, or the function itself. UserError, with the names, when there is none."""
    if not isinstance(recipe, str):
        return recipe
    from ayllu.recipes.registry import RECIPES

    return RECIPES.find(recipe)


def find_home(home: Path | str | None) -> Path:
    """The folder for artifacts, absolute: the one that is given, or $AYLLU_HOME, or ~/.local/share/ayllu."""
    from ayllu.lab.store import absolute, default_home

    return absolute(Path(home)) if home else default_home()


def _place(
    home: Path | str | None, *, layout: Layout | None = None, command: str | None = None, writes: bool = True
) -> Any:
    from ayllu.data.archive import default_cache
    from ayllu.lab.run import Place
    from ayllu.lab.store import Store

    store, rank = Store(find_home(home), writes=writes), int(os.environ.get("RANK", "0"))
    return Place(store=store, cache=default_cache(), layout=layout, command=command, rank=rank)
