"""An S3 server on this machine: moto's, which keeps what it is given in memory and knows conditional writes."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Its address; what S3's tools are told stands in the environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    address = f"http://127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", address)
        yield address
    server.stop()


@pytest.fixture(params=["folder", "bucket"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty team's store of each kind."""
    if request.param == "folder":
        (tmp_path / "team").mkdir()
        return str(tmp_path / "team")
    request.getfixturevalue("server")
    from s3fs import S3FileSystem

    bucket = f"team-{next(_numbers)}"
    S3FileSystem(skip_instance_cache=True).mkdir(bucket)
    return f"s3://{bucket}/of/ours"
