"""The whole way: from raw text to a signed release that other programs load and that answers, by the real command."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ayllu.cli.main import main
from support.parts import need_module

AYLLU = (sys.executable, "-m", "ayllu.cli")


def ayllu(*arguments: str, home: Path, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AYLLU, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"AYLLU_HOME": str(home)},
    )


@pytest.fixture(scope="module")
def home(shared_home: Path) -> Path:
    return shared_home


SOURCE = "moby-dick"
"""A short one, which the recipes draft and llama read here too: in one process it is cleaned once for all."""
RUN = ("run", "cria", "--sources", SOURCE, "--json")
LENGTH = ("--budget", "0.1", "--items", "50")


@pytest.fixture(scope="module")
def report(home: Path) -> dict[str, Any]:
    done = ayllu(*RUN, *LENGTH, home=home)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return json.loads(line)


@pytest.fixture(scope="module")
def release(report: dict[str, Any]) -> Path:
    return Path(report["release"])


def test_the_report_says_what_was_predicted_and_measured(report: dict[str, Any]) -> None:
    assert report["predicted"]["seconds"] > 0
    assert report["measured"]["seconds"] > 0
    assert 0.9 < report["bits_per_byte"][SOURCE] < 3.0
    # What was predicted is the pretraining's result; conversations change it a little.
    assert report["measured"]["bits_per_byte"] == pytest.approx(report["bits_per_byte"][SOURCE], rel=0.2)


@pytest.mark.slow  # tests/recipes/test_llama.py has a layout by the launcher, in a quarter of the time
def test_one_command_starts_both_processes_of_a_layout(report: dict[str, Any], home: Path) -> None:
    small = ("--budget", "0.05", "--items", "10", "--layout", "dp_shard=2", "--name", "two")
    done = ayllu(*RUN, *small, home=home)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["stages"]["tokenize"] == report["stages"]["tokenize"], "what was there is used"
    assert told["stages"]["pretrain"] != report["stages"]["pretrain"]
    assert ayllu("release", "verify", told["release"], home=home).returncode == 0


def test_a_mistake_under_a_layout_is_said_once(tmp_path: Path) -> None:
    refused = ayllu("run", "cria", "--budget", "0", "--layout", "dp_shard=2", home=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1, "said once, before any process is started"


def test_the_release_verifies_and_a_changed_byte_does_not(release: Path, home: Path, tmp_path: Path) -> None:
    done = ayllu("release", "verify", str(release), "--re-execute", "--json", home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    again = {part["part"]: (part["result"], part["told"]) for part in json.loads(done.stdout)["re_execution"]["parts"]}
    assert {"training pretrain", "training finetune", "data pipeline", "generations", "scores"} <= set(again)
    assert {result for result, _ in again.values()} == {"PASS"}
    assert again["training finetune"][1] == "equal to the last bit"
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(release), str(copy)], check=True)
    card = copy / "README.md"
    card.write_text(card.read_text().replace("1", "2", 1))
    done = ayllu("release", "verify", str(copy), home=home)
    assert done.returncode == 1
    assert "README.md" in done.stdout
    assert "Traceback" not in done.stderr


def test_transformers_loads_it_and_computes_the_same(release: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ayllu.model.files import hf
    from ayllu.text.chat import Message, render
    from ayllu.text.tokenizer import Tokenizer

    tokenizer, model = Tokenizer.load(release), hf.load(release)
    other = AutoModelForCausalLM.from_pretrained(release, dtype=torch.float32)
    messages = [{"role": "user", "content": "How do I bake bread?"}]
    ids = render([Message(**message) for message in messages], tokenizer)
    theirs = AutoTokenizer.from_pretrained(release).apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True
    )["input_ids"]
    assert theirs == ids
    with torch.no_grad():
        gap = (model(torch.tensor([ids])) - other(torch.tensor([ids])).logits).abs().max()
    assert gap < 1e-3
    assert set(other.generation_config.eos_token_id) >= {tokenizer.eos, tokenizer.eot}


LLAMA_CPP = """
import json, os, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, prompt = sys.argv[1:]
params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 512, 1, 2
server = xllamacpp.Server(params)
body = {"prompt": prompt, "max_tokens": 64, "temperature": 0.0}
print(json.dumps(server.handle_completions(body)["choices"][0]["text"]), flush=True)
os._exit(0)  # the server's destructor has been seen to wait for ever
"""


def test_llama_cpp_continues_it_with_the_same_tokens(release: Path) -> None:
    need_module("xllamacpp", "xllamacpp has no wheel for this platform")
    from ayllu.model.files import hf
    from ayllu.model.generate import generate
    from ayllu.text.tokenizer import Tokenizer

    prompt = "The man is standing in the"
    command = [sys.executable, "-c", LLAMA_CPP, str(next(release.glob("*.gguf"))), prompt]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    tokenizer, model = Tokenizer.load(release), hf.load(release)
    ours = list(generate(model, [tokenizer.bos, *tokenizer.encode(prompt)], tokens=64, stop=tokenizer.stops))
    assert json.loads(done.stdout.splitlines()[-1]) == tokenizer.decode(ours)


def test_it_answers_in_the_terminal(release: Path, home: Path) -> None:
    done = ayllu("chat", "cria", "--message", "Hello!", "--seed", "1", "--json", home=home)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["finish_reason"] in ("stop", "length")


def test_a_second_run_makes_nothing_again(report: dict[str, Any], home: Path) -> None:
    done = ayllu(*RUN, *LENGTH, home=home)
    again = json.loads(done.stdout)
    assert again["release"] == report["release"]
    assert done.stderr.count(": there already") == len(report["stages"])
    assert "done in" not in done.stderr


def test_the_release_before_is_named_and_the_new_one_says_what_changed(report: dict[str, Any], home: Path) -> None:
    """By the name of its channel; nothing but the release is made anew, and card, manifest and documents say so."""
    given = (*RUN, *LENGTH, "--previous", "cria", "--name", "later")
    done = ayllu(*given, home=home)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("done in") == 1
    folder = Path(json.loads(done.stdout)["release"])
    changes = json.loads((folder / "records.json").read_text())["changes"]
    assert (changes["before"], changes["same_key"]) == ("cria 1.0.0", True)
    assert {row["difference"] for row in changes["scores"]} == {0.0} and not changes["model"]
    assert "documents/CHANGES.md" in json.loads((folder / "manifest.json").read_text())["files"]
    assert "](documents/CHANGES.md)" in (folder / "README.md").read_text()
    assert "cria 1.0.0" in (folder / "documents" / "CHANGES.md").read_text()
    assert ayllu("release", "verify", str(folder), home=home).returncode == 0
    told = json.loads(ayllu("why", "later", "--json", home=home).stdout)["stages"]
    assert {row["state"] for row in told} == {"kept"}, "a name that means another release later changes no key"


@pytest.mark.parametrize("recipe", ["cria", "smol", "llama", "draft"])
def test_a_release_before_that_is_none_is_refused(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("AYLLU_HOME", str(tmp_path / "home"))
    for given, told in (("nobody", "there is no model 'nobody'"), (str(empty), "is no release")):
        with pytest.raises(SystemExit) as refused:  # in this process: eight starts of Python less
            main(("run", recipe, "--previous", given))
        said = capsys.readouterr().err
        assert refused.value.code == 2
        assert told in said and said.count("\n") == 1, said
    assert not list((tmp_path / "home").glob("*-*")), "nothing was begun"


SMALL = ("--budget", "0.2", "--speed", "3000", "--length", "64", "--vocabulary", "1024", "--items", "5", "--json")


@pytest.mark.slow
def test_killed_at_random_it_ends_with_the_same_bits(tmp_path: Path, english_texts: Path) -> None:
    """kill -9 anywhere, again and again: every artifact of the run has the digest that an unbroken run gives it."""
    chance = random.Random(0)
    command = ("run", "cria", "--sources", f"folder:{english_texts}", "--licence", "PSF-2.0", *SMALL)

    def digests(report: dict[str, Any]) -> dict[str, str]:
        found = {}
        for name, folder in report["stages"].items():
            found[name] = json.loads((Path(folder) / "manifest.json").read_text())["digest"]
        del found["release"]  # it is signed and dated
        return found

    unbroken = ayllu(*command, home=tmp_path / "unbroken")
    assert unbroken.returncode == 0, unbroken.stderr
    broken, kills = tmp_path / "broken", 0
    while kills < 6:
        process = subprocess.Popen(
            [*AYLLU, *command],
            env=os.environ | {"AYLLU_HOME": str(broken)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(timeout=chance.uniform(2, 9))
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills >= 2
    resumed = ayllu(*command, home=broken)
    assert resumed.returncode == 0, resumed.stderr
    one, two = json.loads(unbroken.stdout), json.loads(resumed.stdout)
    assert one["final_loss"] == two["final_loss"]
    assert digests(one) == digests(two)
