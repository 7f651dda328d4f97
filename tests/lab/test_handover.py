"""The same runs in the tools of others: every figure that went in is read back."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ayllu.cli.main import main
from ayllu.data.archive import default_cache
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.made.environments import Environment
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from support.parts import need_module
from support.shelf import put

STEPS = 1200
LOSSES = [{"step": n + 1, "loss": 5 - n / STEPS, "seconds": 0.25} for n in range(STEPS)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("handover")
    store = Store(home)
    arguments = {"lr": 0.003, "seed": 7, "optimizer": {"name": "muon"}, "sources": ["a", "b"]}
    huge = 10**400
    damaged = ['{"step": 12', "[" * 100_000, f'{{"step": {huge}, "loss": 1}}', "7"]
    lines = "\n".join([*map(json.dumps, [*LOSSES[:-1], LOSSES[-1] | {"tokens": huge}]), *damaged])
    files = {"config.json": "{}", "model.safetensors": "x", "losses.jsonl": lines}
    put(store, "pretrain", 1, files=files, arguments=arguments, record={"loss": 4.0, "words": "no figure"})
    return home


def hand_over(home: Path, *words: str, code: int = 0, capsys: pytest.CaptureFixture[str]) -> Any:
    with pytest.raises(SystemExit) as ended:
        main(["export-runs", next((home / "artifacts").iterdir()).name, *words, "--home", str(home), "--json"])
    out, err = capsys.readouterr()
    assert ended.value.code == code, err
    return json.loads(out) if code == 0 else err


class Tracking(BaseHTTPRequestHandler):
    """What MLflow's server is asked, kept as it keeps it, within its limits."""

    experiments: dict[str, str]
    runs: dict[str, dict[str, Any]]

    def log_message(self, *words: Any) -> None:
        """Nothing is said."""

    def do_GET(self) -> None:
        name = parse_qs(urlsplit(self.path).query)["experiment_name"][0]
        known = self.experiments.get(name)
        self._answer({"experiment": {"experiment_id": known}} if known else {}, 200 if known else 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(getattr(self, self.path.rpartition("mlflow/")[2].replace("/", "_").replace("-", "_"))(body))

    def experiments_create(self, body: dict[str, Any]) -> dict[str, Any]:
        self.experiments[body["name"]] = str(len(self.experiments) + 1)
        return {"experiment_id": self.experiments[body["name"]]}

    def runs_search(self, body: dict[str, Any]) -> dict[str, Any]:
        key = body["filter"].split("'")[1]
        return {"runs": [run for run in self.runs.values() if {"key": "ayllu.key", "value": key} in run["tags"]]}

    def runs_create(self, body: dict[str, Any]) -> dict[str, Any]:
        id = f"run{len(self.runs)}"
        info = {"run_id": id, "status": "RUNNING", "run_name": body["run_name"], "start_time": body["start_time"]}
        self.runs[id] = {"info": info, "tags": body["tags"], "params": [], "metrics": []}
        return {"run": self.runs[id]}

    def runs_log_batch(self, body: dict[str, Any]) -> dict[str, Any]:
        assert len(body.get("metrics", [])) <= 1000 and len(body.get("params", [])) <= 100
        for part in ("metrics", "params"):
            self.runs[body["run_id"]][part] += body.get(part, [])
        return {}

    def runs_update(self, body: dict[str, Any]) -> dict[str, Any]:
        self.runs[body["run_id"]]["info"] |= body
        return {}

    def runs_delete(self, body: dict[str, Any]) -> dict[str, Any]:
        del self.runs[body["run_id"]]
        return {}

    def _answer(self, body: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def tracking() -> Iterator[tuple[str, type[Tracking]]]:
    handler = type("Fresh", (Tracking,), {"experiments": {}, "runs": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", handler
    server.shutdown()
    server.server_close()


def test_mlflow_gets_every_step_once(
    home: Path, tracking: tuple[str, type[Tracking]], capsys: pytest.CaptureFixture[str]
) -> None:
    address, kept = tracking
    found = hand_over(home, "--to", "mlflow", "--server", address, capsys=capsys)
    (run,) = kept.runs.values()
    assert found["runs"][0]["place"] == run["info"]["run_id"] and run["info"]["status"] == "FINISHED"
    losses = [(row["step"], row["value"]) for row in run["metrics"] if row["key"] == "loss"]
    assert losses == [(line["step"], line["loss"]) for line in LOSSES]
    times = [row["timestamp"] for row in run["metrics"] if row["key"] == "loss"]
    assert times == [run["info"]["start_time"] + 250 * (n + 1) for n in range(STEPS)]
    params = {row["key"]: row["value"] for row in run["params"]}
    assert params == {"lr": "0.003", "seed": "7", "optimizer.name": "muon", "sources": '["a", "b"]'}
    assert [row["value"] for row in run["metrics"] if row["key"] == "final/loss"] == [4.0]
    hand_over(home, "--to", "mlflow", "--server", address, capsys=capsys)
    assert len(kept.runs) == 1
    run["info"]["status"] = "RUNNING"  # as one that a kill cut short
    hand_over(home, "--to", "mlflow", "--server", address, capsys=capsys)
    assert [one["info"]["status"] for one in kept.runs.values()] == ["FINISHED"]


def test_tensorboard_reads_every_step(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = need_module("tensorboard.backend.event_processing.event_accumulator", "tensorboard is not installed")
    key = next((home / "artifacts").iterdir()).name.removeprefix("pretrain-")[:8]
    draft = tmp_path / f"pretrain-{key}-{key}.part"
    draft.mkdir()
    (draft / "events.out.tfevents.1.cut.short").write_bytes(b"cut")
    found = hand_over(home, "--to", "tensorboard", "--out", str(tmp_path), capsys=capsys)
    assert not draft.exists() and len(list(Path(found["runs"][0]["place"]).iterdir())) == 1
    board = reader.EventAccumulator(found["runs"][0]["place"], size_guidance={"scalars": 0})
    board.Reload()
    rows = board.Scalars("loss")
    assert [row.step for row in rows] == [line["step"] for line in LOSSES]
    assert [row.value for row in rows] == pytest.approx([line["loss"] for line in LOSSES], rel=1e-6)
    assert rows[3].wall_time - rows[0].wall_time == pytest.approx(0.75)
    assert board.Scalars("final/loss")[0].value == 4.0
    assert "hparams" in board.summary_metadata.get("_hparams_/session_start_info").plugin_data.plugin_name
    told = hand_over(home, "--to", "tensorboard", "--out", str(tmp_path), code=2, capsys=capsys)
    assert "is there already" in told


@stage(identity="handover.data")
def data(ctx: Context) -> None:
    (ctx.folder / "text").write_text("words")


@stage(identity="handover.train")
def train(ctx: Context, text: Handle[Path]) -> None:
    assert ctx.logs is not None
    ctx.logs.mkdir(parents=True)
    (ctx.logs / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LOSSES[:30]))
    raise KeyboardInterrupt


def test_of_a_run_that_was_stopped_the_training_is_handed_over(
    tmp_path: Path, tracking: tuple[str, type[Tracking]], capsys: pytest.CaptureFixture[str]
) -> None:
    address, kept = tracking
    with pytest.raises(KeyboardInterrupt):
        resolve(train(data()), Place(store=Store(tmp_path), cache=tmp_path, title="long"))
    with pytest.raises(SystemExit) as ended:
        main(["export-runs", "long", "--to", "mlflow", "--server", address, "--home", str(tmp_path), "--json"])
    assert ended.value.code == 0, capsys.readouterr().err
    (run,) = kept.runs.values()
    assert [row["step"] for row in run["metrics"] if row["key"] == "loss"] == list(range(1, 31))
    assert {"key": "ayllu.state", "value": "interrupted"} in run["tags"]
    assert run["info"]["status"] == "KILLED", "one that is whole by then takes its place"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--to", "mlflow"], "--server"),
        (["--to", "mlflow", "--server", "ftp://x"], "no address"),
        (["--to", "mlflow", "--server", "http://127.0.0.1:9"], "does not answer"),
        (["--to", "mlflow", "--server", "http://["], "no address"),
        (["--to", "mlflow", "--server", "http://127.0.0.1:abc"], "no address"),
        (["--to", "mlflow", "--server", "http://a b/"], "no address"),
        (["--to", "tensorboard"], "--out"),
        (["--to", "wandb", "--out", "x", "--server", "http://x"], "no --server"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    home: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in hand_over(home, *words, code=2, capsys=capsys)


@pytest.mark.parametrize(
    "reply", [b"SSH-2.0-OpenSSH\x1b[31m\r\n", b'HTTP/1.0 200 OK\r\n\r\n{"hello": 1}', b"HTTP/1.0 200 OK\r\n\r\n[]"]
)
def test_a_server_that_is_none_of_mlflow_is_told_in_one_sentence(
    home: Path, reply: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    class Other(StreamRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.wfile.write(reply)

    with ThreadingTCPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        told = hand_over(home, "--to", "mlflow", "--server", address, code=2, capsys=capsys)
        server.shutdown()
    assert "as MLflow does" in told and told.strip().isprintable()


WANDB = Environment(name="wandb-0.31.0", title="W&B", packages=("wandb==0.31.0",))
READ = """
import json, sys
from wandb.proto.wandb_internal_pb2 import Record
for line in sys.stdin:
    record = Record()
    record.ParseFromString(bytes.fromhex(line))
    if record.WhichOneof("record_type") == "history":
        print(json.dumps({item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}))
"""


def wandb_records(content: bytes) -> Iterator[bytes]:
    """What is in a `.wandb` file: LevelDB's log format behind seven bytes, in blocks of 32 KiB."""
    at, held = 7, b""
    while at < len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        held += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield held
            held = b""


@pytest.mark.slow
def test_every_step_is_in_the_files_of_wandb_at_its_own_time(home: Path, tmp_path: Path) -> None:
    python = WANDB.python(default_cache())
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    name = next((home / "artifacts").iterdir()).name
    words = ["export-runs", name, "--to", "wandb", "--out", str(tmp_path), "--home", str(home), "--json"]
    program = f"import sys; sys.path.append({str(site)!r}); from ayllu.cli.main import main; main({words!r})"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=600)
    (written,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    lines = "\n".join(record.hex() for record in wandb_records(written.read_bytes()))
    read = subprocess.run([python, "-c", READ], input=lines, text=True, check=True, capture_output=True, timeout=600)
    steps = [json.loads(line) for line in read.stdout.splitlines()]
    assert [(step["_step"], step["loss"]) for step in steps] == [(line["step"], line["loss"]) for line in LOSSES]
    times = [step["_timestamp"] for step in steps]
    assert [round(after - before, 2) for before, after in pairwise(times)] == [0.25] * (STEPS - 1)
