"""`import ayllu`: what it offers, what it does not import, and what its functions give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ayllu
from ayllu.lab.graph import Context, stage
from support.models import save_tiny_model


@stage()
def small_release(ctx: Context, *, name: str, seconds: float) -> None:
    (ctx.folder / "release").mkdir()
    (ctx.folder / "release" / "name").write_text(name)
    ctx.note("predicted", {"seconds": seconds, "bits_per_byte": None})
    ctx.note("measured", {"seconds": 2 * seconds, "bits_per_byte": 1.5})


def small(*, seconds: float = 1.0, name: str = "small") -> object:
    return small_release(name=name, seconds=seconds)


def test_importing_ayllu_imports_nothing_that_computes() -> None:
    program = (
        "import sys, ayllu; ayllu.run, ayllu.UserError, dir(ayllu)\n"
        "print([name for name in ('torch', 'numpy', 'cyclopts', 'fastapi', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_threads_that_wait_leave_the_cores_to_others() -> None:
    program = "import os, ayllu; ayllu.load; print(os.environ['OMP_WAIT_POLICY'])"
    unset = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for environment, policy in ((unset, "PASSIVE"), ({**unset, "OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
        )
        assert done.stdout.strip() == policy


def test_every_public_name_is_there_and_explained() -> None:
    for name in ayllu.__all__:
        assert getattr(ayllu, name).__doc__
        assert name in dir(ayllu)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ayllu.nothing  # noqa: B018


def test_a_recipe_of_ones_own_runs_once_and_gets_a_channel(tmp_path: Path) -> None:
    rows = ayllu.why(small, home=tmp_path)
    assert [(row["stage"], row["state"]) for row in rows] == [(f"{__name__}.small_release", "runs")]
    report = ayllu.run(small, home=tmp_path, seconds=4.0, name="mine")
    assert (report.release / "name").read_text() == "mine"
    assert (report.recipe, report.channel) == ("small", "mine")
    assert report.predicted == {"seconds": 4.0, "bits_per_byte": None}
    assert report.measured["seconds"] == 8.0
    assert json.loads((tmp_path / "channels" / "mine.json").read_text())["name"] == "mine"
    again = ayllu.run(small, home=str(tmp_path), seconds=4.0, name="mine")
    assert again.stages == report.stages
    assert ayllu.why(small, home=tmp_path, seconds=4.0, name="mine")[0]["state"] == "kept"
    assert set(json.loads(json.dumps(report.as_json()))) == {
        *("recipe", "release", "channel", "predicted", "measured", "bits_per_byte", "final_loss", "stages", "seconds")
    }


def test_an_option_that_a_recipe_has_not_is_said_with_the_near_one(tmp_path: Path) -> None:
    def needs(*, size: int) -> object:
        return small_release(name="needs", seconds=float(size))

    for function in (ayllu.run, ayllu.why, ayllu.accept):
        with pytest.raises(ayllu.UserError, match=r"^the recipe cria has no option 'bugdet'; did you mean budget[?]$"):
            function("cria", home=tmp_path, bugdet=3)
        with pytest.raises(ayllu.UserError, match=r"small has no option 'zzz'; it has seconds, name$"):
            function(small, home=tmp_path, zzz=3)
        with pytest.raises(ayllu.UserError, match="the recipe needs needs size; give it as an option"):
            function(needs, home=tmp_path)
        with pytest.raises(ayllu.UserError, match=r"a recipe is a name or a function .*, and this is 3"):
            function(3, home=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ayllu.UserError, match="cria has no option 'bugdet'; did you mean budget"):
        ayllu.scale("cria", home=tmp_path, bugdet=3)
    with pytest.raises(ayllu.UserError, match="cria has no option 'bugdet'; did you mean budget"):
        ayllu.sweep("cria", vary=["lr=0.1,0.2"], home=tmp_path, bugdet=3)
    assert not list(tmp_path.glob("artifacts/*"))


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("budget", "3", "cannot take '3' for its option budget; give a number$"),
        ("budget", True, "cannot take True for its option budget; give a number$"),
        ("seed", 1.5, "cannot take 1.5 for its option seed; give a whole number$"),
        ("width", "wide", "cannot take 'wide' for its option width; give a whole number or None$"),
        ("sources", "tiny-corpus", "cannot take 'tiny-corpus' for its option sources; give a list$"),
        ("private", 1, "cannot take 1 for its option private; give True or False$"),
        ("name", None, "cannot take None for its option name; give a text$"),
    ],
)
def test_an_option_of_another_type_is_refused_in_a_sentence(
    option: str, value: object, told: str, tmp_path: Path
) -> None:
    for function in (ayllu.run, ayllu.why, ayllu.accept):
        with pytest.raises(ayllu.UserError, match=f"^the recipe cria {told}"):
            function("cria", home=tmp_path, **{option: value})
    assert not list(tmp_path.glob("artifacts/*"))


def test_what_the_user_can_mend_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ayllu.UserError, match=r"no recipe 'nope'; choose one of .*cria"):
        ayllu.run("nope", home=tmp_path)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ayllu.UserError, match="add --layout"):
        ayllu.run(small, home=tmp_path)
    with pytest.raises(ayllu.UserError, match="needs 2 processes and this is one"):
        ayllu.run(small, home=tmp_path, layout="dp_shard=2")
    assert not list(tmp_path.glob("artifacts/*"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def test_a_model_answers_goes_on_and_answers_the_same_for_the_same_seed(tiny: Path) -> None:
    model = ayllu.load(tiny)
    assert model.name == "tiny"
    first = model.chat("Hello", seed=1, max_tokens=8)
    assert first == model.chat([{"role": "user", "content": "Hello"}], seed=1, max_tokens=8)
    assert first != model.chat("Hello", system="Be kind.", seed=1, max_tokens=8)
    said = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    assert model.chat(said, seed=1, max_tokens=8) == model.chat("Hello", system="Be kind.", seed=1, max_tokens=8)
    assert model.complete("The llama", temperature=0, max_tokens=5) == model.complete(
        "The llama", temperature=0, max_tokens=5
    )
    talk = model.conversation(sampling=model.sampling(seed=1), max_tokens=8)
    assert "".join(talk.ask("Hello")) == first
    assert [message.role for message in talk.messages] == ["user", "assistant"]


def test_what_is_not_given_is_as_the_model_recommends(tiny: Path) -> None:
    recommended = tiny / "generation_config.json"
    before = recommended.read_text() if recommended.exists() else None
    recommended.write_text(json.dumps({"temperature": 0.2, "top_p": 0.9}))
    try:
        sampling = ayllu.load(tiny).sampling(top_p=0.5, seed=7)
    finally:
        recommended.write_text(before) if before is not None else recommended.unlink()
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.2, 0.5, 7)


def test_a_model_is_exported_adopted_and_says_what_it_is(tiny: Path, tmp_path: Path) -> None:
    model = ayllu.load(str(tiny))
    assert model.facts()["parameters"] == model.engine.parameters
    files = model.export("hf", tmp_path / "out")
    assert "config.json" in files
    adopted = ayllu.adopt(str(tmp_path / "out"), name="mine", licence="MIT", home=tmp_path / "home")
    facts = adopted.facts()
    assert (adopted.name, facts["licence"], facts["parameters"]) == ("mine", "MIT", model.facts()["parameters"])
    assert ayllu.load("mine", home=tmp_path / "home").folder == adopted.folder
    assert adopted.chat("Hello", temperature=0, max_tokens=5) == model.chat("Hello", temperature=0, max_tokens=5)


def test_held_out_text_is_measured(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("The llama walks up the hill.")
    scores = ayllu.evaluate(tiny, suite=None, text=tmp_path / "letter.txt", out=tmp_path / "scores")
    assert scores.as_json()["bits_per_byte"]["letter"]["documents"] == 1
    assert json.loads((tmp_path / "scores" / "scores.json").read_text()) == scores.as_json()


def test_what_a_model_cannot_do_is_one_sentence(tiny: Path, tmp_path: Path) -> None:
    model = ayllu.load(tiny)
    for message in ([], [{"role": "assistant", "content": "Hi"}]):
        with pytest.raises(ayllu.UserError, match="nothing to answer"):
            model.chat(message)
    with pytest.raises(ayllu.UserError, match="shorten it"):
        model.chat("word " * 500)
    with pytest.raises(ayllu.UserError, match="give each a role"):
        model.chat([{"role": "poet", "content": "Hi"}])
    with pytest.raises(ayllu.UserError, match="temperature is -1"):
        model.chat("Hi", temperature=-1)
    with pytest.raises(ayllu.UserError, match="no model 'nothing'"):
        ayllu.load("nothing", home=tmp_path)
    with pytest.raises(ayllu.UserError, match="dtype is 'int3'; choose float32 or bfloat16"):
        ayllu.evaluate(tiny, dtype="int3")  # type: ignore[arg-type]
    with pytest.raises(ayllu.UserError, match="nothing to measure"):
        ayllu.evaluate(tiny, suite=None)


def test_a_plan_is_that_of_the_command() -> None:
    plan = ayllu.plan("llama-3.1-8b", fleet="64xh100", tokens=1e12, top=2, price_hour=2.0)
    assert plan.job.tokens == 1e12
    best, second = plan.plans[0].choices
    assert best.step_s <= second.step_s
    words = ("fleet", "plan", "llama-3.1-8b", "--fleet", "64xh100", "--tokens", "1e12", "--top", "2")
    command = [sys.executable, "-m", "ayllu.cli", *words, "--price-hour", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == json.loads(json.dumps(plan.as_json()))
    with pytest.raises(ayllu.UserError, match="no recipe or model is called 'nope'"):
        ayllu.plan("nope", fleet="64xh100")


def test_a_plan_in_a_precision_that_is_none_is_one_sentence() -> None:
    with pytest.raises(ayllu.UserError, match=r"no precision is called 'int3'; choose among .*bf16"):
        ayllu.plan("cria", fleet="8xh100", precision="int3")  # type: ignore[arg-type]
