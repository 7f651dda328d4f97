"""Make a release: a folder that stands alone, with everything that somebody needs to use, check and copy the model."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import ayllu
from ayllu.lab.error import UserError
from ayllu.release import card, gates, sign
from ayllu.release.digest import Weights, file_digests, folder_files, weights_of
from ayllu.release.gates import GATES, RECORDS, SCORES, SOURCES
from ayllu.release.licences import licence_text
from ayllu.release.policy import Policy

MANIFEST, PUBLIC_KEY = "manifest.json", "release-key.pub"
UNFINISHED = ".unfinished"
"""Lies in a folder whose build was broken off; the next build clears it."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
SCORE_FILES = (SCORES, "items.jsonl", "documents.jsonl")
TINY = 20_000_000
"""Parameters up to which the GGUF file keeps float32: the file is small then, and every bit is the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseSummary:
    """What was built."""

    folder: Path
    name: str
    version: str
    files: int
    bytes: int
    parameters: int
    model_digest: str
    gguf: str
    """Name of the GGUF file."""
    gates: tuple[str, ...]
    """The gates that it passed."""
    fingerprint: str
    """Of the key that signed."""
    seconds: float


def build_release(
    folder: Path,
    *,
    weights: Path,
    scores: Path,
    sources: Sequence[Mapping[str, Any]],
    dialogues: Sequence[Mapping[str, Any]] = (),
    records: Mapping[str, Any],
    name: str,
    version: str,
    policy: Policy,
    key: Path | None = None,
    figures: Sequence[Path] = (),
) -> ReleaseSummary:
    """Write a release of the model in the Hugging Face folder `weights` into `folder`, and sign it.

    `scores` is the folder that `ayllu.evals.score.Scores.save` wrote. `sources` and `dialogues` are what the model
    learnt from, each with `name` and `licence`, and as far as known `title`, `description`, `archives`, `documents`,
    `bytes`.
    `records` are the facts of the training, any JSON object; where it has `predicted` and `measured`, the card shows
    them side by side, and `description` opens the card. `key` is a private key in PEM form, the user's own by default.

    Raises UserError when an input is missing, when `folder` holds something else, and when a gate of `policy` fails.
    """
    start = time.monotonic()
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise UserError(f"the release's name is {name!r}: use letters, digits, dots, dashes and underscores")
    signing = sign.private_key(key)
    origins = {"corpus": [dict(source) for source in sources], "dialogues": [dict(source) for source in dialogues]}
    for file, reason in gates.licence_problems(origins, policy):
        raise _stopped(gates.Problem(file=file, reason=reason, gate="licences"))
    try:
        with _clean(folder):
            stored = _copy_weights(weights, folder)
            _copy(SCORE_FILES, scores, folder)
            (folder / "LICENSE").write_text(licence_text(policy.weights_licence), encoding="utf-8")
            facts = _facts(folder, stored, name, version, policy, records)
            for file, value in ((RECORDS, facts), (SOURCES, origins)):
                _write_json(folder / file, value)
            gguf = _write_gguf(folder, stored, name, policy)
            pictures = _copy_figures(figures, folder)
            said = {
                file: json.loads((folder / file).read_text(encoding="utf-8")) for file in (RECORDS, SCORES, SOURCES)
            }
            page = card.model_card(said, policy, gguf=gguf, figures=pictures)
            (folder / "README.md").write_text(page, encoding="utf-8")
            (folder / "LICENSES.md").write_text(card.licences_page(said, policy), encoding="utf-8")
            for problem in gates.problems(folder, policy):
                raise _stopped(problem)
            (folder / PUBLIC_KEY).write_bytes(sign.public_pem(signing.public_key()))
            _seal(folder, stored, said, policy)
            digests = file_digests(folder, [path for path in folder_files(folder) if path != UNFINISHED])
            (folder / sign.SIGNATURE).write_text(sign.sign(name, digests, signing), encoding="utf-8")
    except OSError as error:
        where = error.filename or folder
        raise UserError(f"the release cannot be written ({error.strerror or error}: {where}): free the disk") from error
    paths = folder_files(folder)
    return ReleaseSummary(
        folder=folder,
        name=name,
        version=version,
        files=len(paths),
        bytes=sum((folder / path).stat().st_size for path in paths),
        parameters=stored.parameters,
        model_digest=stored.digest,
        gguf=gguf,
        gates=GATES,
        fingerprint=sign.fingerprint(signing.public_key()),
        seconds=time.monotonic() - start,
    )


def _stopped(problem: gates.Problem) -> UserError:
    return UserError(f"the release is stopped by the gate “{problem.gate}”: {problem}")


@contextmanager
def _clean(folder: Path) -> Iterator[None]:
    """An empty folder to build in, empty again when the build fails.

    What a killed build left is cleared; anything else is somebody's, and stays.
    """
    mark = folder / UNFINISHED
    if folder.exists() and any(folder.iterdir()):
        if not mark.exists():
            raise UserError(f"{folder} is not empty: choose a new folder for the release")
        _clear(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        yield
        mark.unlink()
    except BaseException:
        _clear(folder)
        mark.unlink(missing_ok=True)
        raise


def _clear(folder: Path) -> None:
    """Empty the folder; the mark goes last, so that a killed clearing is taken up again."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != UNFINISHED:
            path.unlink()


