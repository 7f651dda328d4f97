"""Every recipe can be planned on any fleet, by the name that `ayllu run` takes."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from ayllu.fleet.catalogue import find_fleet
from ayllu.fleet.planner.find_job import find_job
from ayllu.fleet.planner.plan import plan
from ayllu.lab.error import UserError
from ayllu.recipes.planned import PLANNED
from ayllu.recipes.registry import RECIPES
from ayllu.train.ladder import BATCH, LADDER

LAPTOP, NODE = (find_fleet(name).pools[0] for name in ("laptop", "dgx-h100"))


def test_every_recipe_is_planned() -> None:
    # What llama trains is a shape, and planned by its own name.
    assert set(PLANNED) == set(RECIPES.names()) - {"llama"}
    for name in PLANNED:
        assert plan(find_job(name, LAPTOP, recipes=PLANNED)[0], LAPTOP).best.days > 0


def test_cria_takes_its_model_and_steps_from_the_minutes_and_the_machine() -> None:
    slow, note = find_job("cria", LAPTOP, recipes=PLANNED)
    fast, _ = find_job("cria", NODE, recipes=PLANNED)
    longer, _ = find_job("cria", LAPTOP, recipes=PLANNED, budget=600)
    assert note is not None and note.startswith("10 minutes of pretraining")
    assert (slow.sequence, slow.global_batch, slow.model.vocabulary) == (256, BATCH, 4096)
    assert slow.model.parameters < longer.model.parameters < fast.model.parameters
    assert (slow.model.layers, slow.model.width) in [rung[:2] for rung in LADDER]
    assert plan(slow, LAPTOP).best.days * 1440 == pytest.approx(10, rel=0.02)


def test_smol_is_its_base_for_the_share_that_is_training() -> None:
    job, note = find_job("smol", LAPTOP, recipes=PLANNED)
    assert job.model.parameters == 134_515_008  # as the published checkpoint
    assert plan(job, LAPTOP).best.days * 1440 == pytest.approx(45 * 0.6, rel=0.02)
    assert note is not None and "LoRA" in note


def test_what_the_user_says_goes_first() -> None:
    job, _ = find_job("cria", NODE, recipes=PLANNED, tokens=1e9, sequence=512, batch=2**16, precision="float8")
    assert (job.tokens, job.sequence, job.global_batch, job.precision) == (1e9, 512, 128, "float8")


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("criaa", {}, r"recipes are cria, smol, draft, see; models are llama-3\.2-1b.*deepseek-v3"),
        ("cria", {"budget": 0}, "above 0"),
        ("cria", {"budget": 10, "tokens": 1e9}, "leave one out"),
        ("llama-3.1-8b", {"budget": 10}, "for recipes"),
        ("cria", {"sequence": 4096}, "longer than cria's context"),
    ],
)
def test_what_cannot_be_is_one_sentence(name: str, given: dict, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        find_job(name, LAPTOP, recipes=PLANNED, **given)
    assert "\n" not in str(error.value)


def command_line(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "ayllu.cli", "fleet", "plan", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_line_takes_recipes() -> None:
    found = json.loads(command_line("cria", "--fleet", "dgx-h100", "--json"))
    assert found["model"] == "cria" and found["tokens"] > 1e7 and "finetuning" in found["note"]
    first, second = command_line("cria,smol", "--fleet", "old-and-new").splitlines()
    # The steps are those of the fleet's fastest part, whichever part the job gets.
    assert re.match(r"cria on .*: 10(\.\d)? min", first)
    assert re.match(r"smol on .*: 27(\.\d)? min", second)
