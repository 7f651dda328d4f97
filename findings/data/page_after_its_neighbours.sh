#!/usr/bin/env bash
# datatrove 0.10.1 with trafilatura 2.3.1: the extractor Trafilatura asks for deduplicate=True by default. trafilatura
# does that by a memory of its process, not of the page: a paragraph of 100 characters and more stays in the first three
# pages that hold it and is cut from every later one, whoever wrote it, and a page that comes a fourth time is gone. So
# what a page says depends on which pages its worker read before, and so on the order of the files and on the number of
# workers. Trafilatura(deduplicate=False) gives the same text each time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check datatrove==0.10.1 trafilatura==2.3.1 lxml-html-clean==0.4.6
cat > run.py <<'PY'
from importlib.metadata import version

from datatrove.data import Document
from datatrove.pipeline.extractors import Trafilatura

LICENCE = (
    "Everybody may copy, change and sell this text, if they name those who wrote it, say what they changed in it and "
    "leave this sentence where it stands."
)


def page(number):
    body = "".join(
        f"<p>Paragraph {part} of page {number} speaks about llamas and the high plains of the Andes at such length that it "
        "counts as text of its own.</p>"
        for part in range(4)
    )
    return f"<html><body><article><h1>Page {number}</h1>{body}<p>{LICENCE}</p></article></body></html>"


def extracted(numbers, **how):
    pages = [Document(text=page(number), id=str(place)) for place, number in enumerate(numbers)]
    return {int(found.id): found.text for found in Trafilatura(timeout=60, **how).run(pages)}


names = f"datatrove {version('datatrove')}, trafilatura {version('trafilatura')}"
for how in ({}, {"deduplicate": False}):
    for what, numbers in (("six pages", range(6)), ("the sixth alone", [5]), ("one page six times", [0] * 6)):
        texts = extracted(numbers, **how)
        kept = [place + 1 for place, text in texts.items() if LICENCE[:20] in text]
        print(f"{names}, {how or 'defaults'}, {what}: {len(texts)} come out, the licence is in {kept}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(cut -d, -f3- seen) - <<'SEEN'
 defaults, six pages: 6 come out, the licence is in [1, 2, 3]
 defaults, the sixth alone: 1 come out, the licence is in [1]
 defaults, one page six times: 3 come out, the licence is in [1, 2, 3]
 {'deduplicate': False}, six pages: 6 come out, the licence is in [1, 2, 3, 4, 5, 6]
 {'deduplicate': False}, the sixth alone: 1 come out, the licence is in [1]
 {'deduplicate': False}, one page six times: 6 come out, the licence is in [1, 2, 3, 4, 5, 6]
SEEN
