"""A TUF repository of releases: one delegated role a tier, so that whoever signs for testers cannot for everyone.

root.json names the keys and how many of them must sign; targets.json delegates to `internal`, `testers` and `everyone`;
snapshot.json and timestamp.json say which versions belong together, and until when. A target is the signature file of a
release (`NAME/VERSION/model.sig`), which holds the digest of every other file. Root has a threshold of two of three
keys: one may be lost, or stolen, and the two others replace it.

Metadata that the library makes with its defaults is expired when it is made (tuf 7.0.1): every expiry is given here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.exceptions import StorageError
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from ayllu.lab.error import UserError
from ayllu.lab.store import storage_told, write_atomically
from ayllu.release import sign

Tier = Literal["internal", "testers", "everyone"]
TIERS: tuple[Tier, ...] = ("internal", "testers", "everyone")
"""Each later one sees what more people see; a release goes through them in this order."""
DAYS = {"root": 365, "targets": 90, "snapshot": 14, "timestamp": 2, "internal": 90, "testers": 90, "everyone": 90}
"""How long each role's metadata speaks."""
ROLES = ("targets", "snapshot", "timestamp", *TIERS)
"""Roles with one key each."""
ROOT_KEYS, ROOT_THRESHOLD = 3, 2


class Keys:
    """The private keys of a repository by role; those of `root` are several. Not every place has all."""

    def __init__(self, root: Sequence[ec.EllipticCurvePrivateKey], **roles: ec.EllipticCurvePrivateKey) -> None:
        self.root = [CryptoSigner(key) for key in root]
        self.roles = {name: CryptoSigner(key) for name, key in roles.items()}

    @property
    def root_ids(self) -> list[str]:
        """What root.json calls the root keys."""
        return [signer.public_key.keyid for signer in self.root]

    @classmethod
    def make(cls) -> Keys:
        """New ones."""
        made = {name: _new() for name in ROLES}
        return cls([_new() for _ in range(ROOT_KEYS)], **made)


def _new() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def refuse_taken(folder: Path) -> None:
    """Raise UserError where there can be no new repository in `folder`, so that no keys are made for none."""
    if (folder / "1.root.json").exists():
        raise UserError(f"{folder} holds a repository already: publish into it, or choose another folder")
    with storage_told(folder, "the repository"):
        folder.mkdir(parents=True, exist_ok=True)


def create(folder: Path, keys: Keys, *, now: datetime | None = None) -> None:
    """Write the first metadata of an empty repository into `folder`. UserError where there is one already."""
    refuse_taken(folder)
    now = now or datetime.now(UTC)
    root = Root(expires=_until("root", now), consistent_snapshot=False)
    for signer in keys.root:
        root.add_key(_public(signer), "root")
    root.roles["root"].threshold = ROOT_THRESHOLD
    for role in ("targets", "snapshot", "timestamp"):
        root.add_key(_public(keys.roles[role]), role)
    signers = {tier: keys.roles[tier] for tier in TIERS}
    delegated = Delegations(
        keys={signer.public_key.keyid: _public(signer) for signer in signers.values()},
        roles={
            tier: DelegatedRole(
                name=tier, keyids=[signer.public_key.keyid], threshold=1, terminating=False, paths=[f"{tier}/*/*/*"]
            )
            for tier, signer in signers.items()
        },
    )
    targets = Targets(expires=_until("targets", now), delegations=delegated)
    _write_root(folder, root, keys.root)
    _write(folder, "targets", targets, [keys.roles["targets"]])
    for tier in TIERS:
        _write(folder, tier, Targets(expires=_until(tier, now)), [keys.roles[tier]])
    refresh(folder, keys, now=now)


def promote(
    folder: Path, keys: Keys, release: Path, tier: Tier, *, evidence: Mapping[str, Any], now: datetime | None = None
) -> str:
    """Let `tier` offer the verified `release`; gives the target's path.

    `evidence` is kept with the target. UserError where an earlier tier does not offer the same bytes.
    """
    now = now or datetime.now(UTC)
    content = (release / sign.SIGNATURE).read_bytes()
    name, version = str(evidence["name"]), str(evidence["version"])
    refuse_early(folder, release, tier, name=name, version=version)
    metadata = load(folder, tier, Targets)
    path = target_path(tier, name, version)
    target = TargetFile.from_data(path, content, ["sha256"])
    target.unrecognized_fields["custom"] = dict(evidence)
    metadata.signed.targets[path] = target
    place = folder / "targets" / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    _renew(metadata.signed, tier, now)
    _write(folder, tier, metadata.signed, [keys.roles[tier]])
    refresh(folder, keys, now=now)
    return path


