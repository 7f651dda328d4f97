"""`ayllu push` and `pull`: results between this home and a store that is shared with others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ayllu.api.home import find_team
from ayllu.cli.lab.shelf import meant
from ayllu.cli.lab.storage import changing_store
from ayllu.cli.options import Flag, Home, Json, print_json, print_lines
from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.lab.store import thing_of
from ayllu.lab.team import exchange
from ayllu.lab.team.shared import Team
from ayllu.release.trust.revoked import refuse_revoked

ADDRESS = "A folder that all can reach, or s3://BUCKET/FOLDER; $AYLLU_TEAM when not given."
To = Annotated[str | None, Parameter(name="--to", help=ADDRESS)]
From = Annotated[str | None, Parameter(name="--from", help=ADDRESS)]


def push(*names: str, to: To = None, alone: Flag = False, home: Home = None, json: Json = False) -> None:
    """Give a team's store what is kept here, with what it was made from; what is there is not sent again.

    Parameters
    ----------
    names
        Names, beginnings of keys, tags or folders. A name means the same there afterwards.
    alone
        Leave out what it was made from.
    """
    if not names:
        raise UserError("nothing is named; give the names that `ayllu list` shows")
    store, team = changing_store(home), _team(to, "--to")
    rows = [meant(store, name) for name in names]
    for row in rows:
        if not row.folder or row.state != "finished" or row.kind == "run":
            raise UserError(f"{row.name} is {row.kind}, {row.state}, and nothing to push; `ayllu list` shows what is")
    folders = exchange.behind(store, [Path(row.folder) for row in rows], alone=alone)
    sent = exchange.push(team, folders)
    for name, row in zip(names, rows, strict=True):
        if name in row.channels:
            team.call(name, row.stage, str(row.key))
    found = [{"name": folder.name, "sent": new} for folder, new in sent.items()]
    if json:
        print_json({"to": team.objects.url, "artifacts": found})
        return
    new = sum(sent.values())
    print_lines([f"{team.objects.url}: {new} sent, {len(sent) - new} there already"])


def pull(*names: str, source: From = None, alone: Flag = False, home: Home = None, json: Json = False) -> None:
    """Bring results of a team's store into this home, with what they were made from; every byte is checked.

    Without names it lists what is there.

    Parameters
    ----------
    names
        Names that somebody has pushed, or beginnings of keys. A name means the same here afterwards.
    alone
        Leave out what it was made from.
    """
    team = _team(source, "--from")
    if not names:
        _print_all(team, json)
        return
    store = changing_store(home)
    found = exchange.pull(team, store, names, alone=alone, check=lambda folder: refuse_revoked(folder / "release"))
    if json:
        print_json({"from": team.objects.url, "artifacts": found})
        return
    new = sum(row["new"] for row in found)
    print_lines([f"{team.objects.url}: {new} brought, {len(found) - new} here already"])


def _team(url: str | None, option: str) -> Team:
    team = find_team(url)
    if team is None:
        raise UserError(f"no team's store is named; give {option} FOLDER or s3://BUCKET/FOLDER, or set AYLLU_TEAM")
    return team


def _print_all(team: Team, json: bool) -> None:
    names: dict[str, list[str]] = {}
    for name in team.names():
        try:
            meant = team.meaning(name)
        except UserError as error:  # what else is there can still be told
            say(f"ayllu: {error}")
            continue
        if meant is not None:
            names.setdefault(thing_of({"stage": meant[0], "key": meant[1]}), []).append(name)
    rows: list[dict[str, Any]] = [{"artifact": each, "names": names.get(each, [])} for each in team.artifacts()]
    if json:
        print_json({"from": team.objects.url, "artifacts": rows})
        return
    print_lines(f"{row['artifact']}{''.join(f'  {name}' for name in row['names'])}" for row in rows)
    if not rows:
        print_lines([f"nothing is in {team.objects.url} yet; `ayllu push NAME` puts something there"])
