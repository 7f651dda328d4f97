#!/usr/bin/env bash
# lm-eval 0.4.13: the right answer that a task's doc_to_target gives as text is evaluated as Python where it begins with [
# and ends with ]. "[1,2,3]" so is a list, and compared as "[1, 2, 3]": a model that gives the answer letter by letter is
# wrong. And whether the first document's answer looks like a list decides for all: then each answer is a list of answers,
# of which one is enough. A text among them is a list of its letters: "Lima" is wrong for Lima and "L" is right. The
# same documents in another order, or one more at the front, so have other scores. Tasks on code, on sorting and on
# outputs of programs are hit. No warning; of "(1, 2)" and {"a": 1} nothing of that happens, so texts look safe.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check "lm-eval==0.4.13" datasets==5.2.0
cat > run.py <<'PY'
from importlib.metadata import version

import datasets
from lm_eval.api.task import ConfigurableTask

ROWS = [
    {"question": "sorted('312')", "answer": "[1,2,3]"},
    {"question": "tuple('12')", "answer": "(1,2)"},
    {"question": "The capital of Peru?", "answer": "Lima"},
]


def scores(rows):
    class Task(ConfigurableTask):
        def download(self, *_args, **_options):
            self.dataset = {"test": datasets.Dataset.from_list(rows)}

    metric = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
    fields = {"doc_to_text": "{{question}}", "doc_to_target": "{{answer}}", "generation_kwargs": {"until": ["\n"]}}
    task = Task(config={
        "task": "t", "dataset_path": "t", "output_type": "generate_until", "test_split": "test",
        "metric_list": [metric], **fields,
    })
    for doc in task.test_docs():
        for said in (doc["answer"], doc["answer"].replace(",", ", "), doc["answer"][0]):
            yield doc["answer"], said, int(task.process_results(doc, [said])["exact_match"])


for name, rows in {"list first": ROWS, "list last": ROWS[::-1]}.items():
    for answer, said, score in dict.fromkeys(scores(rows)):
        print(f"lm-eval {version('lm-eval')}, {name}, {answer}: {score} for a model that says {said}", flush=True)
PY
HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
[ "$(grep -c ': 1 for' seen)" = 5 ]
grep -q "list first, Lima: 0 for a model that says Lima" seen && grep -q "list first, Lima: 1 for a model that says L$" seen
grep -q "list last, Lima: 1 for a model that says Lima" seen && grep -q "list last, \[1,2,3\]: 0 for a model that says \[1,2,3\]" seen
