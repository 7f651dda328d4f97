"""What ends a reply: every file of a source counts, and every format that is written says all of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from transformers import AutoModelForCausalLM, AutoTokenizer

from ayllu.api.measuring import evaluate_hazards
from ayllu.api.models import Model
from ayllu.assistant.models.local import LocalDriver
from ayllu.cli.chat import chat_terminal
from ayllu.lab.error import UserError
from ayllu.model.files import gguf
from ayllu.model.sampling import Sampling, recommended_sampling
from ayllu.recipes.adopt import adopt
from ayllu.release.exports.export import export_model
from ayllu.serve.about import describe
from ayllu.serve.source import FolderSource
from ayllu.text.chat import Message, render, render_masked
from ayllu.text.tokenizer import Tokenizer
from support.adopted import CHATML, CHATML_MARKS, edit, ids_of, save_source


class Terminal:
    """A stdin in which somebody could type."""

    def isatty(self) -> bool:
        return True


BASE = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}
SECOND = AddedToken("<|second_end|>", special=True)


def test_a_fine_tune_with_another_stop_keeps_it_in_every_format(
    tmp_path: Path, open_gguf: Callable[[Path], Any]
) -> None:
    names = {"bos_token": "<|begin_of_text|>", "eos_token": "<|im_end|>"}
    source = save_source(
        tmp_path / "source", added=(*CHATML_MARKS, SECOND), template=CHATML, settings=names, generation={}
    )
    ids = ids_of(source)
    end, second = ids["<|im_end|>"], ids["<|second_end|>"]
    edit(source / "generation_config.json", eos_token_id=[end, second], do_sample=False)
    adopted = adopt(str(source), home=tmp_path / "home")
    tokenizer = Tokenizer.load(adopted.folder)
    assert {end, second} <= tokenizer.stops
    assert ids["<|eot_id|>"] not in tokenizer.stops
    assert adopted.origin.stops["<|im_end|>"] == ["tokenizer_config.json", "generation_config.json"]
    assert adopted.origin.stops["<|second_end|>"] == ["generation_config.json"]
    # What is learnt ends as the model's own replies do.
    turns = [Message(role="user", content="Hi"), Message(role="assistant", content="Warm.")]
    learnt, produced = render_masked(turns, tokenizer)
    assert [i for i, p in zip(learnt, produced, strict=True) if p][-1] == end
    export_model(adopted.folder, "hf", tmp_path / "hf")
    other = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    assert set(other.generation_config.eos_token_id) == tokenizer.stops
    assert AutoTokenizer.from_pretrained(tmp_path / "hf").eos_token == "<|im_end|>"
    export_model(adopted.folder, "gguf", tmp_path / "gguf")
    file = next((tmp_path / "gguf").glob("*.gguf"))
    assert set(gguf.read(file).vocabulary.stops) == tokenizer.stops
    llama = open_gguf(file)
    for stop in sorted(tokenizer.stops):
        answer = llama.post("/completion", prompt=[5, 6], n_predict=4, temperature=0, logit_bias=[[stop, 1000.0]])
        assert (answer["stop_type"], answer["content"]) == ("eos", ""), stop
    again = adopt(str(file), name="again", home=tmp_path / "home")
    assert Tokenizer.load(again.folder).stops == tokenizer.stops
    assert "tokenizer.ggml.eos_token_id" in again.origin.stops["<|im_end|>"]


PLACES: dict[str, Callable[[Path, int], Any]] = {
    "tokenizer_config.json": lambda folder, i: edit(folder / "tokenizer_config.json", eos_token="<|im_end|>"),
    "special_tokens_map.json": lambda folder, i: edit(folder / "special_tokens_map.json", eos_token="<|im_end|>"),
    "config.json": lambda folder, i: edit(folder / "config.json", eos_token_id=i),
    "generation_config.json": lambda folder, i: edit(folder / "generation_config.json", eos_token_id=[i]),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_stop_that_only_one_file_names_counts(tmp_path: Path, place: str) -> None:
    source = save_source(tmp_path / "source", added=CHATML_MARKS, template=CHATML)
    stop = ids_of(source)["<|im_end|>"]
    PLACES[place](source, stop)
    adopted = adopt(str(source), home=tmp_path / "home")
    assert adopted.origin.stops["<|im_end|>"] == [place]
    for folder in (source, adopted.folder):
        assert stop in Tokenizer.load(folder).stops
    assert stop in gguf.read_vocabulary(adopted.folder, 608).stops


def test_no_stop_at_all_is_refused(tmp_path: Path) -> None:
    source = save_source(tmp_path / "source", added=CHATML_MARKS, template=CHATML)
    with pytest.raises(UserError, match="names no eos_token"):
        adopt(str(source), home=tmp_path / "home")


def test_transformers_default_of_config_json_is_no_stop_beside_a_stated_one(tmp_path: Path) -> None:
    source = save_source(tmp_path / "source", settings=BASE, config={"eos_token_id": 2})
    end = ids_of(source)["<|end_of_text|>"]
    edit(source / "generation_config.json", eos_token_id=end)
    assert Tokenizer.load(source).stops == {end}


def test_more_stops_than_llama_cpp_has_places_for_are_refused(tmp_path: Path) -> None:
    more = tuple(AddedToken(f"<|end_{i}|>", special=True) for i in range(4))
    source = save_source(tmp_path / "source", added=more, settings=BASE, config={"eos_token_id": [600, 601, 602, 603]})
    adopted = adopt(str(source), home=tmp_path / "home")
    with pytest.raises(UserError, match="no more places for stops"):
        export_model(adopted.folder, "gguf", tmp_path / "gguf")
    assert not (tmp_path / "gguf").exists()


@pytest.mark.parametrize("to", ["hf", "gguf"])
def test_a_base_model_stays_one(tmp_path: Path, to: Any) -> None:
    names = BASE | {"pad_token": "<|reserved_special_token_0|>"}
    source = save_source(tmp_path / "source", settings=names)
    ids = ids_of(source)
    end, pad = ids["<|end_of_text|>"], ids["<|reserved_special_token_0|>"]
    stated = {"bos_token_id": ids["<|begin_of_text|>"], "eos_token_id": end, "pad_token_id": pad}
    edit(source / "config.json", **stated)
    edit(source / "generation_config.json", **stated)
    adopted = adopt(str(source), home=tmp_path / "home")
    export_model(adopted.folder, to, tmp_path / "out")
    if to == "gguf":
        file = next((tmp_path / "out").glob("*.gguf"))
        vocabulary = gguf.read(file).vocabulary
        assert (vocabulary.chat_template, vocabulary.eos, vocabulary.stops) == (None, end, (end,))
        assert vocabulary.pad == pad
        adopted = adopt(str(file), name="again", home=tmp_path / "home")
        export_model(adopted.folder, "hf", tmp_path / "hf")
    place = tmp_path / ("hf" if to == "gguf" else "out")
    theirs = AutoTokenizer.from_pretrained(place)
    assert (theirs.chat_template, theirs.eos_token, theirs.pad_token) == (None, *list(names.values())[1:])
    for file in ("config.json", "generation_config.json"):
        fields = json.loads((place / file).read_text())
        assert {name: fields[name] for name in stated} == stated
    tokenizer = Tokenizer.load(place)
    assert (tokenizer.stops, tokenizer.eos, tokenizer.bos) == ({end}, end, ids["<|begin_of_text|>"])
    with pytest.raises(ValueError, match="no chat template"):
        render([Message(role="user", content="Hi")], tokenizer)


def test_a_base_model_in_a_gguf_file_recommends_nothing_that_it_does_not(tmp_path: Path) -> None:
    found = []
    for name, template in (("base", None), ("chat", CHATML)):
        names = BASE if template is None else BASE | {"eos_token": "<|im_end|>"}
        source = save_source(tmp_path / name, added=CHATML_MARKS, settings=names, template=template)
        export_model(adopt(str(source), home=tmp_path / "home").folder, "gguf", tmp_path / f"{name}.out")
        file = next((tmp_path / f"{name}.out").glob("*.gguf"))
        again = adopt(str(file), name=f"{name}-again", home=tmp_path / "home")
        found.append(json.loads((again.folder / "generation_config.json").read_text()))
    assert found[0].keys() <= {"bos_token_id", "eos_token_id", "pad_token_id"}
    assert found[1]["repetition_penalty"] > 1


def test_a_base_model_is_refused_before_somebody_says_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopted = adopt(str(save_source(tmp_path / "base", settings=BASE)), home=tmp_path / "home")
    with pytest.raises(UserError, match="no chat template"):
        LocalDriver(FolderSource(str(adopted.folder), engine="torch", home=tmp_path / "home"))
    monkeypatch.setattr("sys.stdin", Terminal())
    with pytest.raises(UserError, match="no chat template"):
        chat_terminal(Model(adopted.folder, engine="torch"))
    with pytest.raises(UserError, match="no chat template"):
        evaluate_hazards(adopted.folder, items=1)


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_a_pad_that_only_a_configuration_names_survives_gguf(file: str, tmp_path: Path) -> None:
    source = save_source(tmp_path / "source", settings=BASE)
    pad = ids_of(source)["<|reserved_special_token_1|>"]
    edit(source / file, pad_token_id=pad)
    export_model(adopt(str(source), home=tmp_path / "home").folder, "gguf", tmp_path / "gguf")
    exported = next((tmp_path / "gguf").glob("*.gguf"))
    assert gguf.read(exported).vocabulary.pad == pad
    again = adopt(str(exported), name="again", home=tmp_path / "home")
    assert AutoTokenizer.from_pretrained(again.folder).pad_token_id == pad


def test_what_a_source_recommends_counts_value_by_value(tmp_path: Path) -> None:
    source = save_source(tmp_path / "source", settings=BASE)
    end = ids_of(source)["<|end_of_text|>"]
    recommended = {"eos_token_id": [end, None, -1, 99_999], "temperature": 0.3, "top_k": -1, "top_p": 0.8}
    edit(source / "generation_config.json", **recommended, repetition_penalty="much", num_beams=4)
    edit(source / "config.json", eos_token_id=[end, -1])
    adopted = adopt(str(source), home=tmp_path / "home")
    assert Tokenizer.load(adopted.folder).stops == {end}
    assert json.loads((adopted.folder / "generation_config.json").read_text())["eos_token_id"] == end
    assert describe(adopted.folder, context=1, parameters=1).sampling == Sampling(temperature=0.3, top_p=0.8)
    said = " ".join(adopted.origin.left_out)
    for words in ("null", "-1", "99999", "top_k is -1", 'repetition_penalty is "much"', "num_beams is 4"):
        assert words in said


@pytest.mark.parametrize("value", [{"top_k": 50.5}, {"top_k": 10**400}, {"temperature": 10**400}])
def test_a_number_that_no_draw_can_use_is_left_out(value: dict[str, Any]) -> None:
    found, left_out = recommended_sampling({"top_p": 0.8, **value})
    assert found == Sampling(top_p=0.8)
    assert len(left_out) == 1
    assert len(left_out[0]) < 200


def test_a_source_that_takes_the_likeliest_word_is_followed(tmp_path: Path) -> None:
    edit(tmp_path / "generation_config.json", do_sample=False, temperature=0.9, top_p=0.5)
    (tmp_path / "config.json").write_text("{}")
    assert describe(tmp_path, context=1, parameters=1).sampling == Sampling(temperature=0.0, top_p=0.5)


def test_a_source_that_recommends_nothing_gets_no_recommendation(tmp_path: Path) -> None:
    source = save_source(tmp_path / "source", settings=BASE)
    adopted = adopt(str(source), home=tmp_path / "home")
    assert json.loads((adopted.folder / "generation_config.json").read_text()).keys() == {
        "bos_token_id",
        "eos_token_id",
    }
