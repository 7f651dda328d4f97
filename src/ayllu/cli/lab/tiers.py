"""`ayllu release tiers`: who is offered a release when, by The Update Framework's roles."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import cyclopts

from ayllu.cli.options import Json, print_json, print_lines
from ayllu.lab.error import UserError

app = cyclopts.App(
    name="tiers", help="Offer releases to internal users, testers and everyone; TUF roles vouch for each."
)


@app.command
def create(folder: Path, /, *, keys: Path, json: Json = False) -> None:
    """Make an empty repository, and new keys: one for each role, and three of root, of which two must sign.

    Parameters
    ----------
    folder
        The repository: what users read. Hand its 1.root.json to them by a way that they trust.
    keys
        New folder for the private keys; keep the root keys apart from each other and off line.
    """
    from ayllu.release.tiers import repository
    from ayllu.release.tiers.keys import make_keys

    repository.refuse_taken(folder)
    made = make_keys(keys)
    repository.create(folder, made)
    value = {"repository": str(folder), "keys": str(keys), "root_keys": made.root_ids}
    if json:
        print_json(value)
    else:
        print_lines([f"{folder}: {', '.join(repository.TIERS)}", f"private keys in {keys}: keep root-*.pem apart"])


@app.command
def refresh(folder: Path, /, *, keys: Path) -> None:
    """Sign anew that this is the newest state: the last signature speaks for two days.

    Parameters
    ----------
    folder
        The repository.
    keys
        The folder with snapshot.pem and timestamp.pem; what its other keys sign for is signed anew in time.
    """
    from ayllu.release.tiers import repository
    from ayllu.release.tiers.keys import read_keys

    there = [role for role in repository.ROLES if (keys / f"{role}.pem").exists()]
    repository.refresh(folder, read_keys(keys, {*there, "snapshot", "timestamp"}))
    print_lines([f"{folder} is fresh for {repository.DAYS['timestamp']} days"])
    for role, end in repository.ends(folder).items():
        if (end - datetime.now(UTC)).days < repository.DAYS[role] / 4:
            how = "`ayllu release tiers renew`" if role == "root" else f"a refresh where {role}.pem is"
            print_lines([f"{role} speaks only until {end.date()}: then nobody is offered anything; it takes {how}"])


@app.command
def renew(folder: Path, /, *, key: tuple[Path, ...]) -> None:
    """Sign the root for another year, with the same keys.

    Parameters
    ----------
    folder
        The repository.
    key
        Two of the root keys, one --key each.
    """
    from ayllu.release import sign
    from ayllu.release.tiers import repository

    repository.renew_root(folder, [sign.private_key(path) for path in key])
    print_lines([f"{folder}: root speaks until {repository.ends(folder)['root'].date()}"])


@app.command
def rotate(
    folder: Path, /, *, lost: str, new: Path, key: tuple[Path, ...] = (), keys: Path | None = None
) -> None:  # fmt: skip
    """Replace a key that was lost or stolen: one of root, for which two others sign, or that of another role.

    Parameters
    ----------
    folder
        The repository.
    lost
        The id of the key, as `tiers create --json` and root.json have it.
    new
        File for the new private key; made where it is not there.
    key
        The root keys that sign, one --key each; the key of a tier needs none.
    keys
        For the key of another role than root: the folder with the keys of snapshot and timestamp, and of targets for
        that of a tier.
    """
    from ayllu.release import sign
    from ayllu.release.tiers import repository
    from ayllu.release.tiers.keys import made_or_read, read_keys

    signers = [sign.private_key(path) for path in key]
    if role := repository.role_of(folder, lost):
        if keys is None:
            raise UserError(f"{lost[:16]}… is the key of {role}: give --keys, the folder with those of the other roles")
        others = read_keys(keys, repository.needed_for(role))
        if role not in repository.TIERS:
            repository.refuse_rotation(folder, signers, None)  # before a key is made for nothing
        repository.replace_role_key(folder, signers, others, lost, made_or_read(new))
        print_lines([f"{folder}: the key {lost[:16]}… of {role} is replaced; users follow at their next check"])
        return
    repository.refuse_rotation(folder, signers, lost)  # before a key is made for nothing
    repository.rotate(folder, signers, lost, made_or_read(new).public_key())
    print_lines([f"{folder}: the key {lost[:16]}… is replaced; users follow at their next check"])


@app.command
def check(
    repository: Path, release: Path, /, *, tier: str = "everyone", trusted: Path, json: Json = False
) -> None:  # fmt: skip
    """Ask a tier whether it offers a release, and refuse what is expired, older than seen before, or another.

    Parameters
    ----------
    repository
        Folder of the repository.
    release
        Folder of the release.
    tier
        internal, testers or everyone.
    trusted
        Your folder with root.json from a place that you trust; what was seen is kept there.
    """
    from ayllu.release.tiers.client import check_release

    found = check_release(repository, trusted, release, tier)
    if json:
        print_json(found)
    else:
        print_lines([f"{found['name']} {found['version']} is offered to {tier}: promotion {found.get('promotion')}"])
