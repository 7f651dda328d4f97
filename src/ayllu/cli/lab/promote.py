"""`ayllu promote`, `rollback` and `promotions`: which model a channel points to, by evidence."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ayllu.cli.lab.shelf import open_store
from ayllu.cli.lab.storage import changing_store
from ayllu.cli.lab.words import table
from ayllu.cli.options import Home, Json, print_json, print_lines
from ayllu.lab.error import UserError
from ayllu.lab.store import Store


def promote(
    model: str,
    channel: str,
    /,
    *,
    margin: float = 0.02,
    without_scores: str | None = None,
    key: Path | None = None,
    tiers: Path | None = None,
    tier_keys: Path | None = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Let a channel such as assistant@stable point to a model when its gates pass; the move is signed and recorded.

    Parameters
    ----------
    model
        A name, the beginning of a key, a tag or a folder.
    channel
        The name that products read.
    margin
        What a score may be worse by than the predecessor's, ruled out by the paired 95 % interval: a share, or bits.
    without_scores
        Why it is moved though nothing was measured on the same items as the predecessor; stands in the record.
    key
        Your private key; your own release key when not given.
    tiers
        A repository of `ayllu release tiers`: the release is offered to the tier that the channel is called by, such as
        cria@testers, and names the digest of the move.
    tier_keys
        The folder with the keys of that tier, of snapshot and of timestamp.
    """
    from ayllu.release.promotion import move
    from ayllu.release.sign import private_key

    if not (math.isfinite(margin) and margin >= 0):
        raise UserError(f"margin is {margin:g}; give 0 or more")
    if tier_keys is not None and tiers is None:
        raise UserError("--tier-keys are those of a repository: give it with --tiers, or leave them out")
    store = changing_store(home)
    offer = _offer(store, model, channel, tiers, tier_keys) if tiers is not None else None
    # An offer that failed after the move is made again for the same record.
    moved = move.moved_already(store, model, channel) if offer is not None else None
    if moved is None:
        moved = move.promote(store, model, channel, private_key(key), margin=margin, without_scores=without_scores)
    if offer is not None:
        offer(moved["digest"])
    _print(moved, json)


def _offer(store: Store, model: str, channel: str, tiers: Path, keys: Path | None) -> Callable[[str], str]:
    """What offers the release to the channel's tier, once the chain has the move. UserError where it may not."""
    from ayllu.lab.shelf.find import find
    from ayllu.lab.shelf.index import entries
    from ayllu.release.tiers import repository
    from ayllu.release.tiers.client import tier_named
    from ayllu.release.tiers.keys import read_keys
    from ayllu.release.verify import verify_release

    if keys is None:
        raise UserError("a tier's key signs what it offers: give --tier-keys, the folder that `tiers create` made")
    tier = tier_named(channel.rpartition("@")[2])
    signers = read_keys(keys, (tier, "snapshot", "timestamp"))
    release = Path(find(store, model, entries(store)).folder) / "release"
    found = verify_release(release)
    if found.problems:
        raise UserError(f"{release} is not verified: {found.problems[0]}")
    name, version = str(found.name), str(found.version)
    repository.refuse_early(tiers, release, tier, name=name, version=version)
    about = {"name": name, "version": version, "model_digest": found.model_digest}
    return lambda digest: repository.promote(tiers, signers, release, tier, evidence=about | {"promotion": digest})


def rollback(channel: str, /, *, reason: str = "", key: Path | None = None, home: Home = None,
             json: Json = False) -> None:  # fmt: skip
    """Let a channel point to what it pointed to before; the move is signed and recorded.

    Parameters
    ----------
    channel
        The name that products read.
    reason
        Why, for the record.
    key
        Your private key; your own release key when not given.
    """
    from ayllu.release.promotion import move
    from ayllu.release.sign import private_key

    _print(move.rollback(changing_store(home), channel, private_key(key), reason=reason), json)


def promotions(channel: str | None = None, /, *, home: Home = None, json: Json = False) -> None:
    """Show every move of the channels, after checking the chain: its signatures, and that no line is missing.

    Parameters
    ----------
    channel
        Only of this channel.
    """
    from ayllu.release.promotion.chain import digest, read_chain

    records = read_chain(open_store(home))
    rows = [{**row, "digest": digest(row)} for row in records if channel in (None, row["channel"])]
    if json:
        print_json({"promotions": rows, "records": len(records)})
        return
    cells = [
        (str(r["number"]), r["at"], r["channel"], r["kind"], f"{r['to']['stage']}-{r['to']['key'][:8]}", r["by"][:12])
        for r in rows
    ]
    if cells:
        print_lines(table(("", "at", "channel", "move", "to", "by key"), cells))
    print_lines([f"{len(records)} records, each signed and naming the one before"])


def _print(record: dict[str, Any], json: bool) -> None:
    if json:
        print_json(record)
        return
    to = f"{record['to']['stage']}-{record['to']['key'][:8]}"
    print_lines([f"{record['channel']} points to {to}: record {record['number']}, {record['digest']}"])
    for gate, found in record["evidence"].items():
        told = found.get("why") or "verified" if isinstance(found, dict) else found
        print_lines([f"  {gate}: {told}"])
