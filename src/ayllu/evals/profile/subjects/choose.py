"""Who is meant: a simple program, a server, or weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ayllu.evals.dtype import Dtype, torch_dtype
from ayllu.evals.profile.subjects.subject import Subject
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer


def program_or_server(name: str, *, served_model: str | None = None, api_key: str | None = None) -> Subject | None:
    """The simple program or server that is called so; None where it is neither. UserError where it cannot be had."""
    from ayllu.evals.endpoint.client import is_address
    from ayllu.evals.profile.subjects.programs import PREFIX, find_program

    if name.startswith(PREFIX):
        return find_program(name)
    if is_address(name):
        from ayllu.evals.profile.subjects.server import ServerSubject

        return ServerSubject(name, model=served_model, api_key=api_key)
    return None


def weights_subject(
    name: str,
    model: Transformer,
    tokenizer: Tokenizer,
    *,
    dtype: Dtype,
    chat_template: Literal["auto", "on", "off"],
    folder: Path | None = None,
) -> Subject:
    """Weights on this machine, with the eyes that may lie in their `folder`; `auto` writes in the model's chat format
    where it has one."""
    from ayllu.evals.profile.subjects.weights import WeightsSubject
    from ayllu.model.sight.files import sees

    computed_in = torch_dtype(dtype)
    if chat_template not in ("auto", "on", "off"):
        raise UserError(f"the chat template is {chat_template!r}; choose auto, on or off")
    talks = tokenizer.chat_template != ""
    if chat_template == "on" and not talks:
        raise UserError(f"{name} has no chat template: leave it off")
    chat = talks if chat_template == "auto" else chat_template == "on"
    if folder is not None and sees(folder):
        from ayllu.evals.profile.subjects.seeing import SeeingSubject
        from ayllu.evals.sight.seer import Seer

        seer = Seer.load(folder, model, tokenizer)
        return SeeingSubject(name, seer, folder, dtype=computed_in, chat=chat)
    return WeightsSubject(name, model, tokenizer, dtype=computed_in, chat=chat)
