"""What must hold before a model is released: a policy, named, hashed and written into the release."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ayllu.lab.error import UserError
from ayllu.release.licences import PERMITTING


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The rules of a release. Every release states its scores, its sources and one chat template in all its forms."""

    name: str
    weights_licence: str = "Apache-2.0"
    """SPDX identifier of the licence that the weights are given under."""
    permitted_licences: tuple[str, ...] = PERMITTING
    """A source under any other licence stops the release."""

    @property
    def digest(self) -> str:
        """sha256 of the policy's fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {**asdict(self), "permitted_licences": list(self.permitted_licences), "sha256": self.digest}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Policy:
        """Read what `as_json` gave. Raises ValueError where it is something else."""
        try:
            policy = cls(
                name=str(fields["name"]),
                weights_licence=str(fields["weights_licence"]),
                permitted_licences=tuple(map(str, fields["permitted_licences"])),
            )
            if policy.digest != fields["sha256"]:
                raise ValueError("the policy's rules do not give its sha256")
        except (KeyError, TypeError) as error:
            raise ValueError(f"the policy is incomplete ({error})") from None
        return policy


OPEN = Policy(name="open")
POLICIES = {policy.name: policy for policy in (OPEN,)}


def find_policy(name: str) -> Policy:
    """The policy called `name`. Raises UserError where there is none."""
    if name not in POLICIES:
        raise UserError(f"no release policy is called {name!r}: choose among {', '.join(POLICIES)}")
    return POLICIES[name]
