"""Standard sets put to a server, by its address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ayllu.evals.endpoint.client import Endpoint
from ayllu.evals.endpoint.respondent import EndpointRespondent
from ayllu.evals.measure import Manner, is_standard, measure_standard
from ayllu.evals.score import Scores
from ayllu.evals.standard.table import find_tasks
from ayllu.lab.error import UserError


def measure_server(
    address: str,
    suite: str | None,
    manner: Manner,
    *,
    about: Mapping[str, Any] | None = None,
    served_model: str | None = None,
    api_key: str | None = None,
) -> Scores:
    """The scores of a served model. UserError for what a server cannot be asked, before it is."""
    if suite is None or not is_standard(suite):
        raise UserError(
            f"a server is asked standard sets, not {suite}: say --suite standard, or names such as piqa,gsm8k"
        )
    if manner.dtype != "float32" or manner.first_token is not None:
        raise UserError("a server computes in its own type and puts its own first token: leave both out")
    find_tasks(suite)
    endpoint = Endpoint(address, model=served_model, api_key=api_key)
    return measure_standard(
        EndpointRespondent(endpoint, chat_template=manner.chat_template), suite, manner, about=about
    )