def refuse_early(folder: Path, release: Path, tier: Tier, *, name: str, version: str) -> None:
    """Raise UserError where the tier before `tier` does not offer the same bytes."""
    load(folder, tier, Targets)
    if tier == TIERS[0]:
        return
    before = TIERS[TIERS.index(tier) - 1]
    offered = load(folder, before, Targets).signed.targets.get(target_path(before, name, version))
    found = hashlib.sha256((release / sign.SIGNATURE).read_bytes()).hexdigest()
    if offered is None or offered.hashes.get("sha256") != found:
        raise UserError(f"{name} {version} has not been offered to {before} yet: a release goes through the tiers")


def target_path(tier: str, name: str, version: str) -> str:
    """Where a release stands in the repository."""
    return f"{tier}/{name}/{version}/{sign.SIGNATURE}"


def refresh(folder: Path, keys: Keys, *, now: datetime | None = None) -> None:
    """Sign snapshot and timestamp anew over what is there: after a change, and before the timestamp's day is over.

    What else the keys are there for is signed anew once half of its time is over, so that a repository in which nothing
    is promoted does not end.
    """
    now = now or datetime.now(UTC)
    for role in ("targets", *TIERS):
        metadata = load(folder, role, Targets)
        if role in keys.roles and metadata.signed.expires - now < timedelta(days=DAYS[role]) / 2:
            _renew(metadata.signed, role, now)
            _write(folder, role, metadata.signed, [keys.roles[role]])
    meta = {f"{name}.json": MetaFile(load(folder, name, Targets).signed.version) for name in ("targets", *TIERS)}
    snapshot = Snapshot(version=_next(folder, "snapshot", Snapshot), meta=meta, expires=_until("snapshot", now))
    _write(folder, "snapshot", snapshot, [keys.roles["snapshot"]])
    timestamp = Timestamp(
        version=_next(folder, "timestamp", Timestamp),
        snapshot_meta=MetaFile(snapshot.version),
        expires=_until("timestamp", now),
    )
    _write(folder, "timestamp", timestamp, [keys.roles["timestamp"]])


def rotate(
    folder: Path, signers: Iterable[ec.EllipticCurvePrivateKey], lost: str, new: ec.EllipticCurvePublicKey
) -> None:
    """Put `new` in the place of the root key with the id `lost`, signed by two of the keys that are left.

    UserError where too few of them sign, for users could not follow then, and where `new` has a role already.
    """
    signers = list(signers)
    number, before = refuse_rotation(folder, signers, lost)
    root: Root = Metadata[Root].from_bytes(before.to_bytes()).signed
    added = SSlibKey.from_crypto(new)
    if added.keyid in root.keys:
        raise UserError(f"the new key has a role in {folder} already: one that is lost would be lost twice")
    root.revoke_key(lost, "root")
    root.add_key(added, "root")
    root.version, root.expires = number + 1, _until("root", datetime.now(UTC))
    _sign_root(folder, before.signed, root, signers)


def _sign_root(folder: Path, before: Root, root: Root, signers: Iterable[ec.EllipticCurvePrivateKey]) -> None:
    """Write the next root, which users of the one before will follow."""
    metadata = Metadata(root)
    for key in signers:
        metadata.sign(CryptoSigner(key), append=True)
    for judge in (before, root):
        judge.verify_delegate("root", metadata.signed_bytes, metadata.signatures)
    write_atomically(folder / f"{root.version}.root.json", metadata.to_bytes().decode())


def renew_root(folder: Path, signers: Iterable[ec.EllipticCurvePrivateKey], *, now: datetime | None = None) -> None:
    """Sign the same root for another year. UserError where fewer than two of its keys sign."""
    signers = list(signers)
    number, before = refuse_rotation(folder, signers, None)
    root: Root = Metadata[Root].from_bytes(before.to_bytes()).signed
    root.version, root.expires = number + 1, _until("root", now or datetime.now(UTC))
    _sign_root(folder, before.signed, root, signers)


def ends(folder: Path) -> dict[str, datetime]:
    """Until when each role speaks."""
    roles = {role: load(folder, role, Targets) for role in ("targets", *TIERS)}
    roles["root"] = load(folder, f"{_latest_root(folder)}.root", Root)
    return {role: metadata.signed.expires for role, metadata in roles.items()}


def role_of(folder: Path, key_id: str) -> str | None:
    """The role that a key signs for, root apart; None where it has none."""
    root: Root = load(folder, f"{_latest_root(folder)}.root", Root).signed
    delegated = load(folder, "targets", Targets).signed.delegations
    roles = {name: role.keyids for name, role in root.roles.items() if name != "root"}
    roles |= {name: role.keyids for name, role in delegated.roles.items()}
    return next((name for name, ids in roles.items() if key_id in ids), None)


