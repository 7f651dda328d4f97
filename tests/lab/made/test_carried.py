"""Libraries that a wheel carries: the best one that fits this machine, and none that does not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ayllu.lab.error import UserError
from ayllu.lab.made import c_library, families
from ayllu.lab.made.families import FAMILIES
from ayllu.lab.made.kept import is_whole, keep
from ayllu.serve.engines.native import library
from support.parts import need

SKYLAKE = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8175M CPU @ 2.50GHz
flags\t\t: fpu sse sse2 ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt aes xsave avx f16c rdrand abm bmi1 avx2 bmi2 \
avx512f avx512dq avx512cd avx512bw avx512vl
"""
ZEN5 = SKYLAKE.replace("avx512vl", "avx512vl avx512_vnni avx512_bf16")
ICE_LAKE = SKYLAKE.replace("avx512vl", "avx512vl avx512_vnni")
OLDER = SKYLAKE.replace("avx2 ", "")
GRAVITON = """processor\t: 0
BogoMIPS\t: 243.75
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
"""


@pytest.mark.parametrize(
    ("told", "machine", "best"),
    [
        (ZEN5, "x86_64", "avx512bf16"),
        (ICE_LAKE, "x86_64", "avx512vnni"),
        (SKYLAKE, "x86_64", "avx2"),
        (OLDER, "x86_64", None),
        (GRAVITON, "aarch64", "dotprod"),
        (GRAVITON.replace("asimddp", ""), "aarch64", None),
        ("", "x86_64", None),
    ],
)
def test_each_processor_has_the_best_of_its_families(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, machine: str, best: str | None
) -> None:
    (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(families, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert next((family.name for family in FAMILIES if family.fits()), None) == best


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a wheel carries for this processor."""
    own = [family for family in FAMILIES if family.fits()]
    need(bool(own), "no family has this processor")
    command = c_library.compiler()
    need(command is not None, "there is no C compiler")
    assert command is not None
    folder = tmp_path_factory.mktemp("carried")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(c_library, "CARRIED", folder)
        for family in (own[0], own[-1]):
            c_library.carry(library.CODE, family, command)
    yield folder


@pytest.fixture
def carried(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, on a machine without a compiler."""
    folder = tmp_path / "carried"
    shutil.copytree(made, folder)
    monkeypatch.setattr(c_library, "CARRIED", folder)
    monkeypatch.setattr(c_library, "COMPILERS", ("no-such-compiler",))
    monkeypatch.delenv("CC", raising=False)
    return folder


def of_the_best(folder: Path) -> list[Path]:
    names = [family.name for family in FAMILIES]
    return sorted(folder.glob("*.so"), key=lambda file: names.index(file.name.split("-")[1]))


def test_without_a_compiler_the_engine_runs_by_what_the_wheel_brought(carried: Path, tmp_path: Path) -> None:
    assert library.compiled(cache=tmp_path / "cache") == of_the_best(carried)[0]
    assert not (tmp_path / "cache").exists()
    for file in of_the_best(carried):
        opened = library.opened(file)
        assert all(opened.native_selftest(bits, 2) for bits in (4, 8, 16)), file.name


def test_what_cannot_be_opened_here_or_is_cut_short_is_passed_over(carried: Path, tmp_path: Path) -> None:
    best, *others = of_the_best(carried)
    (tmp_path / "newer").write_bytes(b"for a newer C library")
    keep(tmp_path / "newer", best)
    for other in others:
        assert library.compiled(cache=tmp_path / "cache") == other
        (tmp_path / "cut").write_bytes(other.read_bytes()[:-100])
        # A file of its own: who cuts one that is open takes its memory away, and this process dies when it ends.
        (tmp_path / "cut").replace(other)
    with pytest.raises(UserError, match="there is no C compiler here"):
        library.compiled(cache=tmp_path / "cache")


def test_what_was_made_of_other_code_is_not_taken(carried: Path, tmp_path: Path) -> None:
    assert of_the_best(carried)
    for other in (replace(library.CODE, flags=(*library.FLAGS, "-DOTHER")), replace(library.CODE, name="other")):
        with pytest.raises(UserError, match="there is no C compiler here"):
            c_library.compiled(other, ("-march=native",), tmp_path / "cache")
    with pytest.raises(UserError, match="there is no C compiler here"):
        library.compiled(flags=("-O0",), cache=tmp_path / "cache")


def test_who_has_a_library_open_keeps_it_when_it_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "kept.so").write_bytes(b"the old one")
    (tmp_path / "new" / "made.so").write_bytes(b"new")
    with (tmp_path / "kept.so").open("rb") as opened:
        keep(tmp_path / "new" / "made.so", tmp_path / "kept.so")
        assert opened.read() == b"the old one"
    assert is_whole(tmp_path / "kept.so")
