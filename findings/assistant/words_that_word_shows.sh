#!/usr/bin/env bash
# python-docx 1.2.0: the text of a paragraph and of a document is not what Word shows. What a reviewer has put in while
# changes are tracked is left out, as is what he took out, so that "The dose is 50 mg" is "The dose is  mg". What stands
# in a field to be filled in (a content control: names and dates of forms, cover pages, tables of contents) is left out
# too, a whole paragraph among paragraphs as well, by `paragraphs`, by iter_inner_content() and by `text`. Nothing is
# said of it. markitdown 0.1.9 has all of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check python-docx==1.2.0 "markitdown[docx]==0.1.9"
cat > run.py <<'PY'
from importlib.metadata import version

import docx
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from markitdown import MarkItDown


def element(name, content):
    return parse_xml(f'<w:{name} {nsdecls("w")} w:id="1" w:author="Ana">{content}</w:{name}>')


def field(content):
    return parse_xml(f"<w:sdt {nsdecls('w')}><w:sdtPr/><w:sdtContent>{content}</w:sdtContent></w:sdt>")


document = docx.Document()
document.element.body.insert(0, field("<w:p><w:r><w:t>Leaflet of 2026</w:t></w:r></w:p>"))
dose = document.add_paragraph("The dose is ")
dose._p.append(element("del", "<w:r><w:delText>5</w:delText></w:r>"))
dose._p.append(element("ins", "<w:r><w:t>50</w:t></w:r>"))
dose.add_run(" mg.")
document.add_paragraph("Patient: ")._p.append(field("<w:r><w:t>Ana</w:t></w:r>"))
document.save("a.docx")
read = docx.Document("a.docx")
print(f"python-docx {version('python-docx')}, paragraphs: {[paragraph.text for paragraph in read.paragraphs]}")
print(f"python-docx, iter_inner_content(): {[block.text for block in read.iter_inner_content()]}")
print(f"markitdown {version('markitdown')}: {MarkItDown(enable_plugins=False).convert('a.docx').markdown.splitlines()[::2]}")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^[^:]*: //' seen) - <<'SEEN'
['The dose is  mg.', 'Patient: ']
['The dose is  mg.', 'Patient: ']
['Leaflet of 2026', 'The dose is 50 mg.', 'Patient: Ana']
SEEN
