"""What must hold before a model is released: a policy, named, hashed and written into the release."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ayllu.lab.error import UserError
from ayllu.release.licences import LICENCE_TEXTS, PERMITTING

FINGERPRINT = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """What one score must reach."""

    score: str
    """Steps to it in scores.json, with slashes, such as `sets/hellaswag/accuracy_norm` or `bits_per_byte/books`."""
    at_least: float | None = None
    at_most: float | None = None
    least: int = 1
    """Items or documents from which the score can decide at all."""

    @classmethod
    def from_json(cls, fields: Any) -> Threshold:
        """Read one of a policy's `thresholds`. Raises ValueError where it says something else."""
        known = ("score", "at_least", "at_most", "least")
        if not isinstance(fields, Mapping) or not isinstance(fields.get("score"), str):
            raise ValueError("each of its thresholds is an object with a score, and at_least or at_most")
        others = sorted(fields.keys() - set(known))
        if others:
            raise ValueError(f"a threshold says {others[0]}, which is none of {', '.join(known)}")
        limits = [fields.get("at_least"), fields.get("at_most")]
        numbers = [limit for limit in limits if limit is not None]
        if len(numbers) != 1 or isinstance(numbers[0], bool) or not isinstance(numbers[0], int | float):
            raise ValueError(f"the threshold of {fields['score']} needs one number, at_least or at_most")
        least = fields.get("least", 1)
        # An integer beyond every float has no value that a score could be compared with.
        finite = -sys.float_info.max <= numbers[0] <= sys.float_info.max
        if not finite or not isinstance(least, int) or isinstance(least, bool) or least < 1:
            raise ValueError(f"the threshold of {fields['score']} needs finite numbers, and least from 1 on")
        return cls(score=fields["score"], at_least=limits[0], at_most=limits[1], least=least)

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The rules of a release. Every release states its scores, its sources and one chat template in all its forms."""

    name: str
    weights_licence: str = "Apache-2.0"
    """SPDX identifier of the licence that the weights are given under."""
    permitted_licences: tuple[str, ...] = PERMITTING
    """A source under any other licence stops the release."""
    thresholds: tuple[Threshold, ...] = ()
    """What scores must reach."""
    exceptions_by: tuple[str, ...] = ()
    """Fingerprints of the keys that may sign an exception to a failing threshold; by no others is there one."""

    def _rules(self) -> dict[str, Any]:
        """A policy without thresholds is what it was before there were any."""
        rules: dict[str, Any] = {
            "name": self.name,
            "weights_licence": self.weights_licence,
            "permitted_licences": list(self.permitted_licences),
        }
        rules |= {"thresholds": [each.as_json() for each in self.thresholds]} if self.thresholds else {}
        return rules | ({"exceptions_by": list(self.exceptions_by)} if self.exceptions_by else {})

    @property
    def digest(self) -> str:
        """sha256 of the policy's fields."""
        return hashlib.sha256(json.dumps(self._rules(), sort_keys=True).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {**self._rules(), "sha256": self.digest}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Policy:
        """Read what `as_json` gave. Raises ValueError where it is something else."""
        try:
            policy = cls(
                name=str(fields["name"]),
                weights_licence=str(fields["weights_licence"]),
                permitted_licences=tuple(map(str, fields["permitted_licences"])),
                thresholds=tuple(map(Threshold.from_json, fields.get("thresholds", ()))),
                exceptions_by=tuple(map(str, fields.get("exceptions_by", ()))),
            )
            if policy.digest != fields["sha256"]:
                raise ValueError("the policy's rules do not give its sha256")
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"the policy is incomplete ({error})") from None
        return policy

    @classmethod
    def from_file(cls, fields: Any) -> Policy:
        """Read a policy file: `name`, and as far as given the other fields. Raises ValueError for anything else."""
        known = ("name", "weights_licence", "permitted_licences", "thresholds", "exceptions_by")
        if not isinstance(fields, dict) or not isinstance(fields.get("name"), str):
            raise ValueError(f"it is an object with name and, where wanted, {', '.join(known[1:])}")
        others = sorted(fields.keys() - set(known))
        if others:
            raise ValueError(f"it says {others[0]}, which is none of {', '.join(known)}")
        if fields["name"] in POLICIES:
            raise ValueError(f"{fields['name']} is the name of a policy of Ayllu's; give yours another")
        licence, permitted = fields.get("weights_licence", cls.weights_licence), fields.get("permitted_licences")
        if licence not in LICENCE_TEXTS:
            raise ValueError(f"its weights_licence is {licence}; choose {', '.join(LICENCE_TEXTS)}")
        if permitted is not None and not (isinstance(permitted, list) and all(isinstance(x, str) for x in permitted)):
            raise ValueError("its permitted_licences are no list of SPDX identifiers")
        if not isinstance(fields.get("thresholds", []), list):
            raise ValueError("its thresholds are no list")
        keys = fields.get("exceptions_by", [])
        if not isinstance(keys, list) or not all(isinstance(x, str) and FINGERPRINT.fullmatch(x) for x in keys):
            raise ValueError("its exceptions_by is no list of fingerprints, of sixty-four hexadecimal digits each")
        return cls(
            name=fields["name"],
            weights_licence=licence,
            permitted_licences=PERMITTING if permitted is None else tuple(permitted),
            thresholds=tuple(map(Threshold.from_json, fields.get("thresholds", []))),
            exceptions_by=tuple(keys),
        )


OPEN = Policy(name="open")
POLICIES = {policy.name: policy for policy in (OPEN,)}


def find_policy(name: str) -> Policy:
    """The policy called `name`. Raises UserError where there is none."""
    if name not in POLICIES:
        raise UserError(f"no release policy is called {name!r}: choose among {', '.join(POLICIES)}")
    return POLICIES[name]
