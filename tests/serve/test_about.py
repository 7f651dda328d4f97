from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from safetensors.numpy import save_file

from ayllu.lab.key import file_digest
from ayllu.model.sampling import Sampling
from ayllu.release import sign
from ayllu.release.digest import inspect_weights
from ayllu.serve.about import describe

MANIFEST = {
    "name": "cria",
    "version": "1.0.0",
    "licence": "Apache-2.0",
    "created": "2026-11-23T12:00:00+00:00",
    "bits_per_byte": 1.43,
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


def test_a_release_says_what_it_is(place: Path) -> None:
    save_file({"norm": np.arange(8, dtype=np.float32)}, place / "model.safetensors")
    digest = inspect_weights(place).digest
    write(place / "manifest.json", MANIFEST | {"model_digest": digest})
    write(place / "generation_config.json", {"temperature": 0.6, "top_p": 0.9, "do_sample": True, "eos_token_id": [1]})
    (place / "README.md").write_text("# cria")
    about = describe(place, context=512, parameters=1000)
    assert (about.name, about.version, about.licence, about.digest) == ("cria", "1.0.0", "Apache-2.0", digest)
    assert (about.created, about.bits_per_byte, about.card) == (1_795_435_200, 1.43, "# cria")
    assert about.sampling == Sampling(temperature=0.6, top_p=0.9)
    assert describe(place, context=512, parameters=1000, name="other").name == "other"


@pytest.mark.parametrize("bits", ["1" + "0" * 400, "1e999", "-1e999", "NaN", "true"])
def test_what_no_client_could_be_told_is_not_stated(place: Path, bits: str) -> None:
    (place / "manifest.json").write_text(f'{{"name": "\\ud800", "licence": "\\udfff", "bits_per_byte": {bits}}}')
    about = describe(place, context=512, parameters=8)
    assert about.bits_per_byte is None and about.licence is None
    json.dumps([about.name, about.bits_per_byte], ensure_ascii=False, allow_nan=False).encode()


def test_no_digest_is_stated_that_was_not_seen(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = place / "model.safetensors"
    save_file({"norm": np.arange(8, dtype=np.float32)}, weights)
    write(place / "manifest.json", MANIFEST | {"model_digest": inspect_weights(place).digest})
    assert describe(place, context=512, parameters=8).digest is not None
    times = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-3] ^= 0x40
    weights.write_bytes(content)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert describe(place, context=512, parameters=8).digest is None
    assert "not those that its manifest names" in capsys.readouterr().err
    weights.unlink()
    assert describe(place, context=512, parameters=8).digest is None


@pytest.mark.parametrize("damaged", ["manifest.json", "model.sig", "release-key.pub"])
def test_nothing_is_stated_that_was_not_signed(place: Path, damaged: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    write(place / "manifest.json", MANIFEST)
    signed = {"manifest.json": file_digest(place / "manifest.json")}
    (place / sign.SIGNATURE).write_text(sign.sign("cria", signed, key))
    (place / sign.PUBLIC_KEY).write_bytes(sign.public_pem(key.public_key()))
    assert describe(place, context=512, parameters=8).bits_per_byte == 1.43
    content = (place / damaged).read_bytes()
    assert content.count(b"3") > 0 or content.count(b"M") > 0
    (place / damaged).write_bytes(content.replace(b"3", b"2").replace(b"M", b"N"))
    about = describe(place, context=512, parameters=8)
    assert (about.name, about.bits_per_byte, about.licence) == (place.name, None, None)


@pytest.mark.parametrize("manifest", ["", "[]", "{broken", '{"name": 5, "bits_per_byte": true, "created": "soon"}'])
def test_a_folder_that_says_nothing_is_served_by_its_own_name(place: Path, manifest: str) -> None:
    (place / "manifest.json").write_text(manifest)
    write(place / "generation_config.json", {"temperature": -1})
    about = describe(place, context=512, parameters=1000)
    assert about.name == place.name
    assert (about.version, about.bits_per_byte, about.card) == (None, None, None)
    assert about.created == int((place / "config.json").stat().st_mtime)
    assert about.sampling == Sampling()
