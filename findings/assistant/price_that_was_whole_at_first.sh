#!/usr/bin/env bash
# lancedb 0.40.0: a table takes the types of its columns from its first rows. Where these held whole numbers by chance
# (prices, scores, seconds), add() and update() cut the fractions off what comes later: 3.7 is stored as 3, and the
# string "12" as the number. Nothing is said. merge_insert() of the same row refuses it with the words that it would be
# truncated, and add() refuses too where a number is too large for the column, so that one takes it for checked. A
# schema given to create_table(), or 3.0 in the first row, keeps the fractions.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check lancedb==0.40.0
cat > run.py <<'PY'
import lancedb

database = lancedb.connect("store")


def stored(way, first, then):
    table = database.create_table("bills", [{"id": 1, "price": first}], mode="overwrite")
    try:
        if way == "add":
            table.add([{"id": 2, "price": then}])
        elif way == "update":
            table.update(where="id = 1", values={"price": then})
        else:
            table.merge_insert("id").when_not_matched_insert_all().execute([{"id": 2, "price": then}])
    except (RuntimeError, ValueError) as error:
        return "refused" + (", would be truncated" if "truncated" in str(error) else "")
    kind = table.schema.field("price").type
    return f"stored as {table.to_arrow()['price'].to_pylist()[-1]!r} ({kind})"


for way in ("add", "update", "merge_insert"):
    print(f"lancedb {lancedb.__version__}, prices begin with 3, then {way} 3.7: {stored(way, 3, 3.7)}", flush=True)
for first, then in ((3.0, 3.7), (3, "12"), (3, 2.0**70)):
    print(f"lancedb {lancedb.__version__}, prices begin with {first!r}, then add {then!r}: {stored('add', first, then)}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/.*begin with //' seen) - <<'SEEN'
3, then add 3.7: stored as 3 (int64)
3, then update 3.7: stored as 3 (int64)
3, then merge_insert 3.7: refused, would be truncated
3.0, then add 3.7: stored as 3.7 (double)
3, then add '12': stored as 12 (int64)
3, then add 1.1805916207174113e+21: refused
SEEN