def _copy(names: Sequence[str], source: Path, folder: Path) -> None:
    for name in names:
        if not (source / name).is_file():
            raise UserError(f"{source} lacks {name}: give the folder that the stage before wrote")
        shutil.copyfile(source / name, folder / name)


def _copy_weights(weights: Path, folder: Path) -> Weights:
    """Copy the safetensors files byte for byte and the tokenizer; write the configuration with both stops."""
    from ayllu.model.files import hf
    from ayllu.text.tokenizer import Tokenizer

    files = sorted(path.name for path in weights.glob("*.safetensors"))
    if not files:
        raise UserError(f"{weights} holds no safetensors file: give a folder of weights")
    index = [hf.INDEX] if (weights / hf.INDEX).is_file() else []
    _copy([*files, *index, *TOKENIZER_FILES], weights, folder)
    try:
        tokenizer = Tokenizer.load(folder)
        config, stored = hf.load_config(weights), weights_of(folder)
        hf.save_config(
            folder, config, dtype=_torch_type(stored.dtype), bos=tokenizer.bos_token_id, stops=sorted(tokenizer.stops)
        )
    except ValueError as error:
        raise UserError(f"the weights cannot be released: {error}") from None
    return stored


def _torch_type(dtype: str) -> Any:
    import torch

    types = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    if dtype not in types:
        raise ValueError(f"weights of the type {dtype} are not known; convert them to F32, F16 or BF16")
    return types[dtype]


def _write_gguf(folder: Path, stored: Weights, name: str, policy: Policy) -> str:
    """Write NAME.gguf and read it back: it must hold the weights, rounded to its type, and the tokenizer."""
    import torch

    from ayllu.model.files import gguf, hf
    from ayllu.model.files.vocabulary import read_vocabulary

    file = f"{name}.gguf"
    dtype: Literal["F32", "F16"] = "F32" if stored.parameters <= TINY else "F16"
    try:
        model = hf.load(folder, dtype=_torch_type(stored.dtype))
        licence = policy.weights_licence.lower()
        gguf.write(folder / file, model, folder, dtype=dtype, name=name, licence=licence)
        back = gguf.read(folder / file)
        vocabulary = read_vocabulary(folder, model.config.vocabulary)
    except ValueError as error:
        raise UserError(f"the release is stopped by the gate “weights”: no GGUF file can be made: {error}") from None
    values = back.model.state_dict()
    for tensor, original in model.state_dict().items():
        wanted = original.to(torch.float16) if dtype == "F16" and original.dim() > 1 else original
        if not torch.equal(values[tensor], wanted.to(torch.float32)):
            raise UserError(f"the release is stopped by the gate “weights”: {file} holds another {tensor}")
    if back.vocabulary != vocabulary or back.model.config != model.config:
        raise UserError(f"the release is stopped by the gate “weights”: {file} holds another tokenizer or shape")
    return file


def _facts(
    folder: Path, stored: Weights, name: str, version: str, policy: Policy, records: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of records.json."""
    from ayllu.model.files import hf

    return {
        "release": {"name": name, "version": version, "licence": policy.weights_licence},
        "model": {**asdict(hf.load_config(folder)), **asdict(stored)},
        "training": dict(records),
    }


def _copy_figures(figures: Sequence[Path], folder: Path) -> list[str]:
    copied = []
    for figure in figures:
        if not figure.is_file():
            raise UserError(f"the figure {figure} does not exist: leave it out or draw it first")
        (folder / "figures").mkdir(exist_ok=True)
        shutil.copyfile(figure, folder / "figures" / figure.name)
        copied.append(f"figures/{figure.name}")
    return copied


def _seal(folder: Path, stored: Weights, said: Mapping[str, Any], policy: Policy) -> None:
    """Write the manifest: what the release is, and the size and sha256 of every file but the signature and itself."""
    paths = [path for path in folder_files(folder) if path not in (UNFINISHED, MANIFEST)]
    digests = file_digests(folder, paths)
    _write_json(
        folder / MANIFEST,
        {
            **said[RECORDS]["release"],
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "ayllu": ayllu.__version__,
            "model_digest": stored.digest,
            "bits_per_byte": bits_per_byte(said[SCORES]),
            "policy": policy.as_json(),
            "gates": list(GATES),
            "files": {
                path: {"bytes": (folder / path).stat().st_size, "sha256": digest} for path, digest in digests.items()
            },
        },
    )


def bits_per_byte(scores: Mapping[str, Any]) -> float | None:
    """Bits per byte over all held-out text together, or None where none was measured."""
    sources = list((scores.get("bits_per_byte") or {}).values())
    total = sum(source["bytes"] for source in sources)
    return sum(source["value"] * source["bytes"] for source in sources) / total if total else None


def _write_json(path: Path, value: Any) -> None:
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path.name} cannot hold a value of the records ({error}): record JSON values only") from None
    path.write_text(text + "\n", encoding="utf-8")
