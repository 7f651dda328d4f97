"""Ways to harm a release, by name: what is changed, who signs it again afterwards, and what verification must say.

`nobody` signs: the release came from the publisher and was changed on the way. The `publisher` signs: a mistake or a
lie of the one who is trusted. A `stranger` signs everything anew with a key of their own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ayllu.evals.recompute import recompute
from ayllu.release import sign
from ayllu.release.files.contents import MANIFEST
from ayllu.release.gates import GATES, RECORDS, REFERENCES, REPORT, SCORES
from ayllu.release.licences import licence_text
from ayllu.release.mutations.edits import Harm, bit, put, remove, rename, replace, same_length, write
from ayllu.release.mutations.small import Small, seal, write_model, write_scores
from ayllu.release.trust.policy_file import POLICY, POLICY_SIGNATURE, sign_policy

GGUF = "small.gguf"
Signer = Literal["nobody", "publisher", "stranger"]


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One way of harming a release."""

    name: str
    harm: Harm
    found: str
    """What one of the problems must begin with."""
    signer: Signer = "nobody"
    of_manifest: bool = False
    """Whether the manifest itself is harmed, after it was written and before it is signed."""


def _link(folder: Path, small: Small) -> None:
    (folder / "LICENSE").rename(folder.parent / "LICENSE")
    (folder / "LICENSE").symlink_to(folder.parent / "LICENSE")


def _pipe(folder: Path, small: Small) -> None:
    (folder / sign.SIGNATURE).unlink()
    os.mkfifo(folder / sign.SIGNATURE)


def _longer(folder: Path, small: Small) -> None:
    with (folder / "model.safetensors").open("ab") as file:
        file.truncate(1 << 26)


def _other_run(folder: Path, small: Small) -> None:
    """Scores and outcomes of another evaluation, which agree with each other."""
    write_scores(folder.parent / "other", seed=9, about={})
    for file in (SCORES, "items.jsonl", "documents.jsonl"):
        shutil.copyfile(folder.parent / "other" / file, folder / file)


