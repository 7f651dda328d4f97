"""OpenVINO GenAI behind HTTP, for `native_peers.py`: it has no server of its own. Runs in that package's environment.

    python openvino_server.py FILE.gguf PORT THREADS

It answers `GET /health` and llama.cpp's `POST /completion` (prompt as ids, streamed), sixteen answers together.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai

Asked = tuple[list[int], genai.GenerationConfig, "queue.SimpleQueue[int]"]
ENDED = -1


def serve(pipeline: genai.ContinuousBatchingPipeline, arriving: queue.SimpleQueue[Asked]) -> None:
    """Compute all answers together, and tell each how many ids it has got."""
    running: list[tuple[genai.GenerationHandle, queue.SimpleQueue[int]]] = []
    number = 0
    while True:
        while not running or not arriving.empty():
            ids, settings, told = arriving.get()
            tensor = ov.Tensor(np.array([ids], dtype=np.int64))
            running.append((pipeline.add_request(number, tensor, settings), told))
            number += 1
        pipeline.step()
        for handle, told in running:
            while handle.can_read():
                told.put(sum(len(output.generated_ids) for output in handle.read().values()))
            if handle.get_status() != genai.GenerationStatus.RUNNING:
                told.put(ENDED)
        running = [one for one in running if one[0].get_status() == genai.GenerationStatus.RUNNING]


def settings_of(body: dict[str, Any]) -> genai.GenerationConfig:
    """What a request asks for."""
    settings = genai.GenerationConfig()
    settings.max_new_tokens, settings.ignore_eos = body["n_predict"], True
    settings.do_sample = body["temperature"] > 0
    if settings.do_sample:
        settings.temperature, settings.top_p, settings.rng_seed = body["temperature"], body["top_p"], body["seed"]
    return settings


def main() -> None:
    file, port, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    scheduling = genai.SchedulerConfig()
    scheduling.cache_size, scheduling.max_num_seqs, scheduling.max_num_batched_tokens = 1, 16, 1024
    pipeline = genai.ContinuousBatchingPipeline(file, scheduling, "CPU", {"INFERENCE_NUM_THREADS": threads})
    arriving: queue.SimpleQueue[Asked] = queue.SimpleQueue()
    threading.Thread(target=serve, args=(pipeline, arriving), daemon=True).start()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told: queue.SimpleQueue[int] = queue.SimpleQueue()
            arriving.put((body["prompt"], settings_of(body), told))
            self.send_response(200)
            self.end_headers()
            count = 0
            while (more := told.get()) != ENDED:
                count += more
                self.wfile.write(b"data: " + json.dumps({"tokens_predicted": count}).encode() + b"\n\n")
                self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer.request_queue_size = 64  # of sixteen who come at once, five would be let in
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
