"""ExecuTorch's own environment, and its own runner of language models as its users call it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from ayllu.data.archive import default_cache
from ayllu.lab.error import UserError
from ayllu.release.exports.executorch import environment
from support.parts import need

GENERATE = """
import sys
from executorch.extension.llm.custom_ops import custom_ops
from executorch.kernels import quantized
from executorch.extension.llm.runner import GenerationConfig, TextLLMRunner
runner = TextLLMRunner(sys.argv[1] + "/model.pte", sys.argv[1] + "/tokenizer.json")
config = GenerationConfig(echo=False, max_new_tokens=int(sys.argv[3]), temperature=0.0, num_bos=int(sys.argv[4]))
runner.generate(sys.argv[2], config)
"""
"""What a user of the package writes."""


def executorch_python() -> Path:
    """The interpreter of the environment, kept with what else is downloaded; the test is passed over without it."""
    try:
        return environment.EXECUTORCH.python(default_cache())
    except UserError as error:
        need(None, str(error))
        raise


def generated(folder: Path, prompt: str, tokens: int, *, bos: int = 0) -> tuple[str, dict[str, Any]]:
    """The likeliest words, and what the runner says of them: `prompt_tokens`, `decode_token_per_sec` and more."""
    words = [executorch_python(), "-I", "-c", GENERATE, str(folder), prompt, str(tokens), str(bos)]
    done = subprocess.run(words, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    # A token need not be whole letters, and the runner prints each as it comes.
    said, told = done.stdout.split(b"\nPyTorchObserver ")
    return said.decode(errors="ignore"), json.loads(told)
