"""The served model as an embedder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ayllu.serve.about import describe
from ayllu.serve.embeddings.hidden_states import HiddenStates
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.queue import EngineQueue
from ayllu.serve.served import Served


@pytest.fixture(scope="session")
def states(folder: Path, engine: TorchEngine) -> HiddenStates:
    about = describe(folder, context=engine.context, parameters=engine.parameters)
    return HiddenStates(Served(EngineQueue(engine), about))
