#!/usr/bin/env bash
# pypdfium2 5.15.2: where a line of a PDF ends in a hyphen and the next begins with a letter, the text holds neither the
# hyphen nor the line's end but one code for both: U+FFFE, which is no character, by get_text_range(), and the control
# code U+0002 by get_text_bounded() of the same page. A search for the word does not find it, the code goes on into
# indexes and training texts, and taking it out joins words that are written with a hyphen: "state-of-theart". Beside
# figures the hyphen stays.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check pypdfium2==5.15.2 reportlab==5.1.0 pypdf==7.1.1
cat > run.py <<'PY'
from importlib.metadata import version

import pypdf
import pypdfium2
from reportlab.pdfgen.canvas import Canvas

LINES = ("An exam-", "ple of a state-of-the-", "art camera, pages 10-", "12.")
canvas = Canvas("page.pdf")
text = canvas.beginText(72, 720)
for line in LINES:
    text.textLine(line)
canvas.drawText(text)
canvas.save()

page = pypdfium2.PdfDocument("page.pdf")[0].get_textpage()
read = {
    f"pypdfium2 {version('pypdfium2')}, get_text_range()": page.get_text_range(),
    f"pypdfium2 {version('pypdfium2')}, get_text_bounded()": page.get_text_bounded(),
    f"pypdf {version('pypdf')}": pypdf.PdfReader("page.pdf").pages[0].extract_text(),
}
for name, found in read.items():
    print(f"{name}: {found.strip().encode('unicode_escape').decode()}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/.*[)1]: //' seen) - <<'SEEN'
An exam\ufffeple of a state-of-the\ufffeart camera, pages 10-\r\n12.
An exam\x02ple of a state-of-the\x02art camera, pages 10-\r\n12.
An exam-\nple of a state-of-the-\nart camera, pages 10-\n12.
SEEN
