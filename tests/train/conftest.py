"""What the tests of training share."""

from __future__ import annotations

import pytest

from ayllu.data.tokens.loader import Loader
from ayllu.data.tokens.pack import Tokens
from support.programs.layouts import tokens as counting


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    """Counting upwards from a random start: something that can be learnt."""
    return counting(tmp_path_factory.mktemp("tokens"))


@pytest.fixture
def loader(tokens: Tokens) -> Loader:
    return Loader(tokens, seed=0)
