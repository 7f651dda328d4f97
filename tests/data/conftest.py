"""Real text for this room's tests, read once."""

from itertools import islice

import pytest

from ayllu.data.archive import default_cache
from ayllu.data.document import Document
from ayllu.data.sources.everyday import read_everyday


@pytest.fixture(scope="session")
def everyday() -> list[Document]:
    """Three thousand documents of everyday English, a fair sample of the source."""
    return list(islice(read_everyday(default_cache()), 3000))
