"""A judge of made-up hazards, trained once."""

from __future__ import annotations

import pytest

from ayllu.safety.judge.judge import Judge
from ayllu.safety.judge.train import Training
from support.placeholders import material


@pytest.fixture(scope="session")
def zorb_judge() -> Judge:
    """Finds zorbing (S1) and flumping (S10) harmful, and nothing else."""
    training = Training(material())
    return training.judge(training.crossed())