def needed_for(role: str) -> set[str]:
    """The other roles whose keys sign when that of `role` is replaced."""
    return ({"snapshot", "timestamp"} | ({"targets"} if role in TIERS else set())) - {role}


def replace_role_key(
    folder: Path,
    root_signers: Iterable[ec.EllipticCurvePrivateKey],
    keys: Keys,
    lost: str,
    new: ec.EllipticCurvePrivateKey,
) -> None:
    """Put `new` in the place of the key `lost` of a role, and sign what the role says with it.

    Two root keys vouch for the new key of targets, snapshot and timestamp, the key of targets for that of a tier;
    `keys` has those of `needed_for` the role. UserError where too few sign, and where `new` has a role already.
    """
    role, added, now = role_of(folder, lost), CryptoSigner(new), datetime.now(UTC)
    if role is None:
        raise UserError(f"{lost} is no key of {folder}: root.json and targets.json list those that are")
    root_signers = list(root_signers)
    number = _latest_root(folder)
    before = load(folder, f"{number}.root", Root)
    if added.public_key.keyid in before.signed.keys or role_of(folder, added.public_key.keyid):
        raise UserError(f"the new key has a role in {folder} already: one that is lost would be lost twice")
    if role not in TIERS:
        refuse_rotation(folder, root_signers, None)
    keys.roles[role] = added
    if role in TIERS:
        targets = load(folder, "targets", Targets).signed
        targets.revoke_key(lost, role)
        targets.add_key(_public(added), role)
        _renew(targets, "targets", now)
        _write(folder, "targets", targets, [keys.roles["targets"]])
    else:
        root: Root = Metadata[Root].from_bytes(before.to_bytes()).signed
        root.revoke_key(lost, role)
        root.add_key(_public(added), role)
        root.version, root.expires = number + 1, _until("root", now)
        _sign_root(folder, before.signed, root, root_signers)
    if role in ("targets", *TIERS):
        own = load(folder, role, Targets).signed
        _renew(own, role, now)
        _write(folder, role, own, [added])
    refresh(folder, keys, now=now)


def refuse_rotation(
    folder: Path, signers: Iterable[ec.EllipticCurvePrivateKey], lost: str | None
) -> tuple[int, Metadata[Root]]:
    """The newest root with its number. UserError where `lost` is none of its keys, or too few of the others sign."""
    number = _latest_root(folder)
    newest: Metadata[Root] = load(folder, f"{number}.root", Root)
    keys = set(newest.signed.roles["root"].keyids)
    if lost is not None and lost not in keys:
        raise UserError(f"{lost} is no root key of {folder}: root.json lists those that are")
    others = {CryptoSigner(key).public_key.keyid for key in signers} & (keys - {lost})
    if len(others) < ROOT_THRESHOLD:
        raise UserError(f"{len(others)} of the {ROOT_THRESHOLD} root keys that must sign have: add another")
    return number, newest


def load(folder: Path, role: str, kind: type[Any]) -> Metadata[Any]:
    """The metadata of a role. UserError where it cannot be read."""
    try:
        metadata = Metadata.from_file(str(folder / f"{role}.json"))
    except (OSError, RepositoryError, StorageError) as error:
        raise UserError(f"{folder / role}.json cannot be read ({error}): create the repository first") from None
    if not isinstance(metadata.signed, kind):
        raise UserError(f"{folder / role}.json is of another role")
    return metadata


def _public(signer: CryptoSigner) -> SSlibKey:
    key = signer.public_key
    assert isinstance(key, SSlibKey)
    return key


def _until(role: str, now: datetime) -> datetime:
    return (now + timedelta(days=DAYS[role])).replace(microsecond=0)


def _renew(signed: Targets, role: str, now: datetime) -> None:
    signed.version += 1
    signed.expires = _until(role, now)


def _next(folder: Path, role: str, kind: type[Any]) -> int:
    return load(folder, role, kind).signed.version + 1 if (folder / f"{role}.json").exists() else 1


def _latest_root(folder: Path) -> int:
    numbers = [int(name) for path in folder.glob("*.root.json") if (name := path.name.split(".")[0]).isdecimal()]
    if not numbers:
        raise UserError(f"{folder} holds no root.json: create the repository first")
    return max(numbers)


def _write_root(folder: Path, root: Root, signers: Sequence[CryptoSigner]) -> None:
    metadata = Metadata(root)
    for signer in signers:
        metadata.sign(signer, append=True)
    write_atomically(folder / f"{root.version}.root.json", metadata.to_bytes().decode())


def _write(folder: Path, role: str, signed: Any, signers: Sequence[CryptoSigner]) -> None:
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    write_atomically(folder / f"{role}.json", metadata.to_bytes().decode())
