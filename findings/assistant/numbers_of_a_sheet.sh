#!/usr/bin/env bash
# markitdown 0.1.9, XLSX: a cell of the Markdown that a model reads holds what pandas makes of the column, not what the
# cell says. An empty cell becomes NaN, as do the words NA and None; beside one empty cell every TRUE of the column
# becomes 1.0 and every 3 becomes 3.0; numbers are cut to six places behind the point, and a small number in the column
# takes digits from the large ones (12345678.91 becomes 1.234568e+07). A "|" within a cell is not escaped, so the row
# has a cell too many. The same table as CSV comes through as it is, "|" escaped.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check "markitdown[xlsx]==0.1.9" pandas==3.1.1 openpyxl==3.1.5
cat > run.py <<'PY'
import csv
from importlib.metadata import version

import openpyxl
from markitdown import MarkItDown

COLUMNS = {
    "a whole number beside an empty cell": [3, None],
    "TRUE beside an empty cell": [True, None],
    "the word NA": ["NA", "x"],
    "an amount beside a small number": [12345678.91, 0.0000001],
    "a latitude": [-12.04637312, 0.5],
    "a bar": ["a|b", "x"],
    "words": ["Lima", "x"],
}


def read(name):
    rows = [line for line in MarkItDown().convert(name).text_content.splitlines() if line.startswith("|")]
    return rows[2].strip("| ")


for name, (cell, below) in COLUMNS.items():
    book = openpyxl.Workbook()
    rows = [["row", "value"], ["first", cell], ["second", below]]
    for row in rows:
        book.active.append(row)
    book.save("table.xlsx")
    with open("table.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    print(f"markitdown {version('markitdown')}, {name}, {cell}: XLSX {read('table.xlsx')}; CSV {read('table.csv')}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/.*: XLSX/XLSX/' seen) - <<'SEEN'
XLSX first | 3.0; CSV first | 3
XLSX first | 1.0; CSV first | True
XLSX first | NaN; CSV first | NA
XLSX first | 1.234568e+07; CSV first | 12345678.91
XLSX first | -12.046373; CSV first | -12.04637312
XLSX first | a|b; CSV first | a\|b
XLSX first | Lima; CSV first | Lima
SEEN
