"""llama.cpp's own server, to compare with."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

SERVE = """
import os, sys, xllamacpp
settings = xllamacpp.CommonParams()
settings.model.path = sys.argv[1]
settings.n_ctx, settings.n_parallel, settings.n_gpu_layers = 512, 1, 0
settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
settings.warmup = settings.fit_params = False
server = xllamacpp.Server(settings)
print(server.listening_address, flush=True)
sys.stdin.read()
os._exit(0)
"""


class LlamaCpp:
    """llama.cpp's server on one thread, with float32 keys and values, in a process of its own."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", SERVE, str(path)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()
        assert self.address, "llama.cpp cannot load the file"

    def post(self, route: str, **body: Any) -> Any:
        request = urllib.request.Request(
            self.address + route, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def continues(self, ids: list[int], tokens: int) -> list[int]:
        """The likeliest `tokens` ids behind `ids`."""
        answer = self.post(
            "/completion", prompt=ids, n_predict=tokens, temperature=0, return_tokens=True, cache_prompt=False
        )
        return answer["tokens"]

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
