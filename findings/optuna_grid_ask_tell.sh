#!/usr/bin/env bash
# Optuna's GridSampler cannot be used by ask and tell: the `tell` of the grid's last trial raises, after it was counted.
# The sampler asks the study to stop, which only `study.optimize` allows. An engineer who drives trials from elsewhere
# (a cluster's queue) loses the loop at its very end. Way out: `study.enqueue_trial` for each combination.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q optuna==5.0.0
"$work/venv/bin/python" - <<'PYTHON'
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
print("optuna", optuna.__version__)
study = optuna.create_study(sampler=optuna.samplers.GridSampler({"x": [1, 2, 3]}, seed=0))
raised = []
for number in range(3):
    trial = study.ask()
    try:
        study.tell(trial, trial.suggest_categorical("x", [1, 2, 3]))
    except RuntimeError as error:
        raised.append((number, str(error)[:56]))
print("asked 3, told", len([t for t in study.trials if t.state.is_finished()]), "raised:", raised)
assert [number for number, _ in raised] == [2], "it does not raise at the last trial any more"

study = optuna.create_study()
for x in (1, 2, 3):
    study.enqueue_trial({"x": x})
for _ in range(3):
    trial = study.ask()
    study.tell(trial, trial.suggest_categorical("x", [1, 2, 3]))
print("enqueued 3, told", len(study.trials), "without an error")
PYTHON
