"""A failing score stops a release; only a second key that the policy names lets it through, in words on the card."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.cli.main import main
from ayllu.lab.error import UserError
from ayllu.release import sign
from ayllu.release.build import build_release
from ayllu.release.tiers.keys import made_or_read
from ayllu.release.trust.exception import make_exception
from ayllu.release.trust.policy_file import SignedPolicy, read_policy, sign_policy
from ayllu.release.verify import verify_release
from support.release import edit, seal_again, write_scores

SCORE = "bits_per_byte/everyday-english"


@pytest.fixture(scope="module")
def place(tmp_path_factory, given) -> Path:
    """A policy that the scores fail, signed before they were measured, and the keys of two people."""
    folder = tmp_path_factory.mktemp("exception")
    second = made_or_read(folder / "second.pem")
    rules = {"name": "strict", "thresholds": [{"score": SCORE, "at_most": 0.5}],
             "exceptions_by": [sign.fingerprint(second.public_key())]}  # fmt: skip
    (folder / "policy.json").write_text(json.dumps(rules))
    signed = sign_policy(folder / "policy.json", made_or_read(folder / "first.pem"))
    write_scores(folder / "scores", {"policy": signed.digests})
    return folder


def build(place: Path, given: dict, out: Path, **more: object):
    both = given | {
        "scores": place / "scores",
        "policy": read_policy(place / "policy.json"),
        "key": place / "first.pem",
    }
    return build_release(out, **{**both, **more})


def test_a_failing_score_stops_the_release_until_a_second_key_excepts_it(place, given, tmp_path, capsys) -> None:
    with pytest.raises(UserError, match="fails the policy strict"):
        build(place, given, tmp_path / "stopped")
    words = ["--scores", place / "scores" / "scores.json", "--policy", place / "policy.json"]
    words += ["--reason", "It is a test <of> 3 words.", "--key", place / "second.pem"]
    with pytest.raises(SystemExit) as end:
        main(["release", "except", SCORE, *map(str, words)])
    assert end.value.code == 0
    again = SignedPolicy.from_argument(read_policy(place / "policy.json").as_argument())
    assert again == read_policy(place / "policy.json"), "a recipe's stage is given the exception too"
    built = build(place, given, tmp_path / "release")
    page = (built.folder / "README.md").read_text().split("\n# cria\n", 1)[1].strip()
    assert page.startswith(f"**EXCEPTION: {SCORE} FAILS the release's own policy.")
    assert "It is a test ‹of› 3 words." in page.splitlines()[0]
    found = verify_release(built.folder)
    assert found.verified and found.gates["policy"] == "FAIL" and found.excepted == (SCORE,)
    assert json.loads((built.folder / "records.json").read_text())["policy"]["verdicts"][0]["verdict"] == "FAIL"


def test_other_scores_other_keys_and_passing_scores_are_not_excepted(place, tmp_path) -> None:
    scores = place / "scores" / "scores.json"
    with pytest.raises(UserError, match="does not name the key"):
        make_exception(scores, place / "policy.json", ec.generate_private_key(ec.SECP256R1()), score=SCORE, reason="x")
    second = made_or_read(place / "second.pem")
    with pytest.raises(UserError, match="does not fail"):
        make_exception(scores, place / "policy.json", second, score="bits_per_byte/other", reason="x")
    for reason in (" ", "It passes.\x1b[2K", "One.\nTwo."):
        with pytest.raises(UserError, match="will read why"):
            make_exception(scores, place / "policy.json", second, score=SCORE, reason=reason)


def test_the_stricter_of_two_thresholds_can_be_excepted_and_what_passes_cannot(place, given, tmp_path) -> None:
    second = made_or_read(place / "second.pem")
    rules = json.loads((place / "policy.json").read_text())
    rules["thresholds"].append({"score": SCORE, "at_most": 9.0})
    (tmp_path / "policy.json").write_text(json.dumps(rules))
    signed = sign_policy(tmp_path / "policy.json", made_or_read(place / "first.pem"))
    scores = write_scores(tmp_path / "scores", {"policy": signed.digests}) / "scores.json"
    make_exception(scores, tmp_path / "policy.json", second, score=SCORE, reason="x")
    more = {"scores": tmp_path / "scores", "policy": read_policy(tmp_path / "policy.json")}
    assert verify_release(build(place, given, tmp_path / "release", **more).folder).excepted == (SCORE,)
    entry = json.loads((tmp_path / "policy.exceptions").read_text())[0]
    text = entry["exception"].replace(SCORE, "sets/hellaswag/accuracy")
    bundle = sign.sign("exception", {"exception": hashlib.sha256(text.encode()).hexdigest()}, second)
    forged = [entry, entry | {"exception": text, "signature": json.loads(bundle)}]
    (tmp_path / "policy.exceptions").write_text(json.dumps(forged))
    more["policy"] = read_policy(tmp_path / "policy.json")
    with pytest.raises(UserError, match="excepts sets/hellaswag/accuracy, which does not fail the policy strict"):
        build(place, given, tmp_path / "other", **more)


def test_exceptions_nested_without_end_are_one_sentence(place, given, tmp_path) -> None:
    mine = Path(shutil.copytree(place, tmp_path / "mine"))
    (mine / "policy.exceptions").write_bytes(b"[" * 100_000)
    with pytest.raises(UserError, match=r"exception\.json"):
        build(mine, given, tmp_path / "release")


def test_an_exception_holds_for_the_evaluation_that_it_was_signed_for(place, given, tmp_path) -> None:
    second = made_or_read(place / "second.pem")
    make_exception(place / "scores" / "scores.json", place / "policy.json", second, score=SCORE, reason="x")
    write_scores(tmp_path / "scores", {"policy": read_policy(place / "policy.json").digests})
    edit(tmp_path / "scores" / "scores.json", lambda scores: scores["about"].update(note="measured again"))
    with pytest.raises(UserError, match="of another evaluation"):
        build(place, given, tmp_path / "release", scores=tmp_path / "scores")


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_holds_no_scores_or_no_exceptions_is_one_sentence(place, tmp_path, content) -> None:
    broken = tmp_path / "scores.json"
    broken.write_bytes(content)
    second = made_or_read(place / "second.pem")
    with pytest.raises(UserError, match="no scores of an evaluation"):
        make_exception(broken, place / "policy.json", second, score=SCORE, reason="x")
    mine = Path(shutil.copytree(place, tmp_path / "mine"))
    (mine / "policy.exceptions").write_bytes(content.replace(b"[]", b"{}"))
    with pytest.raises(UserError, match=r"policy\.exceptions"):
        make_exception(mine / "scores" / "scores.json", mine / "policy.json", second, score=SCORE, reason="x")
    assert (mine / "policy.exceptions").read_bytes() == content.replace(b"[]", b"{}"), "nothing is written over"


def test_a_card_that_is_silent_about_an_exception_does_not_verify(place, given, tmp_path) -> None:
    second = made_or_read(place / "second.pem")
    make_exception(place / "scores" / "scores.json", place / "policy.json", second, score=SCORE, reason="x")
    folder = build(place, given, tmp_path / "release").folder
    lines = (folder / "README.md").read_text().split("\n")
    first = next(number for number, line in enumerate(lines) if line.startswith("**EXCEPTION"))
    lines[first] = lines[first + 2] = ""
    (folder / "README.md").write_text("\n".join(lines))
    said = (first + 1, first + 3)
    edit(folder / "references.json", lambda pages: pages.update({
        "README.md": [entry for entry in pages["README.md"] if entry["line"] not in said]}))  # fmt: skip
    policy = read_policy(place / "policy.json").policy
    seal_again(folder, made_or_read(place / "first.pem"), policy)
    problems = [str(problem) for problem in verify_release(folder).problems]
    assert problems == ["README.md does not say at its top which scores were excepted, why, and by whom"]
