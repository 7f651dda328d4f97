"""Moving a channel to a model: the gates, and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.evals.comparison.kept import compare_kept, scores_of
from ayllu.lab import channel as channels
from ayllu.lab.error import UserError
from ayllu.lab.shelf.details import lineage
from ayllu.lab.shelf.find import find
from ayllu.lab.shelf.index import Entry, channels_of, entries
from ayllu.lab.shelf.jobs import now
from ayllu.lab.store import Store
from ayllu.release.promotion.chain import digest, moving, read_chain
from ayllu.release.trust.revoked import refuse_revoked
from ayllu.release.verify import verify_release

MARGIN = 0.02
"""What a score may be worse by and still count as kept: a share of right answers, or bits per byte."""


def promote(
    store: Store,
    model: str,
    channel: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    margin: float = MARGIN,
    without_scores: str | None = None,
) -> dict[str, Any]:
    """Let `channel` point to `model` when its gates pass: the signed record, and its `digest`.

    `without_scores` is the reason to move though nothing was measured on the same items as the predecessor. Raises
    UserError, and moves nothing, where a gate fails.
    """
    channels.check_name(channel)
    rows = entries(store)
    row = find(store, model, rows)
    if row.kind not in ("model", "release") or row.state != "finished":
        raise UserError(f"{row.name} is {row.kind}, {row.state}: a channel points to a finished model or release")
    with moving(store, channel, key) as moves:
        before = _before(store, channel, moves.records)
        if before is not None and before["key"] == row.key and channel in channels_of(store):
            raise UserError(f"{channel} points to {row.name} already")
        evidence = {"whole": _whole(store, row), "release": _release(row)}
        evidence["scores"] = _scores(row, before, rows, margin=margin, without=without_scores)
        record = moves.write(
            kind="promote",
            at=now(),
            **{"from": _named(before) if before else None},
            to={"stage": row.stage, "key": row.key},
            evidence=evidence,
        )
        channels.promote(store, channel, Path(row.folder))
    return {**record, "digest": digest(record)}


def moved_already(store: Store, model: str, channel: str) -> dict[str, Any] | None:
    """The record by which `channel` points to `model` already, with its `digest`; None where it does not."""
    row = find(store, model, entries(store))
    here = channels_of(store).get(channel, [])[-1:]
    records = [record for record in read_chain(store) if record["channel"] == channel][-1:]
    if here and records and here[0]["key"] == row.key == records[0]["to"]["key"]:
        return {**records[0], "digest": digest(records[0])}
    return None


def rollback(store: Store, channel: str, key: ec.EllipticCurvePrivateKey, *, reason: str = "") -> dict[str, Any]:
    """Let `channel` point to what it pointed to before: the signed record. UserError where there is nothing before.

    What it was taken back from is nothing to return to: a second rollback goes one further back.
    """
    with moving(store, channel, key) as moves:
        current = channels.current(store, channel)
        earlier = [one for one in channels.returns(channels_of(store)[channel]) if one["key"] != current["key"]]
        if not earlier:
            raise UserError(f"{channel} has pointed to nothing else before; promote another model")
        meant = earlier[-1]["key"]
        row = next((one for one in entries(store) if one.key == meant and one.state == "finished"), None)
        if row is None:
            raise UserError(f"what {channel} pointed to before ({meant[:16]}) is gone; promote another model")
        evidence = {"whole": _whole(store, row), "release": _release(row), "reason": reason}
        record = moves.write(
            kind="rollback",
            at=now(),
            **{"from": _named(current)},
            to={"stage": row.stage, "key": row.key},
            evidence=evidence,
        )
        channels.promote(store, channel, Path(row.folder), back=True)
    return {**record, "digest": digest(record)}


def _before(store: Store, channel: str, records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What a channel points to, as `stage` and `key`: by its last record where its name was removed or is damaged."""
    if history := channels_of(store).get(channel):
        return history[-1]
    mine = [record["to"] for record in records if record["channel"] == channel]
    if not mine and channels.is_there(store, channel):
        channels.current(store, channel)  # says what is wrong with it
    return mine[-1] if mine else None


def _named(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry.get(name) for name in ("stage", "key")}


def _whole(store: Store, row: Entry) -> str:
    """Every byte is what was written. UserError where one is not."""
    manifest, wrong = store.look(row.stage, str(row.key), full=True)
    if manifest is None:
        raise UserError(f"{row.name} is damaged: {wrong}; make it again")
    return str(manifest["digest"])


def _release(row: Entry) -> dict[str, Any]:
    """A release is verified with its own key: licences, conformance, scores and card are among its gates."""
    folder = Path(row.folder) / "release"
    if not folder.is_dir():
        return {"verified": None, "why": "it is no release: its licences and its card have passed no gate"}
    refuse_revoked(folder)
    found = verify_release(folder, None)
    if not found.verified:
        raise UserError(f"{row.name} is not verified: {found.problems[0]}; `ayllu release verify {folder}` has all")
    return {"verified": True, "signed_by": found.fingerprint, "files": found.files}


def _scores(
    row: Entry, before: Mapping[str, Any] | None, rows: Sequence[Entry], *, margin: float, without: str | None
) -> dict[str, Any]:
    """Non-inferiority to what the channel points to, paired on the same items. UserError where it is not shown."""
    if before is None:
        return {"compared": [], "why": "the channel is new: there is no predecessor to be as good as"}
    if before["key"] == row.key:
        return {"compared": [], "why": "it is what the last record of the channel let it point to"}
    old = next((one for one in rows if one.key == before["key"] and one.state == "finished"), None)
    sides = [(one.name, scores_of(one, rows, lineage(one, rows))) for one in (old, row) if one is not None]
    try:
        compared = compare_kept(*sides) if len(sides) == 2 else []
        problem = "" if compared else "no score was measured on both"
        alone = sorted(sides[0][1].keys() - sides[-1][1].keys())
        if compared and alone:
            problem = f"{alone[0]} has measured {sides[0][0]} alone"
    except UserError as error:
        compared, problem = [], str(error)
    if problem and not without:
        raise UserError(
            f"{row.name} is not shown to be as good as what the channel has: {problem}; measure both on one suite, or "
            "say why not with --without-scores REASON"
        )
    worse = [one for one in compared if not _kept(one, margin)]
    if worse:
        first = worse[0]
        told = "no interval" if first["low"] is None else f"95 %: {first['low']:+.4g} to {first['high']:+.4g}"
        raise UserError(
            f"{row.name} is not shown to be as good as {sides[0][0]}: {first['score']} {first['difference']:+.4g} "
            f"({told}, margin {margin:g}, {first['items']:,} items)"
        )
    names = ("score", "first", "second", "difference", "low", "high", "items")
    kept = [{name: one[name] for name in names} for one in compared]
    return {"compared": kept, "margin": margin, "why": without if problem else "no score is worse by the margin"}


def _kept(one: dict[str, Any], margin: float) -> bool:
    """Whether the interval rules out a loss of more than the margin: fewer bits are better, more answers are."""
    if one["low"] is None:
        return False
    if str(one["score"]).startswith("bits_per_byte"):
        return bool(one["high"] < margin)
    return bool(one["low"] > -margin)
