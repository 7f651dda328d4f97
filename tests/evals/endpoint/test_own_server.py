"""Standard sets put to our own server: what it tells of a prompt is what the weights behind it say, item by item."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ayllu.evals.endpoint.client import Endpoint
from ayllu.evals.endpoint.respondent import EndpointRespondent
from ayllu.evals.standard.evaluate import evaluate_tasks
from ayllu.evals.standard.prompts import chosen_rows, prompts_of
from ayllu.evals.standard.respondent import WeightsRespondent
from ayllu.evals.standard.rows import Reader
from ayllu.evals.standard.table import TASKS
from ayllu.model.files import hf
from ayllu.serve.engines.torch_engine import TorchEngine
from support.models import save_tiny_model, tiny_tokenizer
from support.serving.server import serving

ROWS = [
    {"goal": f"Der {animal} geht", "sol1": f"über das {animal}haus, 山 hinauf.", "sol2": "it sleeps", "label": 0}
    for animal in ("Bär", "dog", "ñandú")
]
PIQA = replace(TASKS["piqa"], rows=lambda reader: ROWS, items=len(ROWS))


def test_it_ranks_as_its_weights_do(tmp_path):
    folder, reader = save_tiny_model(tmp_path / "model"), Reader(tmp_path)
    with serving(folder, TorchEngine(folder)) as address:
        scores = evaluate_tasks(EndpointRespondent(Endpoint(f"{address}/v1")), [PIQA], reader)
    weights = WeightsRespondent(hf.load(folder), tiny_tokenizer(), dtype=torch.float32, beginning="bos")
    expected = {a.id: a for a in weights.answers(PIQA, prompts_of(PIQA, reader, chosen_rows(PIQA, reader, None)))}
    assert len(scores.outcomes) == len(expected) == len(ROWS)
    for outcome in scores.outcomes:
        assert outcome.log_likelihoods == pytest.approx(expected[outcome.id].log_likelihoods, abs=1e-3)
        assert outcome.tokens == expected[outcome.id].tokens
