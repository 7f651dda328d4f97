#!/usr/bin/env bash
# polars 2.1.0, read_excel() with what it is given by default: the type of a column is guessed from its first hundred rows,
# and what does not fit further down is put in by force. A column of part numbers that are digits for a hundred rows so
# loses each later one with a letter: 12b is null, as is "n/a" or a name, and the text 0012 is the number 12. Nothing is
# said. The same table as CSV is refused with an error by read_csv(), which guesses from a hundred rows too, so that one
# takes what was read without an error for all of it; a sheet of fewer rows has every cell. infer_schema_length=None
# reads all as text and keeps it. Whoever answers questions about a sheet, or makes training data of it, finds gaps.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check polars==2.1.0 fastexcel==0.21.0 xlsxwriter==3.3.1
cat > run.py <<'PY'
import csv

import polars
import xlsxwriter


def write(values):
    with xlsxwriter.Workbook("table.xlsx") as book, open("table.csv", "w", newline="") as file:
        sheet = book.add_worksheet()
        for place, value in enumerate(["part", *values]):
            row = [place, value] if place else ["row", value]
            sheet.write_row(place, 0, row)
            csv.writer(file).writerow(row)


def last(read, name, **options):
    try:
        column = read(name, **options)["part"]
    except Exception as error:
        return f"refused, {type(error).__name__}"
    return f"{column.tail(2).to_list()}"


for count in (50, 150):
    write([1000 + number for number in range(count)] + ["12b", "0012"])
    said = {
        "XLSX": last(polars.read_excel, "table.xlsx"),
        "XLSX, all rows looked at": last(polars.read_excel, "table.xlsx", infer_schema_length=None),
        "CSV": last(polars.read_csv, "table.csv"),
    }
    for name, found in said.items():
        print(f"polars {polars.__version__}, 12b and 0012 after {count} numbers, {name}: {found}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^[^,]*, //' seen) - <<'SEEN'
12b and 0012 after 50 numbers, XLSX: ['12b', '0012']
12b and 0012 after 50 numbers, XLSX, all rows looked at: ['12b', '0012']
12b and 0012 after 50 numbers, CSV: ['12b', '0012']
12b and 0012 after 150 numbers, XLSX: [None, 12]
12b and 0012 after 150 numbers, XLSX, all rows looked at: ['12b', '0012']
12b and 0012 after 150 numbers, CSV: refused, ComputeError
SEEN
