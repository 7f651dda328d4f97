"""A model in a folder: loaded by name, adopted, asked, and written as the files of other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ayllu.api.home import find_home
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.evals.dtype import Dtype
    from ayllu.model.files.quantize.types import Type
    from ayllu.model.sampling import Sampling
    from ayllu.model.transformer import Transformer
    from ayllu.release.exports.export import Exported, Format
    from ayllu.serve.about import About
    from ayllu.serve.conversation import Conversation
    from ayllu.serve.engines.engine import Engine
    from ayllu.text.chat import Message
    from ayllu.text.tokenizer import Tokenizer


class Model:
    """A model in a folder: a release, an adopted one, or weights with their tokenizer. It is read when it is needed."""

    def __init__(self, folder: Path, *, name: str | None = None, engine: str = "auto") -> None:
        self.folder = folder
        self.name = name or folder.name
        """What other functions and commands find it by."""
        self._engine_name = engine

    @cached_property
    def engine(self) -> Engine:
        """What computes its answers, loaded: llama.cpp if installed and the folder has a GGUF file, or torch."""
        from ayllu.serve.engines.choose import open_engine

        return open_engine(self.folder, self._engine_name)

    @cached_property
    def about(self) -> About:
        """What the folder says of the model: title, licence, size, context, recommended sampling."""
        from ayllu.model.files.hf_config import load_config
        from ayllu.serve.about import describe
        from ayllu.serve.engines.engine import LONGEST_CONTEXT

        try:
            config = load_config(self.folder)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.folder} cannot be served: {error}") from error
        return describe(self.folder, context=min(config.context, LONGEST_CONTEXT), parameters=config.parameters)

    def sampling(
        self, *, temperature: float | None = None, top_p: float | None = None, seed: int | None = None
    ) -> Sampling:
        """How the next token is drawn: as the model recommends, but for what is given. UserError for what cannot be."""
        from ayllu.serve.conversation import given_sampling

        return replace(self.about.sampling, **given_sampling(temperature=temperature, top_p=top_p, seed=seed))

    def conversation(
        self,
        *,
        system: str | None = None,
        messages: Sequence[Message] = (),
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
    ) -> Conversation:
        """A conversation, which `ask` continues: it remembers what was said, `messages` first."""
        from ayllu.serve.conversation import Conversation

        sampling = sampling or self.about.sampling
        return Conversation(self.engine, system=system, messages=messages, sampling=sampling, max_tokens=max_tokens)

    def chat(
        self,
        message: str | Sequence[Mapping[str, str]],
        *,
        system: str | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        max_tokens: int | None = None,
    ) -> str:
        """The answer to a message, or to the last of several: `{"role": "user", "content": "…"}` and so on.

        Without `temperature` and `top_p` the model's own are taken; with the same `seed` the answer is the same. It has
        at most `max_tokens` tokens, or as many as fit. Raises UserError when the messages do not fit into the model's
        context, or its chat template refuses them.
        """
        from ayllu.text.chat import Message

        said = [{"role": "user", "content": message}] if isinstance(message, str) else message
        try:
            turns = [Message(**turn) for turn in said]  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise UserError(f"a message cannot be read ({error}); give each a role and a content") from error
        if turns and turns[0].role == "system" and system is None:
            system, turns = turns[0].content, turns[1:]
        if not turns or turns[-1].role != "user":
            raise UserError("there is nothing to answer: the last message must be the user's")
        sampling = self.sampling(temperature=temperature, top_p=top_p, seed=seed)
        talk = self.conversation(system=system, messages=turns[:-1], sampling=sampling, max_tokens=max_tokens)
        try:
            return "".join(talk.ask(turns[-1].content))
        except ValueError as error:
            raise UserError(str(error)) from error

    def complete(
        self,
        text: str,
        *,
        max_tokens: int = 128,
        stop: Sequence[str] = (),
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> str:
        """What the model continues `text` with, up to the first of the strings `stop`. Errors are those of `chat`."""
        import threading

        from ayllu.serve.engines.engine import GenerationRequest

        tokenizer = self.engine.tokenizer
        sampling = self.sampling(temperature=temperature, top_p=top_p, seed=seed)
        prompt = [tokenizer.bos, *tokenizer.encode(text)]
        try:
            request = GenerationRequest(prompt=prompt, max_tokens=max_tokens, sampling=sampling, stop=tuple(stop))
            return "".join(chunk.text for chunk in self.engine.generate(request, threading.Event()))
        except ValueError as error:
            raise UserError(str(error)) from error

    def export(
        self, to: Format, out: Path | str, *, dtype: Type | None = None, context: int | None = None
    ) -> list[str]:
        """Write it into the new folder `out` as another program's files, such as `hf` or `gguf`; gives their names.

        `context` is the tokens that a file of `executorch` has room for.
        """
        from ayllu.release.exports.export import export_model

        return export_model(self.folder, to, Path(out).expanduser().absolute(), dtype=dtype, context=context)

    def export_measured(
        self,
        to: Format,
        out: Path | str,
        *,
        dtype: Type | None = None,
        context: int | None = None,
        most_lost: float | None = None,
        text: Path | None = None,
        importance: Path | Literal["none"] | None = None,
    ) -> Exported:
        """`export`, and what it loses in bits per byte of held-out text (`text`, or ours) against float32.

        UserError where that is more than `most_lost` (0.1). Types of few bits lean on what matters on the text of
        `importance`: everyday English when not given.
        """
        from ayllu.release.exports.export import export_measured
        from ayllu.release.exports.loss import Limit

        limit = Limit(most_lost=most_lost, text=text)
        place = Path(out).expanduser().absolute()
        return export_measured(self.folder, to, place, dtype=dtype, context=context, limit=limit, importance=importance)

    def weights(self, *, dtype: Dtype = "float32") -> tuple[Transformer, Tokenizer]:
        """The transformer, its matrices in `dtype`, and its tokenizer. UserError when the folder holds none."""
        from ayllu.evals.dtype import torch_dtype
        from ayllu.model.files import hf
        from ayllu.text.tokenizer import Tokenizer

        try:
            tokenizer = Tokenizer.load(self.folder)
            return hf.load(self.folder, matrices=torch_dtype(dtype)), tokenizer
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.folder} holds no model that can be read ({error}): give a Hugging Face folder of a Llama model"
            ) from error

    def facts(self) -> dict[str, Any]:
        """Title, licence, parameters, context and more, as JSON values; where it comes from, if it was adopted."""
        from ayllu.lab.store import MANIFEST
        from ayllu.recipes.adopt import Adopted

        if (self.folder / "origin.json").is_file() and (self.folder / MANIFEST).is_file():
            return Adopted(name=self.name, folder=self.folder).facts()
        about = asdict(self.about)
        return {"title": about.pop("name"), **{name: value for name, value in about.items() if name != "card"}}

    def __repr__(self) -> str:
        return f"<ayllu.Model {self.name} in {self.folder}>"


def load(name: str | Path, /, *, home: Path | str | None = None, engine: str = "auto") -> Model:
    """The model that `run` or `adopt` named so, or that lies in a folder; UserError when there is none."""
    from ayllu.lab.channel import find_model
    from ayllu.release.trust.revoked import refuse_revoked

    folder = find_model(str(name), find_home(home))
    refuse_revoked(folder)
    return Model(folder, name=Path(name).name, engine=engine)


def adopt(
    source: str, /, *, name: str | None = None, licence: str | None = None, home: Path | str | None = None
) -> Model:
    """Make an open model of the Llama architecture yours, unless it was before, and name it.

    `source` is smollm2, a GGUF file, a folder of Hugging Face's or Meta's kind, or OWNER/NAME[@REVISION] on the hub;
    `licence` (an SPDX identifier) is needed where the source states none. Raises UserError, and leaves nothing
    half-written, when the source cannot be had or used.
    """
    from ayllu.recipes.adopt import adopt

    found = adopt(source, name=name, licence=licence, home=find_home(home))
    return Model(found.folder, name=found.name)
