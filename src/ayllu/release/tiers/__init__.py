"""Who gets a release when: internal, testers, everyone, as roles of The Update Framework."""

from importlib.util import find_spec

from ayllu.lab.error import UserError

if find_spec("tuf") is None:
    raise UserError("tiers of releases need the package tuf: pip install 'ayllu[tiers]'")
