"""`POST /v1/moderations`: texts sorted by hazard, in the categories of OpenAI's API as far as the judge knows them."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, StrictStr, ValidationError, field_validator

from ayllu.safety.hazards import HAZARDS
from ayllu.serve.completions.fields import Also
from ayllu.serve.errors import ApiError
from ayllu.serve.routing.app import App

if TYPE_CHECKING:
    from ayllu.safety.judge.judge import Judge

MODEL = "ayllu-judge"
MOST_INPUTS = 2048
CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "harassment": (),
    "harassment/threatening": (),
    "sexual": ("S12",),
    "sexual/minors": ("S4",),
    "hate": ("S10",),
    "hate/threatening": (),
    "illicit": ("S2", "S9"),
    "illicit/violent": ("S9",),
    "self-harm": ("S11",),
    "self-harm/intent": (),
    "self-harm/instructions": ("S11",),
    "violence": ("S1",),
    "violence/graphic": (),
}
"""OpenAI's categories, and the hazards that they take in. Those with none are told by no head of the judge: their score
is always 0."""


class ModerationBody(BaseModel):
    """`POST /v1/moderations`."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    model: str | None = None
    """None takes the one there is."""
    input: Annotated[
        list[StrictStr],
        Also(({"type": "string"}, {"type": "array", "items": {"type": "object"}})),
    ]
    """Texts; a single one may stand without the list around it, or each as a part of the type text."""

    @field_validator("input", mode="wrap")
    @classmethod
    def _texts(cls, value: Any, check: Callable[[Any], Any]) -> Any:
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list) or not 1 <= len(given) <= MOST_INPUTS:
            raise ValueError(f"give a text or a list of 1 to {MOST_INPUTS}")
        try:
            return check([_text(one) for one in given])
        except ValidationError:
            raise ValueError("give a text, a list of texts, or a list of parts of the type text") from None


class Moderations:
    """The route."""

    def add_to(self, app: App) -> None:
        """Give `app` the route."""
        app.add_endpoint("/v1/moderations", self.moderations, methods=["POST"])

    async def moderations(self, body: ModerationBody) -> dict[str, Any]:
        """What the judge says of texts, whether people wrote them or a model."""
        if body.model not in (None, MODEL):
            raise ApiError(
                404,
                f"the model {str(body.model)[:100]!r} moderates nothing here; this server has {MODEL!r}",
                param="model",
                code="model_not_found",
            )
        results = await asyncio.to_thread(_results, body.input)
        return {"id": f"modr-{uuid.uuid4().hex}", "model": MODEL, "results": results}


def _results(texts: list[str]) -> list[dict[str, Any]]:
    from ayllu.safety.judge.judge import load_judge  # which reads with numpy

    judge = load_judge()
    return [result(judge, text) for text in texts]


def result(judge: Judge, text: str) -> dict[str, Any]:
    """One text: by its category, and as `hazards` by the judge's own codes.

    `flagged` is where the judge would call it a request for harm or a harmful answer, at the settings that its weights
    carry. The score of a hazard is the chance of the likelier of the two, shared out among the hazards by their heads.
    """
    settings = judge.about["settings"]
    asks, harm = judge.request(text), judge.harm(text)
    flagged = asks >= settings["request"] or harm >= settings["harm"]
    hazards = {code: max(asks, harm) * share for code, share in judge.hazard_shares(text).items()}
    likeliest = max(hazards, key=lambda code: hazards[code])
    scores = {name: math.fsum(hazards.get(code, 0.0) for code in of) for name, of in CATEGORIES.items()}
    return {
        "flagged": flagged,
        "categories": {name: flagged and likeliest in of for name, of in CATEGORIES.items()},
        "category_scores": {name: round(score, 6) for name, score in scores.items()},
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
        "hazards": {
            code: {"name": HAZARDS[code], "flagged": flagged and code == likeliest, "score": round(score, 6)}
            for code, score in hazards.items()
        },
    }


def _text(one: Any) -> Any:
    if not isinstance(one, dict):
        return one
    if one.get("type") != "text":
        raise ValueError(f"the judge reads text only; leave out the part of type {str(one.get('type'))[:40]!r}")
    if more := sorted(one.keys() - {"type", "text"}):
        raise ValueError(f"a part of the type text has no field {more[0]}")
    return one.get("text")