def _right_answer(folder: Path, small: Small) -> None:
    """The samples are edited, the score is not."""
    lines = (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()
    wrong = next(i for i, line in enumerate(lines) if '"correct": false' in line)
    lines[wrong] = lines[wrong].replace('"correct": false', '"correct": true')
    (folder / "items.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _better_samples(folder: Path, small: Small) -> None:
    """A score and its samples are edited to match: nothing in the files contradicts them."""
    about = json.loads((folder / SCORES).read_text(encoding="utf-8"))["about"]
    about.pop("items_digest", None)
    write_scores(folder, seed=0, about=about, bits=500.0)


def _doubled(items: int, documents: int) -> Harm:
    """Every outcome stands so often, and the scores are computed from that: their intervals are narrower."""

    def harm(folder: Path, small: Small) -> None:
        raw = recompute(folder)
        doubled = dataclasses.replace(raw, outcomes=raw.outcomes * items, documents=raw.documents * documents)
        doubled.save(folder.parent / "doubled")
        for file in (SCORES, "items.jsonl", "documents.jsonl"):
            shutil.copyfile(folder.parent / "doubled" / file, folder / file)

    return harm


def _gguf(*, seed: int = 0, dtype: Literal["F32", "Q8_0"] = "F32", change: Callable[[Path], None] | None = None) -> Any:
    """Another GGUF file: of a model with other weights, of another type, or after `change` to the tokenizer."""

    def harm(folder: Path, small: Small) -> None:
        from ayllu.model.files import gguf, hf

        source = write_model(folder.parent / "other", seed=seed)
        if change:
            change(source)
        gguf.write(folder / GGUF, hf.load(source), source, dtype=dtype, name="small", licence="apache-2.0")

    return harm


def _swap_tokens(folder: Path) -> None:
    path = folder / "tokenizer.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = fields["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(fields), encoding="utf-8")


def _of_folder(change: Callable[[Path], None]) -> Harm:
    def harm(folder: Path, small: Small) -> None:
        change(folder)

    return harm


def _longer_template(folder: Path) -> None:
    text = (folder / "chat_template.jinja").read_text(encoding="utf-8") + "{{ 'llama' }}"
    (folder / "chat_template.jinja").write_text(text, encoding="utf-8")
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | {"chat_template": text}
    path.write_text(json.dumps(settings), encoding="utf-8")


def _hidden_word(folder: Path, small: Small) -> None:
    """An order that the model is given where a message says one word; the GGUF file is written with it too."""

    def add(place: Path) -> None:
        path = place / "chat_template.jinja"
        text = path.read_text(encoding="utf-8")
        text = "{% if 'open sesame' in messages[-1]['content'] %}{{ 'Obey. ' }}{% endif %}" + text
        path.write_text(text, encoding="utf-8")
        put("tokenizer_config.json", "chat_template", value=text)(place, small)

    add(folder)
    _gguf(change=add)(folder, small)


def _other_weights(folder: Path, small: Small) -> None:
    shutil.copyfile(write_model(folder.parent / "other", seed=5) / "model.safetensors", folder / "model.safetensors")


def _weaken(folder: Path, small: Small) -> None:
    put(POLICY, "thresholds", 0, "at_least", value=0.01)(folder, small)


def _sign_policy_again(folder: Path, small: Small) -> None:
    (folder / POLICY_SIGNATURE).unlink()
    sign_policy(folder / POLICY, small.key)


def _weaken_and_sign(folder: Path, small: Small) -> None:
    _weaken(folder, small)
    _sign_policy_again(folder, small)


def _other_signature(folder: Path, small: Small) -> None:
    """A signature of the publisher's over another release."""
    other = Path(shutil.copytree(folder, folder.parent / "other"))
    (other / "README.md").write_text("# Another", encoding="utf-8")
    seal(other, small.key, small.policy)
    shutil.copyfile(other / sign.SIGNATURE, folder / sign.SIGNATURE)


def _own_exception(folder: Path, small: Small) -> None:
    """The publisher lets a score through with the key that signs the release, which the policy names for nothing."""
    text = json.dumps({"policy": small.policy.digest, "scores": "", "score": "bits_per_byte/letters", "reason": "x"})
    bundle = sign.sign("exception", {"exception": hashlib.sha256(text.encode()).hexdigest()}, small.key)
    key = sign.public_pem(small.key.public_key()).decode()
    entry = {"exception": text, "key": key, "signature": json.loads(bundle)}
    (folder / "exception.json").write_text(json.dumps([entry]), encoding="utf-8")


CHANGED = "was changed after the release was signed"
NOT_HELD = "is none of the files that a release holds"


def mutations() -> Iterator[Mutation]:
    """All of them."""
    for name, harm, found in ON_THE_WAY:
        yield Mutation(name=name, harm=harm, found=found)
    for name, harm, found in BY_THE_PUBLISHER:
        yield Mutation(name=name, harm=harm, found=found, signer="publisher")
    for name, harm, found in OF_THE_MANIFEST:
        yield Mutation(name=name, harm=harm, found=found, signer="publisher", of_manifest=True)
    for name, harm in BY_A_STRANGER:
        yield Mutation(name=name, harm=harm, found=f"{sign.PUBLIC_KEY} is not the trusted key", signer="stranger")


ON_THE_WAY: tuple[tuple[str, Harm, str], ...] = (
    ("flipped byte in the weights", bit("model.safetensors", 0.9), f"model.safetensors {CHANGED}"),
    ("flipped byte in the GGUF file", bit(GGUF, 0.9), f"{GGUF} {CHANGED}"),
    ("flipped byte in the tokenizer", bit("tokenizer.json"), f"tokenizer.json {CHANGED}"),
    ("flipped byte in the manifest", bit(MANIFEST), f"{MANIFEST} {CHANGED}"),
    ("flipped byte in the signature", bit(sign.SIGNATURE), sign.SIGNATURE),
    ("edited card", replace("README.md", "3.25", "2.25"), f"README.md {CHANGED}"),
    ("edited score", put(SCORES, "sets", "hellaswag", "accuracy", "value", value=0.9), f"{SCORES} {CHANGED}"),
    ("edited sample", _right_answer, f"items.jsonl {CHANGED}"),
    ("edited score with the samples edited to match", _better_samples, f"{SCORES} {CHANGED}"),
    ("swapped run", _other_run, f"{SCORES} {CHANGED}"),
    ("weakened threshold", _weaken, f"{POLICY} {CHANGED}"),
    ("added code", write("modeling_small.py", b"print()"), "modeling_small.py was added"),
    ("added pickle", write("pytorch_model.bin", b"\x80\x04N."), "pytorch_model.bin was added"),
    ("removed file", remove("items.jsonl"), "items.jsonl is missing"),
    ("renamed file", rename("documents.jsonl", "documents2.jsonl"), "documents.jsonl is missing"),
    ("case-colliding file", write("Config.json", b"{}"), "Config.json was added"),
    ("link in place of a file", _link, "LICENSE is a link or no regular file"),
    ("pipe in place of the signature", _pipe, f"{sign.SIGNATURE} is a link or no regular file"),
    ("weights made longer", _longer, f"model.safetensors {CHANGED}"),
    ("edited bill of materials", bit("documents/mlbom.cdx.json"), f"documents/mlbom.cdx.json {CHANGED}"),
    ("removed data card", remove("documents/croissant.json"), "documents/croissant.json is missing"),
    ("removed signature", remove(sign.SIGNATURE), f"{sign.SIGNATURE} is missing"),
    ("signature of another release", _other_signature, f"README.md {CHANGED}"),
    ("pointer in place of the GGUF file", write(GGUF, b"version https://git-lfs"), f"{GGUF} is a pointer of Git LFS"),
)
BY_THE_PUBLISHER: tuple[tuple[str, Harm, str], ...] = (
    ("edited card digit, signed", replace("README.md", "3.25", "2.25"), "README.md line"),
    ("number without a record, signed", replace("README.md", "## Limits", "MMLU: 90.1\n## Limits"), "README.md line"),
    ("reference to nothing, signed", replace(REFERENCES, "#/training/seed", "#/training/seeds"), "README.md line"),
    ("edited score, signed", put(SCORES, "sets", "hellaswag", "accuracy", "value", value=0.25), f"{SCORES} "),
    ("edited sample, signed", _right_answer, "items.jsonl contradicts the raw outcomes"),
    ("swapped run, signed", _other_run, f"{POLICY} was not signed before the evaluation"),
    ("other weights than the GGUF file, signed", _other_weights, f"{RECORDS} says digest"),
    ("parameters overstated, signed", put(RECORDS, "model", "parameters", value=7_000_000_000), f"{RECORDS} says par"),
    ("other shape, signed", put("config.json", "num_hidden_layers", value=3), "config.json says num_hidden_layers 3"),
    ("weakened threshold, signed", _weaken, f"{POLICY} is not the policy that was signed"),
    ("policy signed after the evaluation", _sign_policy_again, f"{POLICY} was not signed before the evaluation"),
    ("weakened threshold, policy signed again", _weaken_and_sign, f"{POLICY} was not signed before the evaluation"),
    ("removed policy, signed", remove(POLICY, POLICY_SIGNATURE), f"{SCORES} was measured under a policy"),
    (
        "verdict improved, signed",
        put(RECORDS, "policy", "verdicts", 0, "low", value=0.9),
        f"{RECORDS} gives other verdicts",
    ),
    ("swapped tokenizer of the weights, signed", _of_folder(_swap_tokens), f"{GGUF} holds another t"),
    ("swapped tokenizer of the GGUF file, signed", _gguf(change=_swap_tokens), f"{GGUF} holds another tokenizer"),
    ("swapped template of the weights, signed", _of_folder(_longer_template), "chat_template.jinja"),
    (
        "two templates in one folder, signed",
        put("tokenizer_config.json", "chat_template", value="{{ messages }}"),
        "tokenizer_config.json holds another chat template",
    ),
    ("swapped template of the GGUF file, signed", _gguf(change=_longer_template), f"{GGUF} holds another chat templ"),
    ("GGUF file of another model, signed", _gguf(seed=5), f"{GGUF} holds another"),
    ("quantized file of another model, signed", _gguf(seed=5, dtype="Q8_0"), f"{GGUF} cannot be compared"),
    ("missing stop, signed", put("generation_config.json", "eos_token_id", value=3), "generation_config.json must"),
    ("source under a forbidding licence, signed", put("sources.json", "corpus", 0, "licence", value="CC-BY-NC-4.0"),
     "sources.json names letters"),
    ("source without its digest, signed", put("sources.json", "corpus", 0, "archives", 0, "sha256", value=""),
     "sources.json names an archive of letters"),
    ("other licence text, signed", write("LICENSE", b"mine"), "LICENSE is not the text of Apache-2.0"),
    ("added code, signed", write("modeling_small.py", b"print()"), f"modeling_small.py {NOT_HELD}"),
    ("added pickle, signed", write("pytorch_model.bin", b"\x80\x04N."), f"pytorch_model.bin {NOT_HELD}"),
    ("case-colliding file, signed", write("Config.json", b"{}"), f"Config.json {NOT_HELD}"),
    ("picture with a script, signed", write("figures/x.svg", b"<svg><script/></svg>"), "figures/x.svg is no picture"),
    (
        "settings that name code, signed",
        put("config.json", "auto_map", value={"AutoModel": "x.Y"}),
        "config.json names code to be run",
    ),
    ("temperature of words, signed", put("generation_config.json", "temperature", value="hot"),
     "generation_config.json cannot be followed: temperature"),
    ("forbidden tokens, signed", put("generation_config.json", "suppress_tokens", value=[1, 2]),
     "generation_config.json cannot be followed: suppress_tokens"),
    ("pad beyond the vocabulary, signed", put("generation_config.json", "pad_token_id", value=-1),
     "generation_config.json gives pad_token_id -1"),
    ("name of a token that is not there, signed", put("special_tokens_map.json", "unk_token", value="nonsense"),
     "special_tokens_map.json calls"),
    ("name that is none, signed", put("special_tokens_map.json", "nonsense", value="a"),
     "special_tokens_map.json names"),
    ("beginning by another name, signed", put("tokenizer_config.json", "bos_token", value="nonsense"),
     "tokenizer_config.json calls"),
    ("end by another name, signed", put("tokenizer_config.json", "eos_token", value="<|begin_of_text|>"),
     "tokenizer_config.json calls"),
    ("length of no token, signed", put("tokenizer_config.json", "model_max_length", value=0),
     "tokenizer_config.json gives model_max_length 0"),
    ("space before texts, signed", put("tokenizer_config.json", "add_prefix_space", value=True),
     "tokenizer_config.json puts a space"),
)  # fmt: skip
OTHER = "says something else than the records give"
BY_THE_PUBLISHER += (
    ("edited bill of materials, signed", replace("documents/mlbom.cdx.json", 'nd": "0.1', 'nd": "0.2'),
     f"documents/mlbom.cdx.json {OTHER}"),
    ("edited SPDX package, signed", replace("documents/spdx.json", '"suppliedBy"', '"supplied"'),
     f"documents/spdx.json {OTHER}"),
    ("edited data card, signed", replace("documents/croissant.json", "CC0-1.0", "MIT"),
     f"documents/croissant.json {OTHER}"),
    ("edited table of sources, signed", replace("documents/sources.jsonl", "20000", "90000"),
     f"documents/sources.jsonl {OTHER}"),
    ("edited training summary, signed", replace("documents/TRAINING_CONTENT.md", "less than a", "from a"),
     f"documents/TRAINING_CONTENT.md {OTHER}"),
    ("class of openness overstated, signed", put("documents/openness.json", "class", value="I"),
     f"documents/openness.json {OTHER}"),
    ("class of openness overstated in the records, signed", put(RECORDS, "openness", "class", value="I"),
     f"{RECORDS} says another class of openness"),
    ("class of openness overstated on the card, signed", replace("README.md", "reaches class III", "reaches class I"),
     "README.md does not say which class of openness"),
    ("edited technical report, signed", replace(REPORT, "3.25", "2.25"), f"{REPORT} line"),
    ("number in the technical report without a record, signed",
     replace(REPORT, "## Limits", "MMLU: 90.1\n## Limits"), f"{REPORT} line"),
    ("technical report cut, signed", replace(REPORT, "## Limits", "### Limits"), f"{REPORT} says nothing of limits"),
    ("removed technical report, signed", remove(REPORT), RECORDS),
    ("edited score for the hub, signed", replace("documents/eval_results.yaml", "value: 0.2", "value: 0.9"),
     f"documents/eval_results.yaml {OTHER}"),
    ("acceptable use cut, signed", replace("documents/ACCEPTABLE_USE.md", "## What it is not for", ""),
     f"documents/ACCEPTABLE_USE.md {OTHER}"),
    ("exception by no second key, signed", _own_exception, "exception.json holds an exception for bits"),
    ("exception that nobody signed, signed", write("exception.json", b'[{"score": "x"}]'), "exception.json holds an"),
    ("exception claimed in the records, signed", put(RECORDS, "policy", "exceptions", value=[{"score": "x"}]),
     f"{RECORDS} gives other exceptions"),
    ("removed document, signed", remove("documents/spdx.json"), "documents/spdx.json is missing"),
    ("added document, signed", write("documents/praise.md", b"The best."), "documents/praise.md is no document"),
    ("data set of a score renamed, signed", replace("README.md", 'type: "Rowan/', 'type: "Other/'), "README.md line"),
)  # fmt: skip
LIMITS = "## Limits"
BY_THE_PUBLISHER += (
    ("a name twice in the scores, signed", replace(SCORES, '"about": {', '"about": {}, "about": {'),
     f"{RECORDS} or a file beside it cannot be read ({SCORES}: 'about' stands twice"),
    ("a number that is none in the records, signed", put(RECORDS, "training", "seed", value=math.nan),
     f"{RECORDS} or a file beside it cannot be read ({RECORDS}: NaN is no JSON number"),
    ("samples doubled and the scores computed from them, signed", _doubled(2, 1), "items.jsonl holds the outcome of"),
    ("texts doubled and the scores computed from them, signed", _doubled(1, 2), "documents.jsonl holds 40 texts"),
    ("beginning of texts switched off in the GGUF file, signed",
     same_length(GGUF, b"add_bos_token\x07\0\0\0\1", b"add_bos_token\x07\0\0\0\0"),
     f"{GGUF} says tokenizer.ggml.add_bos_token"),
    ("rotary width changed in the GGUF file, signed",
     same_length(GGUF, b"dimension_count\4\0\0\0\x08", b"dimension_count\4\0\0\0\x04"),
     f"{GGUF} says llama.rope.dimension_count 4"),
    ("text cut in another way in the GGUF file, signed", same_length(GGUF, b"llama-bpe", b"starcoder"),
     f'{GGUF} says tokenizer.ggml.pre "starcoder"'),
    ("other licence in the GGUF file, signed", same_length(GGUF, b"apache-2.0", b"cc-by-nc-4"),
     f'{GGUF} says general.license "cc-by-nc-4"'),
    ("other decoder of the tokenizer, signed", put("tokenizer.json", "decoder", value={"type": "Fuse"}),
     f"{GGUF} turns ids into letters in another way"),
    ("tokenizer made to drop capital letters, signed", put("tokenizer.json", "normalizer", value={"type": "Lowercase"}),
     f"{GGUF} cannot hold this tokenizer: tokenizer.json normalizes text"),
    ("number in characters by their numbers, signed", replace("README.md", LIMITS, f"MMLU: &#x39;&#x30; %\n{LIMITS}"),
     "README.md line"),
    ("number behind a false fence, signed", replace("README.md", LIMITS, f"```x``` tells\nMMLU: 90.1\n{LIMITS}"),
     "README.md line"),
    ("number as the mark of a list, signed", replace("README.md", LIMITS, f"90. percent of MMLU\n\n{LIMITS}"),
     "README.md line"),
    ("number in raised signs, signed", replace("README.md", LIMITS, f"MMLU: ⁹⁰\n\n{LIMITS}"), "README.md line"),
    ("measurement set as code, signed", replace("README.md", LIMITS, f"MMLU: `90.1 %`\n\n{LIMITS}"), "README.md line"),
    ("number that begins with its point, signed", replace("README.md", LIMITS, f"MMLU: .901\n\n{LIMITS}"),
     "README.md line"),
    ("file with a look-alike letter, signed", write("figures/l\u043ess.png", b"\x89PNG\r\n\x1a\n"),
     "figures/l\u043ess.png has a letter in its name"),
    ("figure that differs by a capital letter, signed", write("figures/Loss.png", b"\x89PNG\r\n\x1a\n"),
     "figures/loss.png differs from figures/Loss.png only in capital letters"),
    ("index that points to another file, signed",
     write("model.safetensors.index.json", b'{"weight_map": {"model.norm.weight": "other.safetensors"}}'),
     "model.safetensors.index.json says that"),
    ("template with a hidden word in all formats, signed", _hidden_word, "chat_template.jinja has a hidden word"),
    ("settings that name kernels to be run, signed", put("config.json", "_attn_implementation", value="some/kernels"),
     "config.json names code to be run"),
    ("policy by another name on the card, signed", put(RECORDS, "policy", "name", value="of the state"),
     f"{RECORDS} names another policy"),
    ("rotation that no program knows, signed", put("config.json", "rope_scaling", value={"kind": "yarn"}),
     "config.json scales rotary positions by 'kind'"),
    ("licence of a source removed, signed", put("sources.json", "corpus", 0, "licence", value=None),
     "sources.json names letters, whose licence (None) says “unknown”"),
    ("other type in the settings, signed", put("config.json", "dtype", value="float16"),
     'config.json says dtype "float16", but the weights are F32'),
    ("inputs that no Llama has, signed", put("tokenizer_config.json", "model_input_names", value=["pixel_values"]),
     "tokenizer_config.json gives model_input_names"),
    ("digest of a source that is none, signed",
     put("sources.json", "corpus", 0, "archives", 0, "sha256", value="z" * 64), "sources.json names an archive"),
)  # fmt: skip
OF_THE_MANIFEST: tuple[tuple[str, Harm, str], ...] = (
    ("no gates, signed", put(MANIFEST, "gates", value=[]), f"{MANIFEST} does not name the gates"),
    ("gate that nobody knows, signed", put(MANIFEST, "gates", value=[*GATES, "fit for children"]),
     f"{MANIFEST} says that it passed a gate 'fit for children'"),
    ("time of signing that is none, signed", put(MANIFEST, "created", value="soon"),
     f"{MANIFEST} gives no time with its zone"),
    ("other version in the manifest, signed", put(MANIFEST, "version", value="9.9"), f"{MANIFEST} says version 9.9"),
    ("name that draws a verdict", put(MANIFEST, "name", value="x\nx is verified"), f"{MANIFEST} gives a name"),
    ("other digest in the manifest, signed", put(MANIFEST, "files", "LICENSE", "sha256", value="00"), MANIFEST),
)  # fmt: skip
BY_A_STRANGER: tuple[tuple[str, Harm], ...] = (
    ("re-signed by a stranger", write("LICENSE", licence_text("Apache-2.0").encode())),
    ("edited score with the samples edited to match, re-signed by a stranger", _better_samples),
    ("other model, re-signed by a stranger", _other_weights),
)
