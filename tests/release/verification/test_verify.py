"""Verification: every way of tampering is found, and named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ayllu.cli.release import app
from ayllu.lab.error import UserError
from ayllu.release import sign
from ayllu.release.build import build_release
from ayllu.release.files.contents import MANIFEST
from ayllu.release.sign import PUBLIC_KEY
from ayllu.release.verify import verify_release
from support.release import edit, list_again, seal_again, sign_again


def problems(folder: Path, key: Path | None = None) -> list[str]:
    return [str(problem) for problem in verify_release(folder, key).problems]


@pytest.fixture
def publisher(built, tmp_path) -> Path:
    """The publisher's public key, got from elsewhere."""
    return Path(shutil.copyfile(built.folder / PUBLIC_KEY, tmp_path / "publisher.pub"))


def test_a_sound_release_is_verified_with_and_without_the_publishers_key(built, publisher):
    for key, pinned in ((None, False), (publisher, True)):
        found = verify_release(built.folder, key)
        assert found.verified and found.pinned is pinned
        assert found.fingerprint == built.fingerprint
        assert (found.name, found.version, found.model_digest) == ("cria", "0.1.0", built.model_digest)


def flip(path: Path, place: float = 0.5) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(content)


def test_one_bit_in_any_file_is_found(release):
    for path in sorted(p for p in release.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        flip(path)
        found = problems(release)
        name = path.relative_to(release).as_posix()
        if name in (PUBLIC_KEY, sign.SIGNATURE):
            assert any(sign.SIGNATURE in problem or PUBLIC_KEY in problem for problem in found)
        else:
            assert f"{name} was changed after the release was signed" in found
        path.write_bytes(whole)
    assert problems(release) == []


def remove(folder: Path) -> None:
    (folder / "items.jsonl").unlink()


def add(folder: Path) -> None:
    (folder / "figures" / "more.py").write_text("print()")


def add_git(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("")


def link(folder: Path) -> None:
    shutil.copyfile(folder / "LICENSE", folder.parent / "licence")
    (folder / "LICENSE").unlink()
    (folder / "LICENSE").symlink_to(folder.parent / "licence")


def link_folder(folder: Path) -> None:
    (folder / "elsewhere").symlink_to("/tmp")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def swap_signature(folder: Path) -> None:
    sign_again(folder, ec.generate_private_key(ec.SECP256R1()))


def swap_key(folder: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    (folder / PUBLIC_KEY).write_bytes(sign.public_pem(other))


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (remove, "items.jsonl is missing"),
        (add, "figures/more.py was added after the release was signed"),
        (add_git, ".git/config was added after the release was signed"),
        (link, "LICENSE is a link or no regular file; a release holds files only"),
        (link_folder, "elsewhere is a link or no regular file; a release holds files only"),
        (pipe, "pipe is a link or no regular file; a release holds files only"),
        (swap_signature, "model.sig was not made with the key, or what it signs was changed"),
        (swap_key, "model.sig was not made with the key, or what it signs was changed"),
        (lambda folder: (folder / sign.SIGNATURE).unlink(), "model.sig is missing: the release is not signed"),
        (lambda folder: (folder / sign.SIGNATURE).write_text("{}"), "model.sig is not a Sigstore bundle"),
        (lambda folder: (folder / PUBLIC_KEY).unlink(), "release-key.pub is missing"),
        (
            lambda folder: (folder / PUBLIC_KEY).write_text("x"),
            "release-key.pub is damaged: the file holds no public key",
        ),
        (lambda folder: (folder / MANIFEST).unlink(), "manifest.json is missing"),
        (
            lambda folder: (folder / MANIFEST).write_text("[]"),
            "manifest.json is no manifest of a release (manifest.json holds no",
        ),
    ],
)
def test_tampering_is_named(release, harm: Callable[[Path], None], found):
    harm(release)
    assert any(problem.startswith(found) for problem in problems(release))


def test_a_forger_who_signs_again_is_found_with_the_publishers_key(release, publisher):
    (release / "README.md").write_text((release / "README.md").read_text().replace("false", "true"))
    forger = ec.generate_private_key(ec.SECP256R1())
    seal_again(release, forger)
    assert problems(release) == []
    found = problems(release, publisher)
    assert any(problem.startswith("release-key.pub is not the trusted key") for problem in found)
    shutil.copyfile(publisher, release / PUBLIC_KEY)
    assert problems(release, publisher)[0].startswith("model.sig was not made with the key")


def edit_card(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / "README.md").read_text()
        assert old in text
        (folder / "README.md").write_text(text.replace(old, new))

    return change


def insert_row(row: str, *, before: str) -> Callable[[Path], None]:
    """Puts a row into a table of the card, and moves the references of what comes after."""

    def change(folder: Path) -> None:
        lines = (folder / "README.md").read_text().split("\n")
        at = next(i for i, line in enumerate(lines) if line.startswith(before))
        (folder / "README.md").write_text("\n".join([*lines[:at], row, *lines[at:]]))

        def move(references: dict) -> None:
            for reference in references["README.md"]:
                reference["line"] += reference["line"] > at

        edit(folder / "references.json", move)

    return change


def edit_reference(old: str, new: str) -> Callable[[Path], None]:
    """Lets a number of the card say that it comes from elsewhere."""

    def change(folder: Path) -> None:
        text = (folder / "references.json").read_text()
        assert f'"{old}"' in text
        (folder / "references.json").write_text(text.replace(f'"{old}"', f'"{new}"'))

    return change


def without_licence(page: str) -> Callable[[Path], None]:
    """Takes the licence of the second source off a page."""

    def change(folder: Path) -> None:
        text = (folder / page).read_text()
        shorter = text.replace("contents CC0-1.0, database PDDL-1.0", "–")
        assert shorter != text
        (folder / page).write_text(shorter)

    return change


def edit_json(file: str, *path: str | int, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        def put(fields: dict) -> None:
            for step in path[:-1]:
                fields = fields[step]
            fields[path[-1]] = value

        edit(folder / file, put)

    return change


def better_verdict(folder: Path) -> None:
    lines = (folder / "items.jsonl").read_text().splitlines()
    wrong = next(i for i, line in enumerate(lines) if '"correct": false' in line)
    lines[wrong] = lines[wrong].replace('"correct": false', '"correct": true')
    (folder / "items.jsonl").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        (
            edit_card("| 28.3 % |", "| 82.3 % |"),
            "is not what scores.json#/sets/hellaswag/accuracy_norm/value says (0.2833)",
        ),
        (insert_row("| MMLU | 90.1 |", before="| seed |"), "the number 90.1 has no reference to the records"),
        (edit_reference("records.json#/training/seed", "records.json#/training/seeds"), "does not exist"),
        (edit_reference("records.json#/training/seed", "a place"), "references.json does not fit"),
        (
            edit_json("scores.json", "sets", "arc-easy", "accuracy", "value", value=0.9),
            "scores.json gives arc-easy accuracy_norm|scores.json contradicts the raw outcomes",
        ),
        (better_verdict, "items.jsonl contradicts the raw outcomes"),
        (
            edit_json("records.json", "model", "parameters", value=9),
            "records.json says parameters 9, but the weights have",
        ),
        (edit_json("records.json", "model", "digest", value="0"), "records.json says digest 0, but the weights have"),
        (
            edit_json("config.json", "num_hidden_layers", value=9),
            "config.json says num_hidden_layers 9",
        ),
        (
            edit_json("records.json", "model", "layers", value="2"),
            "config.json says num_hidden_layers 2",
        ),
        (
            edit_json("records.json", "model", value=[]),
            "records.json or a file that it is checked with",
        ),
        (edit_json("sources.json", "corpus", 0, "licence", value="CC-BY-NC-4.0"), "says “NC”"),
        (edit_json("generation_config.json", "eos_token_id", value=3), "generation_config.json must stop at each of"),
        (lambda folder: (folder / "LICENSE").write_text("mine"), "LICENSE is not the text of Apache-2.0"),
        (lambda folder: (folder / "LICENSE").unlink(), "LICENSE is not the text of Apache-2.0"),
        (lambda folder: (folder / "LICENSES.md").unlink(), "LICENSES.md does not give the licence of everyday-english"),
        (without_licence("LICENSES.md"), "LICENSES.md does not give the licence of books, contents CC0-1.0"),
        (without_licence("README.md"), "README.md does not give the licence of books, contents CC0-1.0"),
        (lambda folder: flip(folder / "model.safetensors", 0.9), "records.json says digest"),
    ],
)
def test_a_lie_is_found_even_when_it_is_signed(release, lie: Callable[[Path], None], found):
    lie(release)
    seal_again(release)
    said = problems(release)
    assert any(part in problem for problem in said for part in found.split("|")), said


