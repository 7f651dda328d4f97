"""The native engine as callers see it: the model's own answers, alone and together, and what ends them."""

from __future__ import annotations

import queue
import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import torch

from ayllu.lab.error import UserError
from ayllu.lab.made import c_library
from ayllu.model.files import hf
from ayllu.model.generate import pick
from ayllu.model.sampling import Sampling
from ayllu.serve.engines.choose import open_engine
from ayllu.serve.engines.engine import GenerationRequest, TextChunk
from ayllu.serve.engines.native import engine as native
from ayllu.serve.engines.native import library, weights
from ayllu.serve.engines.native.engine import NativeEngine
from ayllu.serve.engines.native.scheduler import Answer
from ayllu.serve.engines.native.weights import NativeModel, packed
from support.models import TINY, WIDER, save_tiny_model
from support.parts import need
from support.serving.native import Make
from support.serving.server import serving

GREEDY = Sampling(temperature=0.0)


@pytest.fixture(scope="module")
def engine(tied: Path, cache: Path) -> Iterator[NativeEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AYLLU_CACHE", str(cache))
        engine = NativeEngine(tied, bits=16, threads=2)
        yield engine
        engine.close()


def answer(engine: NativeEngine, request: GenerationRequest) -> list[TextChunk]:
    return list(engine.generate(request, threading.Event()))


def text(chunks: list[TextChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


@pytest.mark.parametrize("beginning", ["The ", "Water falls on the stone, and the stone"])
def test_it_says_what_the_model_says(engine: NativeEngine, tied: Path, beginning: str) -> None:
    model, tokenizer = hf.load(tied).eval(), engine.tokenizer
    ids = [tokenizer.bos, *tokenizer.encode(beginning)]
    found = answer(engine, GenerationRequest(prompt=ids, max_tokens=12, sampling=GREEDY))
    said: list[int] = []
    for _ in range(12):
        with torch.no_grad():
            logits = model(torch.tensor([ids + said]))[0, -1]
        best = logits.topk(2)
        if float(best.values[0] - best.values[1]) < 0.02 * float(logits.std()):
            break  # rounding may decide
        if int(best.indices[0]) in tokenizer.stops:
            break
        said.append(int(best.indices[0]))
    assert said and text(found).startswith(tokenizer.decode(said).rstrip("\ufffd"))
    assert found[-1].finish_reason in ("stop", "length")
    assert all(chunk.finish_reason is None for chunk in found[:-1])


def test_answers_are_the_same_alone_and_together_and_from_the_cache(engine: NativeEngine) -> None:
    """With seeds too: what an answer is depends on its request alone."""
    bos, encode = engine.tokenizer.bos, engine.tokenizer.encode
    requests = [
        GenerationRequest(
            prompt=[bos, *encode("The river and the stone. " * (3 + number % 3))],
            max_tokens=20 + number,
            sampling=Sampling(temperature=1.0, seed=number, repetition_penalty=1.1 if number % 2 else 1.0),
        )
        for number in range(10)
    ]
    alone = [answer(engine, request) for request in requests]
    together: dict[int, list[TextChunk]] = {}

    def ask(number: int) -> None:
        together[number] = answer(engine, requests[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for number, chunks in enumerate(alone):
        assert text(together[number]) == text(chunks)
        assert together[number][-1] == chunks[-1]
    assert len({text(chunks) for chunks in alone}) > 5


def test_a_prompt_is_read_in_pieces_while_others_are_answered(
    engine: NativeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step has at most a piece of prompts, and a token of everybody who is answered."""
    steps: list[tuple[int, int]] = []
    inner = engine.model.step

    def step(rows: list[object], wanted: list[int]) -> None:
        steps.append((len(rows), len(wanted)))
        inner(rows, wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.model, "step", step)
    monkeypatch.setattr("ayllu.serve.engines.native.scheduler.ALONE", 80)
    chunks = answer(engine, GenerationRequest(prompt=[5, 6, 7] * 60, max_tokens=2, sampling=GREEDY))
    assert [count for count, _ in steps[:3]] == [80, 80, 20]
    assert [wanted for _, wanted in steps[:3]] == [0, 0, 1]
    assert [chunk.text for chunk in chunks[:2]] == ["", ""]
    steps.clear()
    answer(engine, GenerationRequest(prompt=[5, 6, 7] * 60, max_tokens=1, sampling=GREEDY))
    assert steps == [(180 - 160, 1)], "five full pages were there"


def test_leaving_ends_the_computing(engine: NativeEngine) -> None:
    cancelled = threading.Event()
    chunks = engine.generate(GenerationRequest(prompt=[3], max_tokens=200, sampling=GREEDY), cancelled)
    next(chunks)
    cancelled.set()
    assert len(list(chunks)) < 150
    free = engine._scheduler._pool.available
    waiting = engine.generate(GenerationRequest(prompt=[4], max_tokens=100, sampling=GREEDY), threading.Event())
    next(waiting)
    waiting.close()  # type: ignore[attr-defined]
    answer(engine, GenerationRequest(prompt=[9], max_tokens=1, sampling=GREEDY))
    assert engine._scheduler._pool.available == free


def test_the_context_is_the_end_and_a_longer_prompt_is_refused(engine: NativeEngine) -> None:
    full = GenerationRequest(prompt=[5] * (engine.context - 3), max_tokens=50, sampling=GREEDY)
    chunks = answer(engine, full)
    assert sum(chunk.tokens for chunk in chunks) <= 3
    with pytest.raises(ValueError, match="the context holds"):
        answer(engine, GenerationRequest(prompt=[5] * (engine.context + 1), max_tokens=1))


def test_a_failing_step_ends_the_answers_and_not_the_engine(
    engine: NativeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a cosmic ray")

    with monkeypatch.context() as patch:
        patch.setattr(engine.model, "step", fail)
        with pytest.raises(RuntimeError, match="cosmic"):
            answer(engine, GenerationRequest(prompt=[5], max_tokens=3))
    assert answer(engine, GenerationRequest(prompt=[5], max_tokens=3, sampling=GREEDY))[-1].finish_reason


def draws(model: NativeModel, logits: np.ndarray, sampling: Sampling, seen: list[int], count: int) -> Counter[int]:
    """What the engine draws from `logits` in so many tries."""
    asked = Answer(
        ids=seen,
        prompt=1,
        most=1,
        sampling=sampling,
        stops=frozenset(),
        cancelled=threading.Event(),
        arrived=queue.SimpleQueue(),
    )
    asked.chance.seed(0)
    model._logits_NV = np.zeros((1, max(len(logits), model._logits_NV.shape[1])), dtype=np.float32)
    found: Counter[int] = Counter()
    for _ in range(count):
        model._logits_NV[0, : len(logits)] = logits
        found[model.pick(0, asked)] += 1
    return found


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.0, top_p=1.0),
        Sampling(temperature=0.7, top_p=0.8),
        Sampling(temperature=1.3, top_k=7, top_p=0.9),
        Sampling(temperature=1.0, top_p=1e-30),
        Sampling(temperature=0.9, top_p=0.95, repetition_penalty=1.5),
        Sampling(temperature=1.2, top_p=1.0, min_p=0.1),
        Sampling(temperature=1.2, top_p=0.9, top_k=40, min_p=0.05),
        Sampling(temperature=1.0, top_p=0.9, presence_penalty=1.0, frequency_penalty=0.5, logit_bias={5: 3.0, 9: 8.0}),
    ],
)
def test_draws_follow_the_distribution_that_the_other_engine_draws_from(
    make: Make, tied: Path, sampling: Sampling
) -> None:
    """Ids and shares of `ayllu.model.generate.pick`, of 4,000 draws each."""
    logits = torch.randn(600, generator=torch.Generator().manual_seed(3)) * 2.5
    seen = [int(logits.argmax()), 5]
    ours = draws(make(tied), logits.numpy(), sampling, seen, 4000)
    generator = torch.Generator().manual_seed(1)
    theirs = Counter(pick(logits, seen, sampling, generator, prompt=1) for _ in range(4000))
    for token in {*ours, *theirs}:
        share = theirs[token] / 4000
        assert abs(ours[token] / 4000 - share) < 0.006 + 4 * (share * (1 - share) / 2000) ** 0.5
    if sampling.top_k or sampling.top_p < 0.9:
        assert set(ours) <= set(theirs) or len(theirs) > 20


def test_the_likeliest_is_taken_at_temperature_0_and_seen_ids_count_once(make: Make, tied: Path) -> None:
    model = make(tied)
    logits = np.full(600, -1.0, dtype=np.float32)
    logits[[7, 9]] = 3.0, 2.0
    assert draws(model, logits, GREEDY, [], 3) == {7: 3}
    twice = Sampling(temperature=0.0, repetition_penalty=1.4)
    assert draws(model, logits, twice, [7, 7, 7], 1) == {7: 1}, "divided once, not three times"
    assert draws(model, logits, Sampling(temperature=0.0, repetition_penalty=1.6), [7, 7, 7], 1) == {9: 1}


def test_what_cannot_be_served_is_told(tmp_path: Path, tied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"8 wide.*another engine"):
        NativeEngine(save_tiny_model(tmp_path / "narrow", TINY))
    with pytest.raises(UserError, match="bits is 5"):
        NativeEngine(tied, bits=5)
    monkeypatch.setenv("AYLLU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CC", "false")
    library.library.cache_clear()
    monkeypatch.setattr(weights, "library", library.library)
    with pytest.raises(UserError, match="cannot compile the native engine"):
        NativeEngine(tied)
    library.library.cache_clear()
    monkeypatch.delenv("CC")
    monkeypatch.setattr(c_library, "COMPILERS", ("no-such-compiler",))
    with pytest.raises(UserError, match="install gcc or clang"):
        NativeEngine(tied)


def test_the_compiler_is_a_program_in_any_folder_or_words_of_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = next(filter(None, map(shutil.which, c_library.COMPILERS)))
    spaced = tmp_path / "my tools" / "cc"
    spaced.parent.mkdir()
    spaced.symlink_to(real)
    for number, told in enumerate((str(spaced), f"'{spaced}' -g", f"{real} -g")):
        monkeypatch.setenv("CC", told)
        assert library.compiled(flags=("-O0",), cache=tmp_path / str(number)).is_file()
    for told, match in (
        ("no-such-cc", r"no-such-cc cannot be started \(No such file"),
        ("cc 'x", "quotes do not close"),
    ):
        monkeypatch.setenv("CC", told)
        with pytest.raises(UserError, match=match):
            library.compiled(flags=("-O0",), cache=tmp_path / "none")


def test_it_is_chosen_by_name_and_bits_are_its_own(tied: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AYLLU_CACHE", str(cache))
    opened = open_engine(tied, "native", bits=4)
    assert isinstance(opened, NativeEngine) and opened.bits == 4
    opened.close()
    with pytest.raises(UserError, match="only the engine native packs numbers"):
        open_engine(tied, "torch", bits=4)


def test_it_is_what_serves_unless_something_speaks_against_it(
    tied: Path,
    cache: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AYLLU_CACHE", str(cache))
    for bits, expected in ((None, 8), (4, 4)):
        opened = open_engine(tied, bits=bits)
        assert isinstance(opened, NativeEngine) and opened.bits == expected
        assert f"{expected} bits to a weight" in opened.limits
        opened.close()
    assert not isinstance(open_engine(folder), NativeEngine)
    assert "its heads are 8 wide" in (told := capsys.readouterr().err) and "(another engine serves)" in told
    with pytest.raises(UserError, match="its heads are 8 wide"):
        open_engine(folder, bits=4)
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("AYLLU_CACHE", str(tmp_path))
    library.library.cache_clear()
    opened = open_engine(tied)
    assert not isinstance(opened, NativeEngine)
    opened.close()
    library.library.cache_clear()
    assert "no-such-compiler cannot be started" in capsys.readouterr().err


def test_kernels_that_compute_wrong_numbers_are_found_and_another_engine_serves(
    tied: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = library.opened(library.compiled(cache=cache))
    need(bytes(right.native_kernels()) != b"plain", "this processor has no other kernels than the plain ones")
    header = str(Path(__file__).parent / "driver" / "wrong.h")
    wrong = library.opened(library.compiled(flags=("-march=native", "-include", header), cache=cache))
    for bits in weights.BITS:
        assert right.native_selftest(bits, 2) == 1
    assert [wrong.native_selftest(bits, 2) for bits in (4, 8)] == [0, 0]
    monkeypatch.setattr(library, "library", lambda: wrong)
    opened = open_engine(tied, "native", bits=4)
    assert not isinstance(opened, NativeEngine)
    opened.close()
    assert "compute wrong numbers on this machine (another engine serves)" in capsys.readouterr().err


def test_it_answers_through_the_gateway(engine: NativeEngine, tied: Path) -> None:
    with serving(tied, engine) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="-") as client:
        asked: dict[str, Any] = {
            "model": client.models.list().data[0].id,
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 10,
            "seed": 3,
        }
        made = client.chat.completions.create(**asked)
        stream = client.chat.completions.create(**asked, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == made.choices[0].message.content
    assert made.usage is not None and 0 < made.usage.completion_tokens <= 10


def test_keys_and_values_take_a_part_of_the_memory_and_always_hold_one_context() -> None:
    for bits in native.CACHE_BITS:
        each = native.page_bytes(WIDER, bits)
        assert native.pages_for(256, memory=1, each=each) == 8
        assert native.pages_for(256, memory=1 << 40, each=each) == 8 * native.CONTEXTS
    assert native.page_bytes(WIDER, 8) < 0.65 * native.page_bytes(WIDER, 16)


def test_the_last_chunk_says_that_the_model_ended_it_and_has_what_was_held_back(
    engine: NativeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter([*engine.tokenizer.encode("one two"), next(iter(engine.tokenizer.stops))])
    monkeypatch.setattr(engine.model, "pick", lambda *_: next(drawn))
    chunks = answer(engine, GenerationRequest(prompt=[3, 4], max_tokens=40, stop=["two three"]))
    assert text(chunks) == "one two"
    assert chunks[-1].finish_reason == "stop"


def test_logits_that_are_no_numbers_are_an_error_and_no_id(make: Make, tied: Path) -> None:
    model = make(tied)
    for bad in (np.nan, np.inf, -np.inf):
        logits = np.full(600, bad, dtype=np.float32)
        for sampling in (GREEDY, Sampling(top_p=1.0), Sampling(top_k=3), Sampling(repetition_penalty=1.2)):
            with pytest.raises(ValueError, match="no numbers"):
                draws(model, logits, sampling, [1], 1)
    one = np.zeros(600, dtype=np.float32)
    one[599] = np.nan
    with pytest.raises(ValueError, match="no numbers"):
        draws(model, one, GREEDY, [], 1)
    one[:] = -np.inf
    one[4] = 0
    assert draws(model, one, Sampling(), [], 5) == {4: 5}


def test_ids_that_the_model_does_not_have_are_refused(engine: NativeEngine) -> None:
    for wrong in (600, -1, 2**31):
        with pytest.raises(ValueError, match="from 0 to 599"):
            answer(engine, GenerationRequest(prompt=[5, wrong], max_tokens=1))


@pytest.mark.parametrize("harm", ["flipped", "short", "empty", "no digest"])
def test_packed_weights_that_are_damaged_are_packed_again(tied: Path, tmp_path: Path, harm: str) -> None:
    file = packed(tied, 4, cache=tmp_path)
    written = file.read_bytes()
    if harm == "no digest":
        file.with_name(f"{file.name}.sha256").unlink()
    else:
        middle = len(written) // 2
        flipped = written[:middle] + bytes([written[middle] ^ 64]) + written[middle + 1 :]
        file.write_bytes({"flipped": flipped, "short": written[:middle], "empty": b""}[harm])
    assert packed(tied, 4, cache=tmp_path) == file
    assert file.read_bytes() == written
    before = file.stat().st_ino
    assert packed(tied, 4, cache=tmp_path).stat().st_ino == before


def test_several_may_pack_and_compile_at_once(tied: Path, tmp_path: Path) -> None:
    alone = packed(tied, 8, cache=tmp_path / "alone").read_bytes()
    made: list[Path] = []
    threads = [threading.Thread(target=lambda: made.append(packed(tied, 8, cache=tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(made) == 4 and {file.read_bytes() for file in made} == {alone}
    assert not [path for path in (tmp_path / "native").iterdir() if path.is_dir()]


def test_a_library_that_was_cut_short_is_compiled_again(tmp_path: Path) -> None:
    file = library.compiled(flags=("-O0",), cache=tmp_path)
    file.write_bytes(file.read_bytes()[:1000])
    again = library.compiled(flags=("-O0",), cache=tmp_path)
    assert again == file and library.opened(again).native_kernels()


def test_it_says_what_memory_it_may_take(engine: NativeEngine) -> None:
    assert re.fullmatch(
        r"16 bits to a weight; 32 answers side by side.* at most \d+ MiB of memory beside the weights", engine.limits
    )
