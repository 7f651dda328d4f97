"""Real text for this room's tests, read once."""

from itertools import islice

import pytest
from hypothesis import settings

from ayllu.data.archive import default_cache
from ayllu.data.document import Document
from ayllu.data.sources.everyday import read_everyday

# A loaded machine is no failure.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def everyday() -> list[Document]:
    """Three thousand documents of everyday English, a fair sample of the source."""
    return list(islice(read_everyday(default_cache()), 3000))
