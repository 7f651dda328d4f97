#!/usr/bin/env bash
# hydra-core 1.3.8 with OmegaConf: `commit=61e5402` on the command line, the short name of a commit, is the float inf,
# since it reads as 61 times ten to the 5402. So is one short name of git in some fifty, and one in thirty is a whole
# number. The run, its folder and its record then name no commit at all. And the same text is another value in a file:
# 0012345 there is octal 5349 and 12:30:45 is the number 45045, off is False, while on the command line all three stay
# text. No warning in either; quotation marks help in both, on the command line a second pair within the shell's.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check hydra-core==1.3.8 omegaconf==2.3.1
cat > run.py <<'PY'
import hashlib
from importlib.metadata import version

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

parser = OverridesParser.create()


def spoken(text):
    return parser.parse_override(f"value={text}").value()


def written(text):
    return OmegaConf.create(f"value: {text}").value


print(f"hydra-core {version('hydra-core')}, omegaconf {version('omegaconf')}")
for text in ("61e5402", "1234567", "0012345", "12:30:45", "off", "6ae5402", "'61e5402'"):
    print(f"{text}: on the command line {spoken(text)!r}, in a file {written(text)!r}", flush=True)
names = [hashlib.sha1(str(n).encode()).hexdigest()[:7] for n in range(5000)]
kinds = [type(spoken(name)).__name__ for name in names]
print(", ".join(f"{kind}: one name in {len(names) / kinds.count(kind):.0f}" for kind in ("float", "int")))
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(tail -n +2 seen) - <<'SEEN'
61e5402: on the command line inf, in a file inf
1234567: on the command line 1234567, in a file 1234567
0012345: on the command line '0012345', in a file 5349
12:30:45: on the command line '12:30:45', in a file 45045
off: on the command line 'off', in a file False
6ae5402: on the command line '6ae5402', in a file '6ae5402'
'61e5402': on the command line '61e5402', in a file '61e5402'
float: one name in 54, int: one name in 30
SEEN
