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
from ayllu.lab.progress import bar, say
from ayllu.lab.run import Place, resolve
from ayllu.lab.shelf.find import find
from ayllu.lab.shelf.forecasts import forecast
from ayllu.lab.shelf.log import follow
from ayllu.lab.store import Store
from ayllu.recipes.names import OURS, recipe_names
from ayllu.recipes.registry import RECIPES
from support.lab import RUNNING_KEY, going_on
from support.shelf import many, put


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
    assert (kinds.count("model"), kinds.count("scores"), kinds.count("recipe")) == (60, 60, 5)
    best = ask("list", "--json", "--kind", "model", "--sort", "loss", "--limit", "1", "--home", str(home))["artifacts"]
    assert best[0]["scores"]["loss"] == min(row["scores"].get("loss", 9) for row in rows)
    assert [row["name"] for row in ask("list", "seven", "--json", "--home", str(home))["artifacts"]] == ["seven"]
    assert ask("list", "--json", "--since", "1m", "--kind", "model", "--home", str(home))["artifacts"] == []


def test_the_list_for_people_has_a_screenful(home: Path, ask: Any) -> None:
    lines = ask("list", "--home", str(home)).splitlines()
    assert len(lines) == 52 and lines[0].split()[:3] == ["name", "kind", "state"]
    assert lines[-1] == "and 75 more: --limit 125 shows all"
    assert "is no span of time" in ask("list", "--since", "soon", "--home", str(home), code=2)


def test_a_record_without_a_time_is_not_young(tmp_path: Path, ask: Any) -> None:
    put(Store(tmp_path), "pretrain", 1, finished="yesterday")
    names = [row["name"] for row in ask("list", "--json", "--home", str(tmp_path))["artifacts"]]
    assert names[0].startswith("pretrain-")
    assert ask("list", "--since", "2w", "--json", "--home", str(tmp_path))["artifacts"] == []


def test_to_ask_for_tags_writes_nothing(tmp_path: Path, ask: Any) -> None:
    """So that it may be asked of a home that is only read."""
    store = Store(tmp_path)
    key = put(store, "pretrain", 1)
    store.partial.rmdir()
    assert ask("tag", key, "--home", str(tmp_path)).endswith(": no tags\n")
    assert not store.partial.exists()


def test_scores_to_sort_by_are_named(home: Path, ask: Any) -> None:
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


def test_room_is_made_on_a_full_disk(small_disk: Path, ask: Any) -> None:
    """That is where it is asked for: what came of forecasts is kept there too."""
    store = many(small_disk, 8)
    kept, gone = sorted(store.artifacts.glob("pretrain-*"))[:2]
    promote(store, "kept", kept)
    key = json.loads((gone / "manifest.json").read_text())["key"]
    forecast(store, by="pretrain", what="loss", value=4.0, about={"stage": "pretrain", "key": key})
    with pytest.raises(OSError, match="No space left"), (small_disk / "fill").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    for words in (("rm", gone.name), ("gc", "--yes")):
        assert "`ayllu gc --yes --now` frees for good" in ask(*words, "--home", str(small_disk), code=2)
    assert gone.is_dir()
    assert ask("gc", "--yes", "--now", "--json", "--home", str(small_disk))["freed"] > 0
    assert [path.name for path in store.artifacts.iterdir()] == [kept.name]
    (came,) = ask("calibration", "--json", "--home", str(small_disk))["forecasts"]
    assert came["measured"] > 3


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


def test_a_recipe_that_has_made_nothing_is_told_as_such(tmp_path: Path, ask: Any) -> None:
    """The list of an empty home shows it: a newcomer names it next."""
    assert "cria" in ask("list", "--home", str(tmp_path))
    assert "ayllu run cria --help" in ask("show", "cria", "--home", str(tmp_path))
    assert ask("show", "cria", "--json", "--home", str(tmp_path))["kind"] == "recipe"
    for words in (["log", "cria"], ["tag", "cria", "x"], ["rm", "cria"], ["compare", "cria", "cria"], ["open", "cria"]):
        told = ask(*words, "--home", str(tmp_path), code=2)
        assert told.startswith("ayllu: cria is a recipe, and nothing in") and told.count("\n") == 1


def test_the_home_of_a_user_that_is_not_there_is_no_folder(tmp_path: Path, ask: Any) -> None:
    assert "nothing in" in ask("show", "~nobody-of-that-name", "--home", str(tmp_path), code=2)


def test_a_loss_that_is_no_number_is_the_best_of_none(tmp_path: Path, ask: Any) -> None:
    store = Store(tmp_path)
    for number, loss in enumerate((2.0, float("nan"), 1.0, 3.0, float("nan"), 0.5)):
        put(store, "pretrain", number, record={"loss": loss})
    rows = ask("list", "--json", "--sort", "loss", "--stage", "pretrain", "--home", str(tmp_path))["artifacts"]
    assert [row["scores"]["loss"] for row in rows] == [0.5, 1.0, 2.0, 3.0, None, None]


def test_a_line_that_is_being_written_is_told_once_it_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with going_on(store, steps=2) as path, path.open("ab") as file:
        row = find(store, RUNNING_KEY)
        file.write('{"step": 3, "loss": 2.5, "event": "caf\u00e9'.encode()[:-1])
        file.flush()
        told = follow(store, row, last=1)
        assert next(told).startswith("step 2 · ")
        file.write('\u00e9"}\n{"step": 4'.encode()[1:])
        file.flush()
        assert next(told) == "step 3 · loss 2.5 · event caf\u00e9"
    assert list(told) == ['{"step": 4'], "what a kill cut short is the last"


@stage(identity="shelf.talks")
def talks(ctx: Context, *, breaks: bool = False) -> None:
    say("learning \x1b[2J slowly")
    with bar("rows", total=2, unit="rows", shown=True) as progress:
        progress._start -= 60
        progress._written -= 60
        progress.advance()
    if breaks:
        raise UserError("it is enough")


def test_the_log_of_a_run_is_what_it_said(tmp_path: Path, ask: Any) -> None:
    place = Place(store=Store(tmp_path), cache=tmp_path, title="spoken")
    with pytest.raises(UserError):
        resolve(talks(breaks=True), place)
    said = ask("log", "spoken", "--home", str(tmp_path)).splitlines()
    assert said[0] == "learning \\x1b[2J slowly" and said[1].startswith("rows 50 % · 1/2 rows")
    assert said[-1] == "failed: it is enough"
    place = Place(store=place.store, cache=tmp_path, title="again")
    resolve(talks(), place)
    assert "shelf.talks: done in" in ask("log", "again", "--lines", "1", "--home", str(tmp_path))
    assert ask("log", "again", "--follow", "--home", str(tmp_path)).startswith("learning")
    resolve(talks(), place)
    assert len(list((tmp_path / "jobs").glob("*.log"))) == 2, "a run that finds all there leaves no record"
    ask("rm", "spoken", "--home", str(tmp_path))
    assert len(list((tmp_path / "jobs").glob("*.log"))) == 1


def test_words_that_cannot_be_kept_end_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path, mode: str = "r", *more: Any, **options: Any) -> Any:
        if path.suffix == ".log":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, mode, *more, **options)

    opened = Path.open
    monkeypatch.setattr(Path, "open", closed)
    resolve(talks(), Place(store=Store(tmp_path), cache=tmp_path))
