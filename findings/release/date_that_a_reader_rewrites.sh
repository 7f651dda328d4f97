#!/usr/bin/env bash
# rdflib 7.6.0 and PyLD 3.3.0, which read JSON-LD as release documents have it (SPDX 3, Croissant). One valid document is
# two graphs: 5.0 is an integer to PyLD, as the standard says, and a double to rdflib; 12.5 is "1.25E1" to the one and
# "12.5" to the other, and so the digest of the canonical form, which is there to be equal, is another. And rdflib rewrites
# what it reads, also typed text: a time that ends in Z ends in +00:00, which SPDX's own pattern for times refuses, and
# PT90M is PT1H30M. Reading lines of N-Quads and writing them again, which looks like bytes that are passed on, does it
# too. Nothing is said. rdflib.NORMALIZE_LITERALS = False leaves text alone; that 5.0 is a double stays. Decimals come
# through as they are, so that a test by a version or a price sees nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check rdflib==7.6.0 PyLD==3.3.0
cat > run.py <<'PY'
import hashlib
import json
from importlib.metadata import version

import rdflib
from pyld import jsonld

XSD = "http://www.w3.org/2001/XMLSchema#"
typed = {"created": "2026-01-02T03:04:05Z^dateTime", "trained": "PT90M^duration", "price": "1.50^decimal"}
document = {"@context": {"@vocab": "urn:x:"}, "@id": "urn:x:model", "epochs": 5.0, "energy": 12.5}
for name, (text, kind) in ((name, value.split("^")) for name, value in typed.items()):
    document[name] = {"@value": text, "@type": XSD + kind}
QUADS = {"format": "application/n-quads"}


def digest(text):
    canonical = jsonld.normalize(text, {"inputFormat": QUADS["format"], **QUADS})
    return hashlib.sha256(canonical.encode()).hexdigest()


def by_rdflib(data, form):
    return rdflib.Graph().parse(data=data, format=form).serialize(format="nt")


print(f"rdflib {version('rdflib')}, PyLD {version('PyLD')}")
first = jsonld.to_rdf(document, QUADS)
ways = {"PyLD": first, "rdflib": by_rdflib(json.dumps(document), "json-ld"), "PyLD, rdflib": by_rdflib(first, "nt")}
rdflib.NORMALIZE_LITERALS = False
ways["rdflib, not normalised"] = by_rdflib(json.dumps(document), "json-ld")
for name, text in ways.items():
    told = sorted(line.split("urn:x:")[2].replace(">", "", 1).split("^^")[0] for line in text.splitlines() if line)
    print(f"{name}: {', '.join(told)}; digest {'as' if digest(text) == digest(first) else 'not as'} PyLD's", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
tail -n +2 seen | tr -d '"' | diff - <(cat <<'SEEN'
PyLD: created 2026-01-02T03:04:05Z, energy 1.25E1, epochs 5, price 1.50, trained PT90M; digest as PyLD's
rdflib: created 2026-01-02T03:04:05+00:00, energy 12.5, epochs 5.0, price 1.50, trained PT1H30M; digest not as PyLD's
PyLD, rdflib: created 2026-01-02T03:04:05+00:00, energy 12.5, epochs 5, price 1.50, trained PT1H30M; digest not as PyLD's
rdflib, not normalised: created 2026-01-02T03:04:05Z, energy 12.5, epochs 5.0, price 1.50, trained PT90M; digest not as PyLD's
SEEN
)
