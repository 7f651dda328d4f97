"""Harms that only executing again finds: a small release, really trained and measured, harmed and all signed anew.

The publisher harms what a release is made of and builds it again with the right key: nothing in its files contradicts
anything else. What is harmed on the way, after the signing, is found by the digests of the proof.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.data.document import Document
from ayllu.evals.item import Item
from ayllu.evals.suite import Suite
from ayllu.release import sign
from ayllu.release.build import build_release
from ayllu.release.digest import inspect_weights
from ayllu.release.mutations.small import NAME, SOURCES, TEXTS, VERSION, write_model
from ayllu.release.policy import OPEN
from ayllu.release.proof.answers import GENERATIONS, LIKELIHOODS, Respondent, read_lines, write_answers, write_lines
from ayllu.release.proof.execute import re_execute
from ayllu.release.proof.folder import PROOF, seal_proof
from ayllu.release.proof.make import ANSWERS, PIPELINE
from ayllu.release.proof.pipeline import FILE, pipeline_rows
from ayllu.release.proof.training import Training, write_training
from ayllu.release.verify import verify_release

TRAINING = "small"
PLACE = f"training/{TRAINING}"
STEPS, BATCH, LENGTH = 6, 4, 32


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a release is built of, in one folder, and the key of its publisher."""

    place: Path
    key: Path

    @property
    def weights(self) -> Path:
        return self.place / "weights"

    @property
    def scores(self) -> Path:
        return self.place / "scores"

    @property
    def proof(self) -> Path:
        return self.place / "proof"

    @property
    def release(self) -> Path:
        return self.place / "release"

    def build(self) -> None:
        """Seal the proof and build the release, as its publisher does."""
        facts = json.loads((self.proof / PROOF).read_text(encoding="utf-8"))
        facts = {name: value for name, value in facts.items() if name not in ("files", "format")}
        facts["release"]["model_digest"] = inspect_weights(self.weights).digest
        said = {"sha256": seal_proof(self.proof, facts), "parts": sorted(facts["parts"]), "lacking": facts["lacking"]}
        build_release(
            self.release,
            weights=self.weights,
            scores=self.scores,
            sources=SOURCES,
            records={},
            name=NAME,
            version=VERSION,
            policy=OPEN,
            key=self.key,
            proof=said,
        )


def make(place: Path) -> Made:
    """Train, measure and prove a model of random text in the new folder `place`; the release is built."""
    place.mkdir(parents=True)
    made = Made(place=place, key=place / "publisher.pem")
    made.key.touch(mode=0o600)
    made.key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    told = _train(made)
    _measure(made)
    facts: dict[str, Any] = {"release": {"name": NAME, "version": VERSION}, "lacking": {}, "parts": told}
    (made.proof / PROOF).write_text(json.dumps(facts), encoding="utf-8")
    made.build()
    return made


def _train(made: Made) -> dict[str, Any]:
    """Train the weights, keep the last steps, and write that part of the proof and the data pipeline's."""
    from ayllu.data.cleaning.judge import Judge
    from ayllu.data.cleaning.options import read_rules
    from ayllu.data.tokens.loader import Loader
    from ayllu.data.tokens.pack import TokenizedDocument, Tokens, write_tokens
    from ayllu.model.files import hf
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.loop import TrainConfig, train
    from ayllu.train.machine import arithmetic
    from ayllu.train.stretch import FOLDER

    write_model(made.weights, seed=0)
    model, tokenizer = hf.load(made.weights), Tokenizer.load(made.weights)
    texts = [tokenizer.encode(text) for text in TEXTS]
    rows = [TokenizedDocument(ids=[tokenizer.bos, *ids, tokenizer.eos]) for ids in texts * 20]
    (made.place / "tokens").mkdir()
    ids: dict[str, Any] = {"vocabulary": tokenizer.size, "bos": tokenizer.bos, "pad": tokenizer.eos}
    write_tokens(made.place / "tokens", {"letters": rows}, length=LENGTH, **ids)
    result = train(
        model,
        Loader(Tokens(made.place / "tokens"), seed=0),
        TrainConfig(steps=STEPS, batch=BATCH, warmup=1, precision="float32"),
        scratch=made.place / "scratch",
        title=TRAINING,
        stretch=made.weights / FOLDER,
    )
    hf.save(made.weights, result.model, bos=tokenizer.bos, stops=sorted(tokenizer.stops))
    rules = read_rules(("en",), ("words_min=off",))
    documents = [Document(text=text, source="letters", id=str(i)) for i, text in enumerate([*TEXTS, "1 2 3"])]
    made.proof.mkdir()
    write_lines(made.proof / FILE, pipeline_rows(Judge(rules), tokenizer, documents))
    how = {"objective": "next_token", "machine": arithmetic()}
    training = Training(name=TRAINING, weights=made.weights, told=how, ends={"kept": 1.0})
    (made.place / "rules.json").write_text(json.dumps(_plain(rules)), encoding="utf-8")
    return {
        f"training {TRAINING}": write_training(made.proof, training),
        PIPELINE: {"rules": _plain(rules)},
        **{name: {"machine": arithmetic(), "dtype": "float32"} for name in ANSWERS},
    }