def thinner(folder: Path) -> None:
    """Another shape, told by card, report, records and configuration alike."""
    edit_json("config.json", "intermediate_size", value=95)(folder)
    edit_json("records.json", "model", "feed_forward", value=95)(folder)
    edit_card("| 96 |", "| 95 |")(folder)
    report = folder / "TECHNICAL_REPORT.md"
    report.write_text(report.read_text().replace("| 96 |", "| 95 |"))


def test_a_consistent_lie_about_the_shape_is_found(release):
    thinner(release)
    seal_again(release)
    assert problems(release) == [
        "records.json describes another shape than that of the 43,936 parameters in the weights"
    ]


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_makes_verification_fail_with_a_traceback(built, tmp_path, data):
    """A stranger's release may hold anything, and be signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    folder = Path(shutil.copytree(built.folder, tmp_path / "strange", dirs_exist_ok=True))
    files = ("records.json", "scores.json", "sources.json", "generation_config.json", "config.json", MANIFEST)
    path = folder / data.draw(st.sampled_from(files))
    value = json.loads(path.read_text())
    place, steps = value, data.draw(st.integers(0, 5))
    for _ in range(steps):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        chosen = data.draw(st.sampled_from(keys))
        if not isinstance(place[chosen], dict | list) or not place[chosen]:
            break
        place = place[chosen]
    strange = [None, True, -1, 10**400, 1e307, float("nan"), float("inf"), "", "x", [], [[]], {}, {"a": {}}]
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    place[data.draw(st.sampled_from(keys))] = data.draw(st.sampled_from(strange))
    path.write_text(json.dumps(value))
    (folder / PUBLIC_KEY).write_bytes(sign.public_pem(key.public_key()))
    (folder / sign.SIGNATURE).unlink()
    sign_again(folder, key)
    for problem in verify_release(folder).problems:
        assert "\n" not in str(problem)


def test_deep_nesting_is_no_way_out(release):
    for file in (MANIFEST, "records.json", sign.SIGNATURE):
        whole = (release / file).read_text()
        (release / file).write_text("[" * 200_000)
        assert any(problem.startswith(file) for problem in problems(release))
        (release / file).write_text(whole)


def test_a_manifest_that_describes_something_else_is_found(release):
    key = ec.generate_private_key(ec.SECP256R1())
    seal_again(release, key)
    edit(release / MANIFEST, lambda manifest: manifest.update(version="9.9"))
    sign_again(release, key)
    assert problems(release) == ["manifest.json says version 9.9, but the records give 0.1.0"]
    edit(release / MANIFEST, lambda manifest: manifest["policy"].update(permitted_licences=["CC-BY-NC-4.0"]))
    sign_again(release, key)
    assert "do not give its sha256" in problems(release)[0]
    edit(release / MANIFEST, lambda manifest: manifest["files"]["LICENSE"].update(sha256="00"))
    sign_again(release, key)
    assert problems(release) == ["manifest.json does not describe LICENSE as it is"]


def test_without_a_signature_the_manifest_still_tells_what_changed(release):
    (release / sign.SIGNATURE).unlink()
    flip(release / "LICENSE")
    assert "LICENSE was changed after the release was signed" in problems(release)
    list_again(release, "LICENSE")
    assert problems(release) == ["model.sig is missing: the release is not signed"]


def test_what_is_no_release_is_a_users_error(tmp_path, built):
    with pytest.raises(UserError, match="is no release"):
        verify_release(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")  # as every result has one
    (tmp_path / "release").symlink_to(built.folder)
    with pytest.raises(UserError, match=r"the result of a run, which holds its release: give .*/release$"):
        verify_release(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        verify_release(built.folder, tmp_path / "nowhere.pub")
    (tmp_path / "x.pub").write_text("x")
    with pytest.raises(UserError, match="holds no public key"):
        verify_release(built.folder, tmp_path / "x.pub")


def command(*arguments: object) -> int:
    return app(["verify", *map(str, arguments)], result_action="return_value")


def test_the_command_says_what_the_signature_proves(built, publisher, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AYLLU_HOME", str(tmp_path / "home"))  # one that has verified nothing yet
    assert command(built.folder) == 0
    said = capsys.readouterr().out
    assert "cria 0.1.0 is verified: 30 files" in said
    assert built.fingerprint in said and "anyone could have signed" in said
    assert command(built.folder, "--key", publisher) == 0
    assert "anyone" not in capsys.readouterr().out


def test_the_command_names_the_file_and_ends_with_one(release, publisher, capsys):
    flip(release / "tokenizer.json")
    assert command(release, "--key", publisher) == 1
    assert capsys.readouterr().out.splitlines()[0] == "tokenizer.json was changed after the release was signed"
    assert command(release, "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert said["verified"] is False and said["key_trusted"] is False
    assert said["problems"] == [{"file": "tokenizer.json", "reason": "was changed after the release was signed"}]
    with pytest.raises(UserError, match="is no folder"):
        command(release / "nowhere")


def test_verification_needs_neither_torch_nor_a_network(built):
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise OSError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from pathlib import Path\n"
        "from ayllu.release.verify import verify_release\n"
        "assert verify_release(Path(sys.argv[1])).verified\n"
    )
    subprocess.run([sys.executable, "-c", code, built.folder], check=True)


def test_a_moved_release_is_the_same_release(release, tmp_path):
    moved = release.rename(tmp_path / "another name")
    assert verify_release(moved).verified


def test_the_users_own_key_signs_by_default(given, built, home, tmp_path):
    again = build_release(tmp_path / "again", **given)
    assert again.fingerprint == built.fingerprint
    assert (home / "keys" / "release-key.pem").is_file()
    assert b"PRIVATE" not in b"".join(p.read_bytes() for p in again.folder.rglob("*") if p.is_file())
