#!/usr/bin/env bash
# s3fs 2026.9.0 with a server that nobody answers at: exists("bucket") and isfile("bucket/model.bin") say False, without a
# warning or an exception, as for a bucket and a file that are not there; isdir and info of the same names and
# exists("bucket/model.bin") raise EndpointConnectionError. So a program that asks "is the checkpoint there?" by isfile, or
# "is the bucket there?" by exists, and begins anew where it is not, begins anew whenever the network is down; which of two
# calls that mean the same it used decides. The docstrings of both ("Is there a file at the given path", "Is this entry
# file-like?") say nothing of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check s3fs==2026.9.0 fsspec==2026.9.0 aiobotocore==3.10.0
cat > run.py <<'PY'
import os
import socket
import warnings
from importlib.metadata import version

warnings.simplefilter("error")
keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
os.environ.update(keys, AWS_MAX_ATTEMPTS="1")
with socket.socket() as probe:  # a port that nobody listens at
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from s3fs import S3FileSystem

    files = S3FileSystem(endpoint_url=f"http://127.0.0.1:{port}", skip_instance_cache=True)
    print(f"s3fs {version('s3fs')}, fsspec {version('fsspec')}, aiobotocore {version('aiobotocore')}")
    for name in ("bucket", "bucket/model.bin"):
        for question in ("exists", "isfile", "isdir", "info"):
            try:
                said = repr(getattr(files, question)(name))
            except Exception as error:
                said = f"raises {type(error).__name__}"
            print(f"{question}({name!r}): {said}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(tail -n +2 seen) - <<'SEEN'
exists('bucket'): False
isfile('bucket'): False
isdir('bucket'): raises EndpointConnectionError
info('bucket'): raises EndpointConnectionError
exists('bucket/model.bin'): raises EndpointConnectionError
isfile('bucket/model.bin'): False
isdir('bucket/model.bin'): raises EndpointConnectionError
info('bucket/model.bin'): raises EndpointConnectionError
SEEN