def _plain(rules: Any) -> Any:
    from dataclasses import asdict

    return asdict(rules)


def _measure(made: Made) -> None:
    """Ask the trained model questions for its scores, and some of them again for its proof."""
    import torch

    from ayllu.evals.likelihood.heldout import document_bits
    from ayllu.evals.likelihood.multiple_choice import evaluate_suite
    from ayllu.model.files import hf
    from ayllu.text.tokenizer import Tokenizer

    model, tokenizer = hf.load(made.weights).eval(), Tokenizer.load(made.weights)
    items = [_item(number) for number in range(16)]
    documents = [("letters", f"{text} It is number {number}.") for number, text in enumerate(TEXTS * 3)]
    scores = evaluate_suite(model, tokenizer, Suite(name="small", items=tuple(items)))
    scores.with_documents(document_bits(model, tokenizer, documents)).save(made.scores)
    asked = Respondent(model=model, tokenizer=tokenizer, dtype=torch.float32)
    write_answers(made.proof, asked, items, documents, seed="")


def _item(number: int) -> Item:
    words = ("llama", "shepherd", "river", "mountain", "song", "wool", "morning", "community")
    choices = tuple(
        f"the {words[(number + step) % 8]} in the {words[(number + 3 * step + 1) % 8]}" for step in range(4)
    )
    context = f"Number {number}: the {words[number % 8]} walks along"
    return Item(id=f"hellaswag/{number}", set="hellaswag", context=context, choices=choices, gold=number % 4, plain="")


Harm = Callable[[Made], None]


@dataclass(frozen=True, kw_only=True)
class Lie:
    """One way of harming what a release is made of, or its proof."""

    name: str
    harm: Harm
    found: str
    """What one of the problems must begin with."""
    signed: bool = True
    """Whether the publisher builds and signs everything anew afterwards."""


def _other_weights(made: Made) -> None:
    other = write_model(made.place / "other", seed=5)
    shutil.copyfile(other / "model.safetensors", made.weights / "model.safetensors")


def _better_samples(made: Made) -> None:
    """Every right answer becomes likelier, and the scores are computed again from that."""
    from ayllu.evals.recompute import recompute

    scores = recompute(made.scores)
    better = []
    for outcome in scores.outcomes:
        likelihoods = list(outcome.log_likelihoods)
        likelihoods[outcome.gold] = max(likelihoods) + 2.0
        better.append(replace(outcome, log_likelihoods=tuple(likelihoods)))
    replace(scores, outcomes=tuple(better)).save(made.scores)


def _better_documents(made: Made) -> None:
    from ayllu.evals.recompute import recompute

    scores = recompute(made.scores)
    documents = tuple(replace(document, bits=0.5 * document.bits) for document in scores.documents)
    replace(scores, documents=documents).save(made.scores)


def _loss(made: Made) -> None:
    path = made.proof / PLACE / "stretch.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    facts["losses"][1] *= 0.9
    path.write_text(json.dumps(facts), encoding="utf-8")


def _tensor(file: str, name: str, change: Callable[[Any], Any]) -> Harm:
    def harm(made: Made) -> None:
        from safetensors.torch import load_file, save_file

        path = made.proof / PLACE / file
        tensors = load_file(path)
        tensors[name] = change(tensors[name])
        save_file(tensors, path)

    return harm


def _line(file: str, field: str, change: Callable[[Any], Any]) -> Harm:
    """Change a field in the first line that has it."""

    def harm(made: Made) -> None:
        rows = read_lines(made.proof / file)
        row = next(row for row in rows if row.get(field))
        row[field] = change(row[field])
        write_lines(made.proof / file, rows)

    return harm


def _bit(file: str) -> Harm:
    def harm(made: Made) -> None:
        content = bytearray((made.proof / file).read_bytes())
        content[-1] ^= 1
        (made.proof / file).write_bytes(content)

    return harm


def _of_another(made: Made) -> None:
    """The proof of a release of other weights by the same publisher."""
    other = Made(place=made.place / "another", key=made.key)
    other.place.mkdir()
    for name in ("weights", "scores", "proof"):
        shutil.copytree(made.place / name, other.place / name)
    _other_weights(other)
    other.build()
    shutil.rmtree(made.proof)
    shutil.copytree(other.proof, made.proof)


def _remove(made: Made) -> None:
    (made.proof / PLACE / "batch-000000005.safetensors").unlink()


