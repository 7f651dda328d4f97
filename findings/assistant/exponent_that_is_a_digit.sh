#!/usr/bin/env bash
# markitdown 0.1.9, HTML and DOCX: raised and lowered signs become ordinary ones, without a mark. 6.02 × 10²³ so is
# 6.02 × 1023 to the model that reads it, 5 m² is 5 m2, a year with a note is a year far away (1998¹² is 199812), and 2ⁿ is 2n.
# Struck text keeps its ~~ and bold its **, so that one thinks that formats come through. trafilatura 2.3.1 does the same
# by default, and so do corpora that are made with it; with include_formatting=True or as Markdown it writes <sup>.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check "markitdown[docx]==0.1.9" trafilatura==2.3.1 lxml_html_clean==0.4.6 python-docx==1.2.0
cat > run.py <<'PY'
import io
from importlib.metadata import version

import docx
import trafilatura
from markitdown import MarkItDown

parts = ["A mole has 6.02 × 10", "^23", " atoms, a field 5 m", "^2", ", water is H", "_2", "O, and in 1998", "^12", " it was so."]
tags = {"^": "sup", "_": "sub"}
html = "".join(f"<{tags[p[0]]}>{p[1:]}</{tags[p[0]]}>" if p[0] in tags else p for p in parts)
page = f"<html><body><article><h1>Numbers</h1><p>{html} It cost <del>9</del> 8.</p></article></body></html>"
document = docx.Document()
paragraph = document.add_paragraph()
for part in parts:
    run = paragraph.add_run(part.lstrip("^_"))
    run.font.superscript, run.font.subscript = part[0] == "^", part[0] == "_"
document.save("a.docx")
read = MarkItDown(enable_plugins=False)
for name, text in (
    (f"markitdown {version('markitdown')}, HTML", read.convert_stream(io.BytesIO(page.encode()), file_extension=".html").markdown),
    ("markitdown, DOCX", read.convert("a.docx").markdown),
    (f"trafilatura {version('trafilatura')}", trafilatura.extract(page)),
    ("trafilatura with include_formatting", trafilatura.extract(page, include_formatting=True)),
):
    print(f"{name}: {text.splitlines()[-1]}")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^\([a-z]* \)[0-9.]*\(.*\)/\1\2/' seen | sed 's/^[^:]*: //') - <<'SEEN'
A mole has 6.02 × 1023 atoms, a field 5 m2, water is H2O, and in 199812 it was so. It cost ~~9~~ 8.
A mole has 6.02 × 1023 atoms, a field 5 m2, water is H2O, and in 199812 it was so.
A mole has 6.02 × 1023 atoms, a field 5 m2, water is H2O, and in 199812 it was so. It cost 9 8.
A mole has 6.02 × 10<sup>23</sup> atoms, a field 5 m<sup>2</sup>, water is H<sub>2</sub>O, and in 1998<sup>12</sup> it was so. It cost ~~9~~ 8.
SEEN
