"""The stage that releases: a recipe says what goes in, and this builds, signs and records it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, Stage, stage
from ayllu.lab.run import order
from ayllu.recipes.stages.artifacts import Release, open_release

if TYPE_CHECKING:
    from ayllu.release.proof.make import Evidence

P = ParamSpec("P")

PRIVATE = "private"
"""The policy of a model that its maker keeps: no gate, no signature, no release."""
PRETRAINING = ("steps", "tokens", "tokens_per_second", "flops", "final_loss", "loss")
"""What a card says of a pretraining, by its names in the record."""

NOTED = ("rate", "batch", "length", "steps")
"""Settings that a training works out itself, by their names in its record."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a release is made of."""

    name: str
    version: str
    policy: str
    """Name of the rules that must hold, a signed policy (`policy_arguments`), or `PRIVATE`."""
    weights: Path
    scores: Path
    sources: Sequence[Mapping[str, Any]]
    """What the weights were trained on: name, title and licence of each, at least."""
    records: Mapping[str, Any]
    """What the card states and the stage's record keeps: description, predicted, measured, machine, and more."""
    dialogues: Sequence[Mapping[str, Any]] = ()
    figures: Sequence[Path] = ()
    evidence: Evidence | None = None
    """What a proof beside the release is made of; None: there is none."""
    previous: str | None = None
    """The release before (`previous_argument`), whose change log the release holds."""


def release_stage(
    *, identity: str, names_in_key: Mapping[str, str] | None = None, added: Mapping[str, Any] | None = None
) -> Callable[[Callable[Concatenate[Context, P], Contents]], Stage[P, Release]]:
    """Turn a function that says what a release holds into the stage that makes it: a folder that stands alone."""

    def wrap(contents: Callable[Concatenate[Context, P], Contents]) -> Stage[P, Release]:
        @functools.wraps(contents)
        def release(ctx: Context, *args: P.args, **kwargs: P.kwargs) -> None:
            given = [value for value in (*args, *kwargs.values()) if isinstance(value, Handle)]
            _write(ctx, contents(ctx, *args, **kwargs), settings(given))

        made = stage(
            identity=identity,
            makes=open_release,
            reruns=True,
            publishes=True,
            names_in_key=names_in_key,
            added=added,
        )
        return made(release)

    return wrap


def policy_arguments(path: Path | None, *, private: bool = False) -> tuple[str, dict[str, str] | None]:
    """For the release and for its evaluation: the name of our own policy, or what was signed and its digests.

    Raises UserError where `path` is no signed policy, or is given for a `private` model, which no policy judges.
    """
    from ayllu.release.trust.policy_file import read_policy

    if private and path is not None:
        raise UserError("a private model is not released, so no policy judges it; leave out --policy or --private")
    if path is None:
        return PRIVATE if private else "open", None
    signed = read_policy(path)
    return signed.as_argument(), signed.digests


def previous_argument(path: Path | None, *, private: bool = False) -> str | None:
    """For the release: the one before, kept with what a change log needs. Raises UserError where it does not verify."""
    from ayllu.data.archive import default_cache
    from ayllu.release.documents.changes import keep_earlier

    if path is None:
        return None
    if private:
        raise UserError("a private model is not released and has no change log; leave out --previous or --private")
    return keep_earlier(path, default_cache())


def _write(ctx: Context, contents: Contents, given: list[dict[str, Any]]) -> None:
    if contents.policy == PRIVATE:
        _write_private(ctx, contents)
    else:
        _write_release(ctx, contents, given)
    for field, value in contents.records.items():
        ctx.note(field, value)


def _write_private(ctx: Context, contents: Contents) -> None:
    from ayllu.release.private import build_private

    build_private(
        ctx.folder / "release",
        weights=contents.weights,
        scores=contents.scores,
        sources=[*contents.sources, *contents.dialogues],
        records=contents.records,
        name=contents.name,
    )


def _write_release(ctx: Context, contents: Contents, given: list[dict[str, Any]]) -> None:
    from ayllu.release.build import build_release
    from ayllu.release.documents.earlier import kept_earlier
    from ayllu.release.policy import find_policy
    from ayllu.release.proof.make import write_proof
    from ayllu.release.trust.policy_file import SignedPolicy

    proof = None
    if contents.evidence is not None:
        proof = write_proof(
            ctx.folder / "proof",
            contents.evidence,
            weights=contents.weights,
            scores=contents.scores,
            release={"name": contents.name, "version": contents.version},
            cache=ctx.cache,
        )
    summary = build_release(
        ctx.folder / "release",
        weights=contents.weights,
        scores=contents.scores,
        sources=contents.sources,
        dialogues=contents.dialogues,
        records={**contents.records, **({"command": ctx.command} if ctx.command else {}), "settings": given},
        name=contents.name,
        version=contents.version,
        policy=SignedPolicy.from_argument(contents.policy) or find_policy(contents.policy),
        figures=contents.figures,
        proof=proof,
        earlier=kept_earlier(contents.previous, ctx.cache) if contents.previous else None,
    )
    ctx.note("gates", list(summary.gates))
    ctx.note("model_digest", summary.model_digest)


def settings(results: Iterable[Handle[Any]]) -> list[dict[str, Any]]:
    """Stage, setting and value of each argument on the way to `results`, and of what their trainings noted."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for result in results:
        for node in order(result):
            label = " ".join([node.stage.identity, *([node.arguments["method"]] if "method" in node.arguments else [])])
            for name, value in (*node.arguments.items(), *(_noted(node) if node is result else ())):
                if name != "method" and value not in (None, "", (), [], {}):
                    row = {"stage": label, "setting": name.replace("_", " "), "value": _plain(value)}
                    rows.setdefault((label, name, str(value)), row)
    return sorted(rows.values(), key=lambda row: row["stage"])


def _noted(made: Handle[Any]) -> Iterator[tuple[str, Any]]:
    record = made.artifact.record
    yield from ((name, record[name]) for name in NOTED if name in record)


def _plain(value: Any) -> Any:
    """A number or words, short enough for a table."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items() if inner is not None)
    return ", ".join(str(_plain(inner)) for inner in value) if isinstance(value, list | tuple) else str(value)
