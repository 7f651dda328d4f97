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
        ("(MIT)", ("MIT",)),
        ("MIT OR GPL-3.0-only", ("MIT",)),
        ("(MIT OR Apache-2.0)", ("MIT", "Apache-2.0")),
        ("MIT AND (Apache-2.0 OR GPL-3.0-only)", ("MIT", "Apache-2.0")),
        ("Apache-2.0 WITH LLVM-exception", ("Apache-2.0",)),
        ("odc-by", ("ODC-By-1.0",)),
        ("CC0", ("CC0-1.0",)),
        ("cc0-1.0", ("CC0-1.0",)),
        ("MIT-0", ("MIT-0",)),
        ("CC BY 4.0", ("CC-BY-4.0",)),
        ("MIT License", ("MIT",)),
        ("odc-by (stated by whoever ran the recipe)", ("ODC-By-1.0",)),
        ("MIT (https://example.org/LICENSE)", ("MIT",)),
        ("BSD-3-Clause (license.md of its repository)", ("BSD-3-Clause",)),
        ("CC-BY-4.0 (the data set's card)", ("CC-BY-4.0",)),
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
        ("MIT AND (CC-BY-NC-4.0)", "says “NC”"),
        ("MIT AND (CC-BY-NC-4.0) (stated by whoever ran the recipe)", "says “NC”"),
        ("MIT AND GPLv3", "GPLv3 is not on the list"),
        ("MIT, for research purposes only", "names no licence"),
        ("MIT (for research purposes only)", "says “research”"),
        ("MIT (not for commercial use)", "says “commercial”"),
        ("MIT (GPL-3.0-or-later)", "names GPL-3.0-or-later in a remark"),
        ("MIT (not for resale)", "says “not for resale” beside its licence"),
        ("MIT (for internal use)", "says “for internal use”"),
        ("MIT (AI training is disallowed)", "says “AI training is disallowed”"),
        ("MIT (with the Commons Clause)", "says “with the Commons Clause”"),
        ("Apache-2.0 (Llama 3 Community License)", "says “Llama 3 Community License”"),
        ("MIT (its LICENSE; students may use it)", "says “students may use it”"),
        ("MIT (see https://example.org for terms)", "says “see https://example.org for terms”"),
        ("not MIT", "names no licence"),
        ("non-MIT", "names no licence"),
        ("anything but MIT", "names no licence"),
        ("MIT-style", "names no licence"),
        ("MIT AND", "names no licence"),
        ("MIT MIT", "names no licence"),
        ("MIT/GPL-3.0-only", "names no licence"),
        ("CC-BY-4.0 WITH restrictions", "names an exception that is not on the SPDX list"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only is not on the list"),
        ("CC-BY-NC-4.0 OR GPL-3.0-only", "says “NC”"),
        ("MIT, GPL-3.0-only", "GPL-3.0-only is not on the list"),
        ("llama3.2", "llama3.2 is not on the list"),
        ("(" * 900 + "MIT" + ")" * 900, "characters, more than"),
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
