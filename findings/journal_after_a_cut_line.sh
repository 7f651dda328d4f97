#!/usr/bin/env bash
# Optuna 5.0: a study in a journal file whose last line was cut, as a worker leaves it that is killed or meets a full
# disk while it writes. The study opens and shows every trial, so nothing looks wrong. The next record is glued to the cut
# line: optimize() fails with an AttributeError that names no file, at the second try with a JSONDecodeError, and from
# then on the study cannot be opened at all. Whoever removes the cut line before anybody writes goes on as if nothing was.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check optuna==5.0.0
cat > run.py <<'PY'
from importlib.metadata import version
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

optuna.logging.set_verbosity(optuna.logging.ERROR)


def study(file, make=optuna.load_study):
    return make(study_name="sweep", storage=JournalStorage(JournalFileBackend(file)))


def attempt(what, work):
    try:
        print(f"{what}: {work()}", flush=True)
    except Exception as error:
        print(f"{what}: {type(error).__name__}", flush=True)


def one_more(file):
    found = study(file)
    found.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    return f"{len(found.trials)} trials"


print("optuna", version("optuna"))
for case in ("left as it was", "cut line removed"):
    file = f"{case[:3]}.log"
    study(file, optuna.create_study).optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    cut = Path(file).read_bytes()[:-60]
    Path(file).write_bytes(cut if case == "left as it was" else cut[: cut.rindex(b"\n") + 1])
    attempt(f"{case}, opened", lambda: f"{len(study(file).trials)} trials")
    attempt(f"{case}, first more", lambda: one_more(file))
    attempt(f"{case}, second more", lambda: one_more(file))
    attempt(f"{case}, opened again", lambda: f"{len(study(file).trials)} trials")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
grep -q "was, opened: 3 trials" seen && grep -q "was, first more: AttributeError" seen
grep -q "was, second more: JSONDecodeError" seen && grep -q "was, opened again: JSONDecodeError" seen
grep -q "removed, second more: 5 trials" seen && grep -q "removed, opened again: 5 trials" seen
