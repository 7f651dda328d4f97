"""A stand-in for the program `vllm`: its routes and the shape of its answers, as vLLM 0.32 gave them, by our engine.

Run as `python vllm.py serve FOLDER --host … --port …`. What the real one does is measured by bench/serving/vllm.py.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ayllu.model.sampling import Sampling
from ayllu.serve.engines.engine import GenerationRequest
from ayllu.serve.engines.torch_engine import TorchEngine

KNOWN = {
    *("model", "prompt", "max_tokens", "stream", "stream_options", "return_token_ids", "return_tokens_as_token_ids"),
    *("skip_special_tokens", "stop_token_ids", "logprobs", "prompt_logprobs", "temperature", "top_p", "top_k", "min_p"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "seed", "structured_outputs"),
}
DRAWN = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    engine: TorchEngine
    names: list[str]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer({})
        elif self.may():
            base, *adapters = self.names
            card = {"id": base, "parent": None, "max_model_len": self.engine.context}
            self.answer({"object": "list", "data": [card, *({"id": name, "parent": base} for name in adapters)]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.may():
            return
        given = {name: value for name, value in body.items() if value is not None}
        if self.path == "/tokenize":
            self.answer({"tokens": self.engine.tokenizer.encode(body["prompt"])})
        elif set(given) - KNOWN or given["model"] not in self.names or given.get("logprobs", 0) > 20:
            self.answer({"error": {"message": "refused", "code": 400}}, 400)
        else:
            self.complete(given)

    def complete(self, given: dict[str, Any]) -> None:
        request = GenerationRequest(
            prompt=given["prompt"],
            max_tokens=given["max_tokens"],
            sampling=Sampling(
                **{name: given[name] for name in DRAWN if name in given},
                logit_bias={int(token): value for token, value in given.get("logit_bias", {}).items()},
            ),
            logprobs=given.get("logprobs", given.get("prompt_logprobs")),
            prompt_logprobs="prompt_logprobs" in given,
            grammar=given.get("structured_outputs", {}).get("grammar"),
        )
        if given["stream"]:
            self.stream(request, given)
        else:
            self.whole(request)

    def whole(self, request: GenerationRequest) -> None:
        read: list[Any] = [None]
        for chunk in self.engine.generate(request, threading.Event()):
            read += [{str(one.id): {"logprob": one.logprob}} | tops(one.top) for one in chunk.read]
        self.answer({"choices": [{"prompt_logprobs": read, "finish_reason": "length"}]})

    def stream(self, request: GenerationRequest, given: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for chunk in self.engine.generate(request, threading.Event()):
            logprobs = None
            if chunk.drawn:
                (one,) = chunk.drawn
                likely = {f"token_id:{token}": value for token, value in [*one.top, (one.id, one.logprob)]}
                logprobs = {"token_logprobs": [one.logprob], "top_logprobs": [likely]}
            ids = list(chunk.ids)
            if chunk.finish_reason == "stop":
                ids.append(given["stop_token_ids"][0])
            choice = {"index": 0, "text": "", "token_ids": ids, "logprobs": logprobs}
            self.event({"choices": [choice | {"finish_reason": chunk.finish_reason}]})
        self.event({"choices": [], "usage": {"prompt_tokens_details": {"cached_tokens": 1}}})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def event(self, event: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())

    def may(self) -> bool:
        allowed = self.headers.get("authorization") == f"Bearer {os.environ['VLLM_API_KEY']}"
        if not allowed:
            self.answer({"error": "Unauthorized"}, 401)
        return allowed

    def answer(self, body: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def tops(top: Any) -> dict[str, Any]:
    """The likeliest ids as vLLM tells of a prompt's."""
    return {str(token): {"logprob": value} for token, value in top}


def main() -> None:
    """Serve."""
    reader = argparse.ArgumentParser()
    reader.add_argument("serve")
    reader.add_argument("folder", type=Path)
    reader.add_argument("--port", type=int)
    reader.add_argument("--served-model-name")
    reader.add_argument("--lora-modules", nargs="*", default=[])
    given, _ = reader.parse_known_args()
    if (given.folder / "unreadable").exists():
        raise SystemExit("ValueError: the weights cannot be read")
    Handler.engine = TorchEngine(given.folder)
    Handler.names = [given.served_model_name, *(module.partition("=")[0] for module in given.lora_modules)]
    ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
