#!/usr/bin/env bash
# A benchmark in Python holds a model and starts a peer in a process of its own, which tells its own peak memory by
# getrusage(RUSAGE_SELF).ru_maxrss, as many harnesses do. On Linux that figure is kept across exec: it begins at what the
# program held that started it, so that any smaller peer seems to need exactly as much as the benchmark.
# VmHWM of /proc/self/status begins anew and is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check numpy==2.3.5
cat > peer.py <<'PY'
import resource
import sys

held = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) / 1024
told = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{sys.argv[1]}: ru_maxrss {'above 400' if told > 400 else 'below 50' if told < 50 else told} MiB,", end=" ")
print(f"VmHWM {'above 400' if held > 400 else 'below 50' if held < 50 else held} MiB", flush=True)
PY
cat > bench.py <<'PY'
import subprocess
import sys

import numpy as np

subprocess.run([sys.executable, "peer.py", "started by a small program"], check=True)
model = np.ones(500 << 17)  # 500 MiB
subprocess.run([sys.executable, "peer.py", "started by one of 500 MiB"], check=True)
del model
subprocess.run([sys.executable, "peer.py", "started after these were freed"], check=True)
PY
env/bin/python -c 'import platform; print(platform.system())'
env/bin/python bench.py | tee seen
diff seen - <<'SEEN'
started by a small program: ru_maxrss below 50 MiB, VmHWM below 50 MiB
started by one of 500 MiB: ru_maxrss above 400 MiB, VmHWM below 50 MiB
started after these were freed: ru_maxrss above 400 MiB, VmHWM below 50 MiB
SEEN
