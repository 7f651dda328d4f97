"""`ayllu list`, `show`, `log`, `open`, `tag`, `note`, `rm`, `gc`, `restore` at the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ayllu.cli.main import main
from ayllu.lab.channel import find_model, promote
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from ayllu.recipes.names import OURS, recipe_names
from ayllu.recipes.registry import RECIPES
from support.shelf import many


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("shelf")
    store = many(home, 120)
    (folder,) = [
        path for path in store.artifacts.glob("pretrain-*") if '"seed": 7,' in (path / "manifest.json").read_text()
    ]
    promote(store, "seven", folder)
    return home


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Any:
    def ask(*words: str, code: int = 0) -> Any:
        with pytest.raises(SystemExit) as ended:
            main(words)
        out, err = capsys.readouterr()
        assert ended.value.code == code, err
        return json.loads(out) if "--json" in words and code == 0 else (err if code else out)

    return ask


def test_the_list_as_json(home: Path, ask: Any) -> None:
    rows = ask("list", "--json", "--home", str(home))["artifacts"]
    assert {"name", "kind", "key", "state", "created", "bytes", "scores"} <= rows[0].keys()
    kinds = [row["kind"] for row in rows]
    assert (kinds.count("model"), kinds.count("scores"), kinds.count("recipe")) == (60, 60, 4)
    best = ask("list", "--json", "--kind", "model", "--sort", "loss", "--limit", "1", "--home", str(home))["artifacts"]
    assert best[0]["scores"]["loss"] == min(row["scores"].get("loss", 9) for row in rows)
    assert [row["name"] for row in ask("list", "seven", "--json", "--home", str(home))["artifacts"]] == ["seven"]
    assert ask("list", "--json", "--since", "1m", "--kind", "model", "--home", str(home))["artifacts"] == []


def test_the_list_for_people_has_a_screenful(home: Path, ask: Any) -> None:
    lines = ask("list", "--home", str(home)).splitlines()
    assert len(lines) == 52 and lines[0].split()[:3] == ["name", "kind", "state"]
    assert lines[-1] == "and 74 more: --limit 124 shows all"
    assert "is no span of time" in ask("list", "--since", "soon", "--home", str(home), code=2)
    assert "nothing here has a score 'lsos'" in ask("list", "--sort", "lsos", "--home", str(home), code=2)


def test_show_says_what_it_was_made_with_and_what_needs_it(home: Path, ask: Any) -> None:
    found = ask("show", "seven", "--json", "--home", str(home))
    assert found["arguments"] == {"seed": 7, "lr": 0.001}
    assert found["needed_by"] == "the channel seven" and len(found["used_by"]) == 1
    told = ask("show", found["key"][:5], "--home", str(home))
    assert told.startswith("seven: model, finished\n") and "seed: 7" in told and "parameters: 1000007" in told
    assert ask("open", "seven", "--home", str(home)).strip() == found["folder"]
    assert "nothing in" in ask("show", "nothing-like-it", "--home", str(home), code=2)


def test_labels_and_removal(home: Path, ask: Any) -> None:
    name = ask("list", "--json", "--kind", "model", "--limit", "1", "--home", str(home))["artifacts"][0]["name"]
    assert ask("tag", name, "good", "paper:2", "--json", "--home", str(home))["tags"] == ["good", "paper:2"]
    ask("note", "good", "the first that \x1b[2J spoke", "--home", str(home))
    told = ask("show", "paper:2", "--home", str(home))
    assert "good, paper:2" in told and "\\x1b[2J" in told
    assert "cannot go: the tag good" in ask("rm", name, "--home", str(home), code=2)
    ask("tag", name, "--remove", "good", "--remove", "paper:2", "--home", str(home))
    ask("rm", name, "--home", str(home))
    assert "nothing in" in ask("show", name, "--home", str(home), code=2)
    ask("restore", "--home", str(home))
    ask("show", name, "--home", str(home))
    report = ask("gc", "--json", "--home", str(home))
    assert not report["removed"] and len(report["items"]) == 119
    assert "needs --yes" in ask("gc", "--now", "--home", str(home), code=2)
    assert ask("gc", "--yes", "--now", "--json", "--home", str(home))["freed"] > 0
    assert [row["name"] for row in ask("list", "--kind", "model", "--json", "--home", str(home))["artifacts"]] == [
        "seven"
    ]


@stage(identity="shelf.logs")
def logs(ctx: Context) -> None:
    assert ctx.logs is not None
    ctx.logs.mkdir(parents=True)
    (ctx.logs / "metrics.jsonl").write_text('{"step": 1, "loss": 4.25, "event": null}\n{"step": 2, "loss": 4.0}\n')


def test_the_log_of_a_training(tmp_path: Path, ask: Any) -> None:
    resolve(logs(), Place(store=Store(tmp_path), cache=tmp_path))
    assert ask("log", "shelf.logs-", "--home", str(tmp_path)) == "step 1 · loss 4.25\nstep 2 · loss 4\n"
    assert ask("log", "shelf.logs-", "--follow", "--lines", "1", "--home", str(tmp_path)) == "step 2 · loss 4\n"


def test_the_names_of_recipes_are_those_of_the_registry() -> None:
    assert tuple(RECIPES.names()) == tuple(recipe_names()) == OURS


def test_the_beginning_of_a_key_names_a_model_and_its_reasons(tmp_path: Path, ask: Any) -> None:
    store = many(tmp_path, 4)
    (row, _) = ask("list", "--kind", "model", "--json", "--home", str(tmp_path))["artifacts"]
    assert find_model(row["key"][:7], tmp_path) == Path(row["folder"])
    reasons = ask("why", row["key"][:7], "--json", "--home", str(tmp_path))["stages"]
    assert [reason["state"] for reason in reasons] == ["kept"]
    (scores, _) = ask("list", "--kind", "scores", "--json", "--home", str(tmp_path))["artifacts"]
    with pytest.raises(UserError, match="and no model"):
        find_model(scores["key"][:7], store.home)
