"""Keys and signatures: made here, verified by an independent program, and the reverse."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from ayllu.lab.error import UserError
from ayllu.release import sign
from ayllu.release.digest import file_digests, folder_files
from ayllu.release.sign import PUBLIC_KEY
from ayllu.release.verify import verify_release
from support.parts import need
from support.release import list_again, sign_again

KEY = ec.generate_private_key(ec.SECP256R1())
DIGESTS = {"b.txt": "ab" * 32, "a/c.txt": "cd" * 32, "a.txt": "ef" * 32}


def test_a_signature_gives_back_what_was_signed():
    assert sign.signed_digests(sign.sign("cria", DIGESTS, KEY), KEY.public_key()) == DIGESTS


@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.binary(max_size=9), max_size=9)
)
def test_any_names_can_be_signed(contents):
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    assert sign.signed_digests(sign.sign("any", digests, KEY), KEY.public_key()) == digests


def test_no_byte_of_what_was_signed_can_change():
    bundle = json.loads(sign.sign("cria", DIGESTS, KEY))
    other = json.loads(sign.sign("cria", {**DIGESTS, "a.txt": "00" * 32}, KEY))
    other["dsseEnvelope"]["signatures"] = bundle["dsseEnvelope"]["signatures"]
    with pytest.raises(sign.BadSignature, match="was not made with the key"):
        sign.signed_digests(json.dumps(other), KEY.public_key())
    with pytest.raises(sign.BadSignature, match="was not made with the key"):
        sign.signed_digests(json.dumps(bundle), ec.generate_private_key(ec.SECP256R1()).public_key())
    for damaged in ("", "{}", "[]", '{"dsseEnvelope": {"payload": 3}}', "null"):
        with pytest.raises(sign.BadSignature, match="is not a Sigstore bundle"):
            sign.signed_digests(damaged, KEY.public_key())


def resigned(change) -> str:
    """A bundle of KEY's whose statement says something else."""
    import base64

    from cryptography.hazmat.primitives import hashes

    bundle = json.loads(sign.sign("cria", DIGESTS, KEY))
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    payload = change(json.dumps(statement), statement).encode()
    signature = KEY.sign(sign._pre_authentication(payload), ec.ECDSA(hashes.SHA256()))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    bundle["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode(), "keyid": ""}]
    return json.dumps(bundle)


def with_field(statement: dict, *path: str | int, value: object) -> str:
    inner = statement
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return json.dumps(statement)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text, s: text.replace('"subject": ', '"subject": [], "subject": '), "not a list of files"),
        (lambda text, s: with_field(s, "subject", value=[*s["subject"], {"name": "x", "digest": {"sha256": "0"}}]),
         "not a list of files"),
        (lambda text, s: with_field(s, "subject", value=[]), "not a list of files"),
        (lambda text, s: with_field(s, "predicate", "resources", 0, "algorithm", value="md5"), "another algorithm"),
        (lambda text, s: with_field(s, "predicateType", value="x"), "not a model in the OpenSSF format"),
    ],
)  # fmt: skip
def test_a_statement_that_programs_read_differently_is_refused_though_its_key_signed_it(change, why):
    with pytest.raises(sign.BadSignature, match=why):
        sign.signed_digests(resigned(change), KEY.public_key())
    assert sign.signed_digests(resigned(lambda text, s: text), KEY.public_key()) == DIGESTS


def test_the_signature_must_be_of_the_release_that_the_manifest_names(release):
    (release / PUBLIC_KEY).write_bytes(sign.public_pem(KEY.public_key()))
    list_again(release, PUBLIC_KEY)
    sign_again(release, KEY)
    assert verify_release(release).problems == ()
    paths = [path for path in folder_files(release) if path != sign.SIGNATURE]
    (release / sign.SIGNATURE).write_text(sign.sign("other", file_digests(release, paths), KEY))
    (problem,) = verify_release(release).problems
    assert str(problem) == "model.sig is of 'other', but manifest.json calls the release 'cria'"


def test_the_first_use_makes_a_private_key_that_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("AYLLU_HOME", str(tmp_path / "home"))
    first = sign.private_key()
    path = tmp_path / "home" / "keys" / "release-key.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]
    assert sign.fingerprint(sign.private_key().public_key()) == sign.fingerprint(first.public_key())


def test_without_ayllu_home_the_key_is_the_users(monkeypatch):
    monkeypatch.delenv("AYLLU_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert sign.default_key_path() == Path("/home/somebody/.config/ayllu/release-key.pem")


def test_keys_that_cannot_be_used_are_refused_in_one_sentence(tmp_path):
    path = tmp_path / "key.pem"
    with pytest.raises(UserError, match="cannot be read"):
        sign.private_key(path)
    path.write_text("no key")
    path.chmod(0o644)
    with pytest.raises(UserError, match="can be read by other users: run `chmod 600"):
        sign.private_key(path)
    path.chmod(0o600)
    with pytest.raises(UserError, match="no unencrypted private key"):
        sign.private_key(path)
    other = ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(
        other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with pytest.raises(UserError, match="not an elliptic-curve key on P-256"):
        sign.private_key(path)


def test_openssl_accepts_the_signature(built, tmp_path):
    """The envelope is taken apart by hand here, as DSSE 1.0.0 describes it."""
    import base64

    envelope = json.loads((built.folder / sign.SIGNATURE).read_text())["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"]
    (tmp_path / "signed").write_bytes(f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload)
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    command = ["openssl", "dgst", "-sha256", "-verify", str(built.folder / PUBLIC_KEY)]
    try:
        done = subprocess.run(
            [*command, "-signature", str(tmp_path / "signature"), str(tmp_path / "signed")],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        need(None, "openssl is not installed")
        raise
    assert done.stdout == "Verified OK\n"


@pytest.mark.slow
def test_the_independent_verifier_agrees_both_ways(release, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    # model-signing 1.1.1 imports OpenSSL without declaring it.
    packages = ["model-signing==1.1.1", "pyopenssl==26.4.0"]
    subprocess.run([tmp_path / "venv/bin/pip", "install", "-q", *packages], check=True, capture_output=True)
    command = tmp_path / "venv/bin/model_signing"

    def verifies() -> bool:
        arguments = ["verify", "key", "--signature", release / sign.SIGNATURE, "--public_key", release / PUBLIC_KEY]
        return subprocess.run([command, *arguments, release], capture_output=True, check=False).returncode == 0

    assert verifies()
    whole = (release / "README.md").read_bytes()
    (release / "README.md").write_bytes(whole + b" ")
    assert not verifies()
    (release / "README.md").write_bytes(whole)
    (release / "more.txt").write_text("more")
    assert not verifies()
    (release / "more.txt").unlink()

    key = tmp_path / "key.pem"
    key.write_bytes(
        KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (release / sign.SIGNATURE).unlink()
    (release / PUBLIC_KEY).write_bytes(sign.public_pem(KEY.public_key()))
    arguments = ["sign", "key", "--private_key", key, "--signature", release / sign.SIGNATURE]
    subprocess.run([command, *arguments, release], check=True, capture_output=True)
    signed = sign.signed_digests((release / sign.SIGNATURE).read_text(), KEY.public_key())
    assert signed["README.md"] == hashlib.sha256(whole).hexdigest()
    sign_again(release, KEY)
    assert verifies()
    problems = verify_release(release).problems
    assert [problem.file for problem in problems] == ["manifest.json"]
