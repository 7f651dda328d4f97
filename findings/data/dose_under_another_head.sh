#!/usr/bin/env bash
# A table in HTML whose first column holds one name for two rows (rowspan="2", as price lists, labels and results have it).
# markitdown 0.1.9 and markdownify 1.2.3 write the second row without its first cell, so that each number of it stands
# under the head to the left of its own: the limit of 1000 mg is read as the dose. html2text 2025.4.15
# does so too, and by it a cell over two columns (colspan) shifts its row as well, where the other Markdown has
# it right, so that spans look taken care of. No error, no mark, and the row is shorter by one, which no reader of
# Markdown minds. trafilatura 2.3.1 leaves an empty cell. A model answers from such a table.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check markitdown==0.1.9 markdownify==1.2.3 html2text==2025.4.15 \
  trafilatura==2.3.1 lxml_html_clean==0.4.6
cat > run.py <<'PY'
import io
from importlib.metadata import version

import html2text
import markdownify
import trafilatura
from markitdown import MarkItDown

HEADS = ["Patients", "Given", "Dose in mg", "Limit in mg"]
PAGE = f"""<html><body><article><h1>Doses that are allowed</h1><p>{"The doses of each group are approved. " * 9}</p><table>
<tr>{"".join(f"<th>{head}</th>" for head in HEADS)}</tr>
<tr><td rowspan="2">Adults</td><td>swallowed</td><td>500</td><td>4000</td></tr>
<tr><td>injected</td><td>250</td><td>1000</td></tr>
<tr><td colspan="2">Children</td><td>60</td><td>240</td></tr></table></article></body></html>"""
plain = html2text.HTML2Text()
plain.body_width = 0
texts = {
    "markitdown": MarkItDown().convert_stream(io.BytesIO(PAGE.encode()), file_extension=".html").text_content,
    "markdownify": markdownify.markdownify(PAGE),
    "html2text": plain.handle(PAGE),
    "trafilatura": trafilatura.extract(PAGE, output_format="markdown"),
}
for name, text in texts.items():
    lines = text.splitlines()
    head = next(line for line in lines if "Dose in mg" in line)
    for patients, mark in (("injected", "1000"), ("children", "240")):
        row = next(line for line in lines if mark in line)
        cells = [cell.strip() for cell in row.strip().removeprefix("|").removesuffix("|").split("|")]
        print(f"{name} {version(name)}, {patients}: {mark} is under {HEADS[cells.index(mark)]}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^\([a-z0-9]*\) [^,]*, /\1, /' seen) - <<'SEEN'
markitdown, injected: 1000 is under Dose in mg
markitdown, children: 240 is under Limit in mg
markdownify, injected: 1000 is under Dose in mg
markdownify, children: 240 is under Limit in mg
html2text, injected: 1000 is under Dose in mg
html2text, children: 240 is under Dose in mg
trafilatura, injected: 1000 is under Limit in mg
trafilatura, children: 240 is under Limit in mg
SEEN
