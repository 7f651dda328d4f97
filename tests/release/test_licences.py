"""Which words of a source allow a release."""

from __future__ import annotations

import pytest

from ayllu.data.sources.registry import SOURCES
from ayllu.release.licences import PERMITTING, licence_text, read_licence


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("MIT (HellaSwag's repository; the archive does not repeat it)", ("MIT",)),
        ("contents CC0-1.0, database PDDL-1.0 (the package's LICENSE)", ("CC0-1.0", "PDDL-1.0")),
        ("public domain; package MIT", ("MIT", "public domain")),
        ("cc-by-sa-4.0", ("CC-BY-SA-4.0",)),
        ("Apache-2.0", ("Apache-2.0",)),
    ],
)
def test_known_licences_allow(words, ids):
    licence = read_licence(words)
    assert licence.objection is None
    assert set(licence.ids) == set(ids)


@pytest.mark.parametrize(
    ("words", "objection"),
    [
        ("CC-BY-NC-4.0", "says “NC”"),
        ("CC-BY-ND-4.0", "says “ND”"),
        ("MIT for code, non-commercial for data", "non-commercial"),
        ("GPL-3.0-only", "GPL-3.0-only is not on the list"),
        ("MIT and SomeCompany-1.0", "SomeCompany-1.0 is not on the list"),
        ("Apache-2.0-modified", "not on the list"),
        ("stated by the data set's card", "names no licence"),
        ("not stated", "not stated"),
        ("(MIT)", "names no licence"),
        ("", "names no licence"),
        ("permitted", "names no licence"),
    ],
)
def test_everything_else_stops(words, objection):
    assert objection in (read_licence(words).objection or "")


def test_a_policy_can_permit_less():
    for words in ("CC-BY-SA-4.0", "MIT and CC0-1.0", "public domain; package MIT"):
        assert read_licence(words, ("MIT",)).objection
    assert all(read_licence(name).objection is None for name in PERMITTING)


def test_the_sources_of_the_data_room_are_understood():
    assert {name: read_licence(source.licence).objection for name, source in SOURCES.items()} == dict.fromkeys(SOURCES)


def test_the_licence_of_the_weights_is_whole():
    text = licence_text("Apache-2.0")
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text
