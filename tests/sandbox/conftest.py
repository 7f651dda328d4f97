"""The sandbox as this machine allows it."""

from __future__ import annotations

import pytest

from ayllu.sandbox import bubblewrap
from ayllu.sandbox.outcome import NoSandbox
from support.parts import need


@pytest.fixture(scope="session")
def sandbox() -> None:
    """Needs bubblewrap, and a kernel that lets it make namespaces."""
    try:
        bubblewrap.require()
    except NoSandbox as error:
        need(None, str(error))
