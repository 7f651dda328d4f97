"""The script that needs only `cryptography` comes to the same verdict, by code of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ayllu.evals.score import DocumentBits, Outcome, Scores
from ayllu.release import sign, standalone
from ayllu.release.mutations.harms import mutations
from ayllu.release.mutations.prove import harmed
from ayllu.release.mutations.small import Small, build_small
from support.release import edit, seal_again

SCRIPT = Path(standalone.__file__)
BEYOND = {
    *("swapped tokenizer of the weights, signed", "swapped tokenizer of the GGUF file, signed"),
    *("swapped template of the weights, signed", "two templates in one folder, signed", "missing stop, signed"),
    *("swapped template of the GGUF file, signed", "GGUF file of another model, signed"),
    *("quantized file of another model, signed", "other licence text, signed"),
    *("temperature of words, signed", "forbidden tokens, signed", "pad beyond the vocabulary, signed"),
    *("name of a token that is not there, signed", "name that is none, signed", "beginning by another name, signed"),
    *("end by another name, signed", "length of no token, signed", "space before texts, signed"),
    *("edited bill of materials, signed", "edited SPDX package, signed", "edited data card, signed"),
    *("edited table of sources, signed", "edited training summary, signed", "acceptable use cut, signed"),
    *("class of openness overstated, signed", "edited score for the hub, signed", "removed document, signed"),
    *("added document, signed", "class of openness overstated in the records, signed"),
    *("class of openness overstated on the card, signed", "technical report cut, signed"),
    *("beginning of texts switched off in the GGUF file, signed", "rotary width changed in the GGUF file, signed"),
    *("text cut in another way in the GGUF file, signed", "other licence in the GGUF file, signed"),
    *("other decoder of the tokenizer, signed", "tokenizer made to drop capital letters, signed"),
    *("template with a hidden word in all formats, signed", "settings that name kernels to be run, signed"),
    "rotation that no program knows, signed",
    *("time of signing that is none, signed", "other type in the settings, signed", "inputs that no Llama has, signed"),
    *("figure that differs by a capital letter, signed", "index that points to another file, signed"),
    "removed technical report, signed",
}
"""Lies of the publisher's that take the documents to be made again, or the GGUF
file, a template, a licence's text or names of tokens to be found."""


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Small:
    return build_small(tmp_path_factory.mktemp("small"))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The script where nothing but Python's own library and cryptography can be imported."""
    code = (
        "import runpy, sys\n"
        "class Only:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        top = name.partition('.')[0]\n"
        "        if top not in sys.stdlib_module_names and top not in ('cryptography', '_cffi_backend', 'cffi'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Only())\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    words = [sys.executable, "-I", "-c", code, SCRIPT, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_it_is_short_and_shares_no_code():
    text = SCRIPT.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert not re.search(r"^\s*(?:from|import) ayllu", text, re.MULTILINE)


def test_it_runs_with_cryptography_alone(small, tmp_path):
    done = run(small.folder, small.public)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{standalone.GAPS}\nverified\n", "")
    harm = Path(shutil.copytree(small.folder, tmp_path / "release"))
    (harm / "more\x1b[2K.py").write_text("")
    done = run(harm)
    assert done.returncode == 1
    first, gaps, last = done.stdout.splitlines()
    assert first == "more\\x1b[2K.py was added after the release was signed" and last == "NOT verified"
    assert gaps == standalone.GAPS, "what it does not look at is said, whatever it finds"


def test_a_release_without_a_policy_of_its_own_is_verified_too(built):
    assert standalone.verify(built.folder, built.folder / sign.PUBLIC_KEY) == []


@pytest.mark.parametrize("mutation", mutations(), ids=lambda mutation: mutation.name)
def test_it_finds_what_verification_finds(small, tmp_path, mutation):
    found = standalone.verify(harmed(tmp_path, small, mutation), small.public)
    assert bool(found) is (mutation.name not in BEYOND), found


def outcome(number: int, likelihoods: tuple[float, ...]) -> Outcome:
    return Outcome(
        id=f"hellaswag/{number}",
        set="hellaswag",
        digest=f"{number:016x}",
        gold=number % 2,
        log_likelihoods=likelihoods,
        bytes=(7, 11),
        tokens=(2, 3),
    )


@pytest.mark.parametrize("items", [1, 2, 3, 7, 101, 150])
@pytest.mark.parametrize("kind", ["all right", "all wrong", "mixed", "missing", "none answered"])
def test_its_scores_and_intervals_are_those_of_the_evaluation(built, tmp_path, items, kind):
    """Every way in which an interval is computed: few and many items, answers that are missing."""
    release = Path(shutil.copytree(built.folder, tmp_path / "release"))
    rows = []
    for i in range(items):
        right, wrong = ((-1.0, -9.0 - i / 7), (-9.0, -1.0 - i / 7))[:: 1 if i % 2 == 0 else -1]
        answered = {"all right": right, "all wrong": wrong}.get(kind, right if i % 3 else wrong)
        nan = (float("nan"), -1.0)
        rows.append(outcome(i, nan if kind == "none answered" or (kind == "missing" and i % 4 == 0) else answered))
    documents = [
        DocumentBits(source="a", digest=f"{i:016x}", bits=900.0 + i * i, bytes=1000, tokens=9) for i in range(items)
    ]
    Scores(outcomes=tuple(rows), documents=tuple(documents)).save(release)
    assert list(standalone._scores(release, None)) == []
    edit(release / "scores.json", lambda scores: scores["sets"]["hellaswag"]["accuracy"].update(high=0.123))
    assert list(standalone._scores(release, None)) == [
        "scores.json contradicts the raw outcomes: accuracy of hellaswag"
    ]


def test_a_tensor_longer_than_any_memory_is_no_crash(built, tmp_path):
    release = Path(shutil.copytree(built.folder, tmp_path / "release"))
    header = json.dumps({"x": {"dtype": "U8", "shape": [1 << 62], "data_offsets": [0, 1 << 62]}}).encode()
    (release / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert "model.safetensors holds more than its tensors, or none" in list(standalone._weights(release, None))


def test_whatever_a_release_holds_it_ends_with_a_sentence(built, tmp_path):
    for number, name in enumerate(("records.json", "scores.json", "sources.json", "config.json", "references.json")):
        for content in ("[]", "{}", "null", '{"release": 3}'):
            release = Path(shutil.copytree(built.folder, tmp_path / f"{number}"))
            whole = (release / name).read_text()
            (release / name).write_text(content)
            try:
                seal_again(release)
            except (KeyError, TypeError, AttributeError):
                (release / name).write_text(whole)
            else:
                assert standalone.verify(release) != [], (name, content)
            shutil.rmtree(release)
