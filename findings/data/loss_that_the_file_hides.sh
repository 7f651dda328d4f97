#!/usr/bin/env bash
# deltalake 1.6.6 and datafusion 55.0.0, which ask tables in SQL: NaN is larger than every number there, so that "loss > 5"
# finds the diverged runs where the table is in memory. In a Parquet file or a Delta table it finds them or not by what
# lies beside them: a group of rows, or a file, is passed over when its largest number, from which Parquet and Delta leave
# out NaN, is not above 5. With one such row in the group the NaN is found too. "not (loss < 5)" loses them likewise. So a
# gate "no run with loss > 5" lets diverged ones pass, and writing the table in other pieces changes the answer. No warning;
# isnan(loss) finds all. polars 2.1.0, by which NaN is the largest too, reads the same file and has them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check deltalake==1.6.6 datafusion==55.0.0 polars==2.1.0 pyarrow==26.0.1
cat > run.py <<'PY'
from importlib.metadata import version

import polars
import pyarrow
from datafusion import SessionContext
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from pyarrow import parquet

RUNS = pyarrow.table({"run": list("abcdefgh"), "loss": [1.0, 2.0, float("nan"), 3.0, 10.0, 11.0, 12.0, float("nan")]})


def by_datafusion(question, register, *source):
    context = SessionContext()
    getattr(context, register)(*source)
    return context.sql(question).to_pydict()["run"]


parquet.write_table(RUNS, "runs.parquet", row_group_size=4)
parquet.write_table(RUNS, "whole.parquet")
write_deltalake("runs", RUNS.slice(0, 4))
write_deltalake("runs", RUNS.slice(4), mode="append")
print(", ".join(f"{name} {version(name)}" for name in ("deltalake", "datafusion", "polars")))
for condition in ("loss > 5", "loss > 100", "not (loss < 5)", "isnan(loss)"):
    question = f"select run from runs where {condition}"
    answers = {
        "memory": by_datafusion(question, "from_arrow", RUNS, "runs"),
        "one group": by_datafusion(question, "register_parquet", "runs", "whole.parquet"),
        "two groups": by_datafusion(question, "register_parquet", "runs", "runs.parquet"),
        "delta": QueryBuilder().register("runs", DeltaTable("runs")).execute(question).read_all()["run"].to_pylist(),
    }
    print(f"{condition}: {', '.join(f'{kind} {chr(32).join(sorted(found))}' for kind, found in answers.items())}")
found = polars.scan_parquet("runs.parquet").filter(polars.col("loss") > 5).collect()["run"].to_list()
print(f"loss > 5 by polars: {' '.join(found)}")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
tail -n +2 seen | diff - <(cat <<'SEEN'
loss > 5: memory c e f g h, one group c e f g h, two groups e f g h, delta e f g h
loss > 100: memory c h, one group , two groups , delta 
not (loss < 5): memory c e f g h, one group c e f g h, two groups e f g h, delta e f g h
isnan(loss): memory c h, one group c h, two groups c h, delta c h
loss > 5 by polars: c e f g h
SEEN
)
