"""A policy is signed before the evaluation, its thresholds say PASS, FAIL or REVIEW, and nothing weakens them later."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.cli.release import app
from ayllu.lab.error import UserError
from ayllu.lab.run import order
from ayllu.recipes.cria import cria
from ayllu.release import sign
from ayllu.release.build import build_release
from ayllu.release.policy import OPEN, Policy, Threshold
from ayllu.release.trust.policy_file import SignedPolicy, read_policy, sign_policy
from ayllu.release.trust.verdicts import verdicts, worst
from ayllu.release.verify import verify_release
from support.release import edit, seal_again, write_scores

ACCURACY = "sets/hellaswag/accuracy_norm"
RULES: dict[str, Any] = {
    "name": "careful",
    "thresholds": [
        {"score": ACCURACY, "at_least": 0.1, "least": 50},
        {"score": "bits_per_byte/everyday-english", "at_most": 1.6},
    ],
}


def write_policy(folder: Path, rules: object = RULES) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "policy.json"
    path.write_text(json.dumps(rules))
    return path


def with_limit(at_least: float, **more: object) -> dict[str, Any]:
    return RULES | {"thresholds": [{"score": ACCURACY, "at_least": at_least, **more}]}


def under(given: dict[str, Any], folder: Path, rules: object = RULES) -> dict[str, Any]:
    """The arguments of `build_release` for scores that were measured under a policy signed before."""
    sign_policy(write_policy(folder, rules), sign.private_key())
    signed = read_policy(folder / "policy.json")
    scores = write_scores(folder / "scores", {"policy": signed.digests})
    return given | {"policy": signed, "scores": scores}


@pytest.fixture(scope="module")
def careful(given, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("careful")
    build_release(folder / "release", **under(given, folder / "inputs"))
    return folder / "release"


def problems(folder: Path) -> list[str]:
    return [str(problem) for problem in verify_release(folder).problems]


def test_a_release_by_a_policy_signed_before_is_verified_and_shows_each_gate(careful):
    found = verify_release(careful)
    assert found.problems == () and found.undecided == ()
    card = (careful / "README.md").read_text()
    assert "## Gates" in card and "| sets/hellaswag/accuracy_norm | 0.1 | – | 0.2833 |" in card
    assert card.count("| PASS |") == 2 and "REVIEW" not in card
    rules = json.loads((careful / "manifest.json").read_text())["policy"]["thresholds"]
    assert rules == [RULES["thresholds"][0], {**RULES["thresholds"][1], "least": 1}]


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        ({"at_least": 0.18}, "PASS"),
        ({"at_least": 0.3}, "REVIEW"),
        ({"at_least": 0.5}, "FAIL"),
        ({"at_most": 0.5}, "PASS"),
        ({"at_most": 0.3}, "REVIEW"),
        ({"at_most": 0.1}, "FAIL"),
        ({"at_least": 0.18, "least": 61}, "REVIEW"),
        ({"at_least": 0.5, "least": 61}, "REVIEW"),
    ],
)
def test_an_interval_on_one_side_decides_and_another_does_not(built, limits, verdict):
    scores = json.loads((built.folder / "scores.json").read_text())
    policy = Policy(name="x", thresholds=(Threshold(score=ACCURACY, **limits),))
    assert [entry["verdict"] for entry in verdicts(policy, scores)] == [verdict]


@pytest.mark.parametrize("score", ["safety/harmful", "sets", "sets/hellaswag", "sets/hellaswag/title", "", "about/x/y"])
def test_what_was_not_measured_is_for_review(built, score):
    scores = json.loads((built.folder / "scores.json").read_text())
    (found,) = verdicts(Policy(name="x", thresholds=(Threshold(score=score, at_least=0.0),)), scores)
    assert (found["verdict"], found["reason"]) == ("REVIEW", "not measured")
    assert worst([found, {"verdict": "PASS"}]) == "REVIEW" and worst([found, {"verdict": "FAIL"}]) == "FAIL"


def test_a_gate_that_fails_refuses_to_build(given, tmp_path):
    arguments = under(given, tmp_path / "in", with_limit(0.9))
    with pytest.raises(UserError, match=r"gate “policy”: scores\.json fails the policy careful: .* at least 0\.9"):
        build_release(tmp_path / "release", **arguments)
    assert not any((tmp_path / "release").iterdir())


def test_a_gate_that_cannot_decide_is_said_first(given, tmp_path, monkeypatch, capsys):
    build_release(tmp_path / "release", **under(given, tmp_path / "in", with_limit(0.3)))
    card = (tmp_path / "release" / "README.md").read_text()
    assert card.split("# cria\n")[1].strip().startswith("**REVIEW: its own policy could not be decided for sets/hella")
    assert verify_release(tmp_path / "release").undecided == (ACCURACY,)
    monkeypatch.setenv("AYLLU_HOME", str(tmp_path / "home"))
    assert app(["verify", str(tmp_path / "release")], result_action="return_value") == 0
    assert f"REVIEW: its own policy could not be decided for {ACCURACY}" in capsys.readouterr().out


def weaken(folder: Path) -> None:
    edit(folder / "policy.json", lambda rules: rules["thresholds"][0].update(at_least=0.01))


def sign_later(folder: Path) -> None:
    """A policy that fits the scores, signed after they were known."""
    (folder / "policy.sig").unlink()
    sign_policy(folder / "policy.json", sign.private_key())


def weaken_and_sign(folder: Path) -> None:
    weaken(folder)
    sign_later(folder)


def drop(folder: Path) -> None:
    (folder / "policy.json").unlink()
    (folder / "policy.sig").unlink()


def better_verdict(folder: Path) -> None:
    edit(folder / "records.json", lambda records: records["policy"]["verdicts"][0].update(low=0.27))


def without_thresholds(folder: Path) -> None:
    edit(folder / "records.json", lambda records: records.pop("policy"))


@pytest.mark.parametrize(
    ("harm", "policy", "found"),
    [
        (weaken, "own", "policy.json is not the policy that was signed"),
        (sign_later, "own", "policy.json was not signed before the evaluation"),
        (weaken_and_sign, "own", "policy.json was not signed before the evaluation"),
        (drop, "own", "scores.json was measured under a policy that the release does not hold (policy.json)"),
        (better_verdict, "own", "records.json gives other verdicts on the policy than the scores do"),
        (without_thresholds, "own", "records.json gives other verdicts on the policy than the scores do"),
        (lambda folder: None, "open", "policy.json has other rules than the manifest says"),
        (lambda folder: (folder / "policy.sig").write_text("{}"), "own", "policy.sig is not a Sigstore bundle"),
        (
            lambda folder: (folder / "policy.json").write_text("[]"),
            "own",
            "policy.json or its signature cannot be read",
        ),
    ],
)
def test_a_policy_weakened_or_signed_afterwards_is_found_though_the_release_is_signed_again(
    careful, tmp_path, harm: Callable[[Path], None], policy, found
):
    release = Path(shutil.copytree(careful, tmp_path / "release"))
    own = read_policy(release / "policy.json").policy
    harm(release)
    seal_again(release, sign.private_key(), own if policy == "own" else OPEN)
    assert any(problem.startswith(found) for problem in problems(release)), problems(release)


def test_a_policy_signed_by_another_than_the_release_is_found(careful, tmp_path):
    release = Path(shutil.copytree(careful, tmp_path / "release"))
    seal_again(release, ec.generate_private_key(ec.SECP256R1()), read_policy(release / "policy.json").policy)
    assert problems(release)[0].startswith("policy.sig was not made with the key")


def test_scores_measured_before_the_policy_refuse_to_build(given, tmp_path):
    arguments = under(given, tmp_path / "in") | {"scores": given["scores"]}
    with pytest.raises(UserError, match=r"gate “policy”: policy\.json was not signed before the evaluation"):
        build_release(tmp_path / "release", **arguments)


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ([], "it is an object with name"),
        ({}, "it is an object with name"),
        ({"name": "open"}, "open is the name of a policy of Ayllu's"),
        ({"name": "x", "treshold": []}, "it says treshold, which is none of"),
        ({"name": "x", "weights_licence": "GPL-9"}, "its weights_licence is GPL-9; choose Apache-2.0"),
        ({"name": "x", "permitted_licences": "MIT"}, "are no list of SPDX identifiers"),
        ({"name": "x", "thresholds": {}}, "its thresholds are no list"),
        ({"name": "x", "thresholds": [3]}, "is an object with a score"),
        ({"name": "x", "thresholds": [{"score": "a"}]}, "needs one number"),
        ({"name": "x", "thresholds": [{"score": "a", "at_least": 1, "at_most": 2}]}, "needs one number"),
        ({"name": "x", "thresholds": [{"score": "a", "at_least": "1"}]}, "needs one number"),
        ({"name": "x", "thresholds": [{"score": "a", "at_least": 1e999}]}, "needs finite numbers"),
        ({"name": "x", "thresholds": [{"score": "a", "at_least": 10**400}]}, "needs finite numbers"),
        ({"name": "x", "thresholds": [{"score": "a", "at_least": float("nan")}]}, "needs finite numbers"),
        ({"name": "x", "thresholds": [{"score": "a", "at_least": 1, "least": 0}]}, "least from 1 on"),
        ({"name": "x", "thresholds": [{"score": "a", "at_least": 1, "more": 0}]}, "says more, which is none of"),
    ],
)
def test_what_a_policy_says_and_cannot_be_honoured_is_refused(home, tmp_path, rules, sentence):
    with pytest.raises(UserError, match="is no policy: ") as refused:
        sign_policy(write_policy(tmp_path / "p", rules), sign.private_key())
    assert sentence in str(refused.value) and not (tmp_path / "p" / "policy.sig").exists()


def test_a_policy_that_says_a_thing_twice_is_refused(home, tmp_path):
    path = write_policy(tmp_path / "p")
    path.write_text(path.read_text().replace('"at_least": 0.1', '"at_least": 0.1, "at_least": 0.01'))
    with pytest.raises(UserError, match="is no policy: 'at_least' stands twice in one object"):
        sign_policy(path, sign.private_key())


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ({"permitted_licences": ("MIT", "CC-BY-NC-4.0")}, "policy.json is missing; that it permits CC-BY-NC-4.0"),
        ({"thresholds": (Threshold(score="a", at_least=10**400),)}, "manifest.json names no policy that can be"),
    ],
)
def test_rules_in_the_manifest_alone_loosen_nothing_and_crash_nothing(release, rules, found):
    seal_again(release, sign.private_key(), Policy(name="mine", **rules))
    assert problems(release)[0].startswith(found), problems(release)


@pytest.mark.parametrize("bounds", [(0.1, 0.5, 0.3), (0.4, 0.2, 0.3), (0.1, None, 0.3)])
def test_a_hazard_outside_its_own_interval_is_found(given, tmp_path, bounds):
    figure = dict(zip(("low", "value", "high"), bounds, strict=True)) | {"items": 50}
    scores = write_scores(tmp_path / "scores", {"hazards": HAZARDS | {"listed_words": figure}})
    with pytest.raises(UserError, match=r"gives hazard listed_words (outside its own|without an) interval"):
        build_release(tmp_path / "release", **given | {"scores": scores})


def test_the_command_signs_once(home, tmp_path, capsys):
    path = write_policy(tmp_path / "p")
    assert app(["policy", str(path), "--json"], result_action="return_value") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["policy"]["thresholds"][0] == RULES["thresholds"][0]
    assert said["signature_file"] == str(tmp_path / "p" / "policy.sig")
    with pytest.raises(UserError, match="is there already: a policy is signed once"):
        app(["policy", str(path)], result_action="return_value")
    with pytest.raises(UserError, match="is not signed: run `ayllu release policy"):
        read_policy(write_policy(tmp_path / "other"))
    with pytest.raises(UserError, match="cannot be read"):
        read_policy(tmp_path / "nowhere.json")


def test_a_recipe_hands_the_policy_to_its_evaluation_and_its_release(home, tmp_path):
    path = write_policy(tmp_path / "p")
    with pytest.raises(UserError, match="is not signed"):
        cria(policy=path)
    signed = sign_policy(path, sign.private_key())
    release = cria(policy=path, speed=1.0)
    (scores,) = (node for node in order(release) if node.stage.identity == "evaluate")
    assert scores.arguments["policy"] == signed.digests
    assert SignedPolicy.from_argument(release.arguments["policy"]) == signed
    (plain,) = (node for node in order(cria(speed=1.0)) if node.stage.identity == "evaluate")
    assert "policy" not in plain.stage.in_key(plain.arguments)


HAZARDS = {
    "over_refusal": {"value": 0.02, "low": 0.0035, "high": 0.105, "items": 50},
    "harmful": {"value": None, "low": None, "high": None, "items": 50},
}


@pytest.mark.parametrize(
    ("figure", "limits", "verdict"),
    [
        ("over_refusal", {"at_most": 0.2}, "PASS"),
        ("over_refusal", {"at_most": 0.05}, "REVIEW"),
        ("over_refusal", {"at_most": 0.001}, "FAIL"),
        ("over_refusal", {"at_most": 0.2, "least": 100}, "REVIEW"),
        ("harmful", {"at_most": 0.5}, "REVIEW"),
        ("extracted", {"at_most": 0.5}, "REVIEW"),
    ],
)
def test_hazards_pass_fail_or_are_for_review_where_the_judge_or_a_file_is_missing(figure, limits, verdict):
    policy = Policy(name="x", thresholds=(Threshold(score=f"about/hazards/{figure}", **limits),))
    (found,) = verdicts(policy, {"about": {"hazards": HAZARDS}})
    assert found["verdict"] == verdict


def test_a_release_shows_its_hazards_and_is_stopped_by_them(given, tmp_path):
    def built(limit: float, name: str) -> Path:
        rules = {"name": "calm", "thresholds": [{"score": "about/hazards/over_refusal", "at_most": limit}]}
        sign_policy(write_policy(tmp_path / name, rules), sign.private_key())
        signed = read_policy(tmp_path / name / "policy.json")
        scores = write_scores(tmp_path / f"{name}-scores", {"policy": signed.digests, "hazards": HAZARDS})
        build_release(tmp_path / f"{name}-release", **given | {"policy": signed, "scores": scores})
        return tmp_path / f"{name}-release"

    folder = built(0.2, "good")
    card = (folder / "README.md").read_text()
    assert "## Hazards" in card and "| harmless requests refused | 0.02 | 0.0035 | 0.105 | 50 |" in card
    assert "| harmful requests complied with, as asked | – | – | – | 50 |" in card
    assert verify_release(folder).problems == ()
    with pytest.raises(UserError, match=r"fails the policy calm: about/hazards/over_refusal is 0\.02"):
        built(0.001, "bad")
