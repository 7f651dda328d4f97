"""The engine without Python: clean under the sanitizers, and the same bits on processors that are not here."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from ayllu.serve.engines.native import library
from support.parts import need

DRIVER = Path(__file__).parent / "driver"
X86 = "-march=x86-64-v3"
Build = Callable[..., list[str]]
"""Name and flags of a driver, and the compiler where it is another; the command that runs it."""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    need(shutil.which("gcc"), "there is no gcc")
    folder = tmp_path_factory.mktemp("driver")
    flags = [flag for flag in library.FLAGS if flag not in ("-O3", "-shared", "-fPIC")]
    source = files("ayllu.serve.engines.native") / "c"

    def made(name: str, *more: str, compiler: str = "gcc") -> list[str]:
        path = folder / name
        if not path.exists():
            asked = [*flags, "-Wall", "-Wextra", "-Werror", "-Wno-psabi", f"-I{source}", *more]
            command = [compiler, *asked, str(DRIVER / "driver.c"), "-o", str(path), "-lm", "-lpthread"]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stderr
        return [str(path)]

    return made


@pytest.fixture(scope="module")
def expected(build: Build) -> Callable[[int], str]:
    """What the plain kernel prints, by bits."""
    need(platform.machine() == "x86_64", "the plain kernel is compared on x86-64")
    plain = build("plain", "-O0", X86, "-DNATIVE_PLAIN")
    found: dict[int, str] = {}

    def of(bits: int) -> str:
        if bits not in found:
            found[bits] = run(plain, bits, threads=1, kernels="plain")
        return found[bits]

    return of


def run(command: list[str], bits: int, *, threads: int, kernels: str) -> str:
    done = subprocess.run([*command, str(bits), str(threads)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == kernels, "nothing else is said: no report of a sanitizer"
    assert "not a number" not in done.stdout
    return done.stdout


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_no_sanitizer_finds_anything(build: Build, expected: Callable[[int], str], sanitizer: str) -> None:
    driver = build(sanitizer, "-O1", "-g", X86, f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all")
    for bits in (4, 8, 16):
        assert run(driver, bits, threads=3, kernels="avx2") == expected(bits)


@pytest.mark.parametrize(("kernels", "chosen"), [("avx512-vnni", "AVX512"), ("avx-vnni", "AVXVNNI")])
def test_newer_instructions_find_the_same_bits(
    build: Build, expected: Callable[[int], str], kernels: str, chosen: str
) -> None:
    """In plain C, from SIMDe: this machine may have none of them."""
    need(Path("/usr/include/simde").is_dir(), "SIMDe is not installed (Debian: libsimde-dev)")
    driver = build(kernels, "-O0", X86, f"-DNATIVE_{chosen}", "-include", str(DRIVER / "simde.h"))
    for bits in (4, 8, 16):
        assert run(driver, bits, threads=2, kernels=kernels) == expected(bits)


def test_arm_finds_the_same_bits(build: Build, expected: Callable[[int], str]) -> None:
    compiler, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    need(compiler and emulator, "no compiler or emulator for ARM (Debian: gcc-aarch64-linux-gnu, qemu-user)")
    driver = build("neon", "-O1", "-static", "-march=armv8.2-a+dotprod", compiler=str(compiler))
    for bits in (4, 8, 16):
        found = run([str(emulator), *driver], bits, threads=2, kernels="neon-dotprod")
        assert found == expected(bits)
