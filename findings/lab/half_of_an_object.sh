#!/usr/bin/env bash
# s3fs 2026.6.0: an error within `with fs.open(name, "wb") as file:` (a process that is interrupted, a tensor that cannot
# be pickled, a full disk that is read from) leaves what was written so far under the name, as an object like any other,
# and where a whole one stood it is gone. S3 itself shows an object only when its upload is complete, which is why one
# writes checkpoints there without a name of their own to be renamed, and an upload in parts that breaks off can be
# dropped; here leaving the block completes it. exists() and size() say that all is well. Within fs.transaction nothing
# is left of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check s3fs==2026.6.0 "moto[s3,server]==5.2.5"
cat > run.py <<'PY'
import contextlib
import os

os.environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
import s3fs
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
store = s3fs.S3FileSystem(endpoint_url=f"http://{host}:{port}", use_listings_cache=False)
store.mkdir("bucket")


def interrupted(name, size, around):
    with contextlib.suppress(KeyboardInterrupt), around, store.open(name, "wb") as file:
        file.write(b"x" * size)
        raise KeyboardInterrupt


def seen(name):
    return f"{store.size(name):,} bytes" if store.exists(name) else "nothing"


for what, size in {"small": 1_000, "in parts": 12_000_000}.items():
    interrupted("bucket/new", size, contextlib.nullcontext())
    print(f"s3fs {s3fs.__version__}, {what}, a new name: {seen('bucket/new')}", flush=True)
    store.rm("bucket/new")
    store.pipe("bucket/last", b"y" * 20_000_000)
    interrupted("bucket/last", size, contextlib.nullcontext())
    print(f"s3fs {s3fs.__version__}, {what}, over one of 20,000,000 bytes: {seen('bucket/last')}", flush=True)
interrupted("bucket/new", 1_000, store.transaction)
print(f"s3fs {s3fs.__version__}, small, a new name in a transaction: {seen('bucket/new')}", flush=True)
server.stop()
PY
env/bin/python run.py 2>errors | tee all || { tail -5 errors; exit 1; }
diff <(grep '^s3fs' all | sed 's/^[^,]*, //') - <<'SEEN'
small, a new name: 1,000 bytes
small, over one of 20,000,000 bytes: 1,000 bytes
in parts, a new name: 12,000,000 bytes
in parts, over one of 20,000,000 bytes: 12,000,000 bytes
small, a new name in a transaction: nothing
SEEN
