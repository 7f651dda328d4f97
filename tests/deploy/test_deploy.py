"""What is handed out for running the server elsewhere, read by those who will read it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from ayllu.cli.main import app
from ayllu.fleet.launch.manifests import faults
from ayllu.serve.network.notify import notify
from support.parts import need

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SCHEMAS = Path(__file__).resolve().parent / "data"


def test_systemd_takes_the_unit_and_finds_it_hardened(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    need(analyze, "systemd-analyze is not installed (Debian: apt-get install systemd)")
    unit = tmp_path / "ayllu.service"
    text = (DEPLOY / "ayllu.service").read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/ayllu/bin/ayllu", sys.executable), encoding="utf-8")
    verified = subprocess.run([str(analyze), "verify", str(unit)], capture_output=True, text=True)
    assert [line for line in verified.stderr.splitlines() if "ayllu.service" in line] == []
    secure = subprocess.run(
        [str(analyze), "security", "--offline=true", "--threshold=20", str(unit)], capture_output=True, text=True
    )
    assert secure.returncode == 0, secure.stdout[-500:]


def test_the_commands_of_unit_and_container_are_commands() -> None:
    unit = (DEPLOY / "ayllu.service").read_text(encoding="utf-8")
    container = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    start = re.search(r"^ExecStart=\S+ (.+)$", unit, re.M)
    entry, command = (re.search(rf"^{word} (\[.+\])$", container, re.M) for word in ("ENTRYPOINT", "CMD"))
    assert start is not None and entry is not None and command is not None
    assert json.loads(entry[1]) == ["ayllu"]
    lines = re.findall(r"^#[^`\n]*\bayllu ((?:adopt|keys) [^`\n]+)$", unit + container, re.M)
    assert len(lines) == 3
    for words in (shlex.split(start[1]), json.loads(command[1]), *map(shlex.split, lines)):
        app.parse_args(words, exit_on_error=False, print_error=False)


def test_a_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1")
        assert manager.recv(100) == b"READY=1"
    notify("STOPPING=1")  # nobody listens any more
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


def test_kserve_would_take_the_service() -> None:
    """By the published schema, as far as `source` in its file says; no cluster runs here."""
    manifest = yaml.safe_load((DEPLOY / "kserve.yaml").read_text(encoding="utf-8"))
    schema = json.loads((SCHEMAS / "llminferenceservice.schema.json").read_text(encoding="utf-8"))["openAPIV3Schema"]
    assert faults(manifest, schema) == []
    manifest["spec"]["template"]["containers"][0]["resource"] = {}
    del manifest["spec"]["model"]["uri"]
    assert len(faults(manifest, schema)) == 2


def ray_faults(manifest: dict[str, Any]) -> list[str]:
    """What Ray Serve LLM would not take, by the schemas of its own classes; `engine_kwargs` are for vLLM to read."""
    schemas = json.loads((SCHEMAS / "ray_serve_llm.schema.json").read_text(encoding="utf-8"))
    parts = [("ServeDeploySchema", manifest)]
    for application in manifest["applications"]:
        for config in application["args"]["llm_configs"]:
            scaling = config["deployment_config"]["autoscaling_config"]
            parts += [("LLMConfig", config), ("ModelLoadingConfig", config["model_loading_config"])]
            parts += [("AutoscalingConfig", scaling)]
    return [error.message for name, part in parts for error in Draft202012Validator(schemas[name]).iter_errors(part)]


def test_ray_would_take_the_configuration() -> None:
    manifest = yaml.safe_load((DEPLOY / "ray_serve.yaml").read_text(encoding="utf-8"))
    assert ray_faults(manifest) == []
    config = manifest["applications"][0]["args"]["llm_configs"][0]
    config["accelerator_typ"] = config.pop("accelerator_type")
    del config["model_loading_config"]["model_id"]
    config["deployment_config"]["autoscaling_config"]["max_replicas"] = 0
    manifest["proxy_location"] = "Everywhere"
    assert len(ray_faults(manifest)) == 4
