#!/usr/bin/env bash
# fastavro 1.13.1: writer() with a schema checks some values and bends others. A number where the schema says string is
# refused, so one takes records for checked. The text "false" in a field of type boolean is written as true (labels that
# come from CSV or from a form), 3.7 in an int as 3 (scores, seconds), and 2 to the 40th in an int as it is, which an
# Avro int of 32 bits cannot be. In a union the first branch that fits is taken, and "float" fits whole numbers: with
# ["null", "float", "long"] the id 16777217 is 16777216, with "long" before it stays. Beside "double" a float is looked
# after (0.1 goes to double), which makes the order look harmless. No warning; strict=True does not see it either, only
# validator=True does, and not the union.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check fastavro==1.13.1
cat > run.py <<'PY'
import io
import warnings

import fastavro
from fastavro.validation import ValidationError

for kind, value in (
    ("string", 5),
    ("boolean", "false"),
    ("int", 3.7),
    ("int", 2**40),
    (["null", "float", "long"], 16777217),
    (["null", "long", "float"], 16777217),
    (["null", "float", "double"], 0.1),
):
    schema = fastavro.parse_schema({"type": "record", "name": "row", "fields": [{"name": "x", "type": kind}]})
    seen = []
    with warnings.catch_warnings(record=True) as warned:
        for options in ({}, {"strict": True}, {"validator": True}):
            file = io.BytesIO()
            try:
                fastavro.writer(file, schema, [{"x": value}], **options)
                file.seek(0)
                seen.append(str(next(fastavro.reader(file))["x"]))
            except (TypeError, ValueError, ValidationError):
                seen.append("refused")
    name = kind if isinstance(kind, str) else " or ".join(kind)
    print(f"fastavro {fastavro.__version__}, {name}: {value!r} is {', '.join(seen)}; {len(warned)} warnings", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^fastavro [^,]*, //' seen) - <<'SEEN'
string: 5 is refused, refused, refused; 0 warnings
boolean: 'false' is True, True, refused; 0 warnings
int: 3.7 is 3, 3, refused; 0 warnings
int: 1099511627776 is 1099511627776, 1099511627776, refused; 0 warnings
null or float or long: 16777217 is 16777216.0, 16777216.0, 16777216.0; 0 warnings
null or long or float: 16777217 is 16777217, 16777217, 16777217; 0 warnings
null or float or double: 0.1 is 0.1, 0.1, 0.1; 0 warnings
SEEN