def _add(made: Made) -> None:
    (made.proof / "run.py").write_text("print()", encoding="utf-8")


def _longer(told: list[Any]) -> list[Any]:
    return [told[0] - 0.5, *told[1:]]


CHANGED = "was changed after the release was signed"
BATCH_5 = "batch-000000005.safetensors"
LIES = (
    Lie(name="weights swapped, scores unchanged, all signed anew", harm=_other_weights, found="items.jsonl says"),
    Lie(name="samples and scores edited to match, all signed anew", harm=_better_samples, found="items.jsonl says"),
    Lie(name="held-out bits edited to match, all signed anew", harm=_better_documents, found="documents.jsonl says"),
    Lie(name="loss of the proof edited, all signed anew", harm=_loss, found=f"proof/{PLACE}/stretch.json says a loss"),
    Lie(name="checkpoint of the proof edited, all signed anew", found=f"proof/{PLACE}/stretch.json says a loss",
        harm=_tensor("checkpoint.safetensors", "model.norm.weight", lambda value: 1.5 * value)),
    Lie(name="state of the optimizer edited, all signed anew", found=f"proof/{PLACE}/stretch.json says a loss",
        harm=_tensor("checkpoint.safetensors", "optimizer.norm.weight.exp_avg", lambda value: value + 1.0)),
    Lie(name="batch of the proof edited, all signed anew", found=f"proof/{PLACE}/stretch.json says a loss",
        harm=_tensor(BATCH_5, "batch.ids_BT", lambda value: value.flip(1))),
    Lie(name="generation of the proof edited, all signed anew", found=f"proof/{GENERATIONS} says other tokens",
        harm=_line(GENERATIONS, "ids", lambda ids: [(ids[0] + 1) % 256, *ids[1:]])),
    Lie(name="log-likelihood of the proof edited, all signed anew", harm=_line(LIKELIHOODS, "values", _longer),
        found=f"proof/{LIKELIHOODS} says"),
    Lie(name="question of the proof edited, all signed anew", found="proof/items.jsonl holds another",
        harm=lambda made: write_lines(made.proof / "items.jsonl", [
            row | {"context": row["context"] + " and"} for row in read_lines(made.proof / "items.jsonl")])),
    Lie(name="clean text of the proof edited, all signed anew", harm=_line(FILE, "clean", lambda told: told[::-1]),
        found=f"proof/{FILE} says another clean text"),
    Lie(name="tokens of the proof edited, all signed anew", harm=_line(FILE, "tokens", lambda told: told[::-1]),
        found=f"proof/{FILE} says another tokens"),
    Lie(name="rule of the cleaning edited, all signed anew", harm=_line(FILE, "broken", lambda told: "too many words"),
        found=f"proof/{FILE} says another rule"),
    Lie(name="flipped byte in the checkpoint", harm=_bit(f"{PLACE}/checkpoint.safetensors"), signed=False,
        found=f"proof/{PLACE}/checkpoint.safetensors {CHANGED}"),
    Lie(name="edited loss of the proof", harm=_loss, signed=False, found=f"proof/{PLACE}/stretch.json {CHANGED}"),
    Lie(name="edited proof.json", harm=_bit(PROOF), signed=False, found=f"proof/{PROOF} {CHANGED}"),
    Lie(name="proof of another release", harm=_of_another, signed=False,
        found=f"proof/{PROOF} is the proof of another release"),
    Lie(name="removed batch of the proof", harm=_remove, signed=False, found=f"proof/{PLACE}/{BATCH_5} is missing"),
    Lie(name="added code in the proof", harm=_add, signed=False, found="proof/run.py was added"),
)  # fmt: skip


def tried(place: Path, sound: Made, lie: Lie) -> list[str]:
    """The problems that executing again finds after `lie`; what only the files say comes first, and hides it."""
    made = Made(place=place, key=sound.key)
    shutil.copytree(sound.place, place)
    lie.harm(made)
    if lie.signed:
        shutil.rmtree(made.release)
        made.build()
    public = place / "publisher.pub"
    public.write_bytes(sign.public_pem(sign.private_key(made.key).public_key()))
    found = verify_release(made.release, public)
    if found.problems:
        return [f"the files say it: {found.problems[0]}"]
    return [str(problem) for problem in re_execute(found, made.proof, seed=0).problems]


def rows(place: Path) -> Iterator[Callable[[], tuple[str, str, list[str]]]]:
    """For each lie a step that gives its name, what it must be found by, and what was found."""
    sound = make(place / "sound")
    for number, lie in enumerate(LIES):

        def step(number: int = number, lie: Lie = lie) -> tuple[str, str, list[str]]:
            try:
                return lie.name, lie.found, tried(place / str(number), sound, lie)
            finally:
                shutil.rmtree(place / str(number), ignore_errors=True)

        yield step
