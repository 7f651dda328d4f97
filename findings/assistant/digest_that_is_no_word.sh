#!/usr/bin/env bash
# tantivy 0.27.0 (Python): the tokenizer of a text field, if nothing is said, throws away each word of more than 39 bytes,
# in the index and in the query. A SHA-256 or a commit's full name is so found by nobody, though its document is stored,
# and a query of it together with a common word answers with every document that has the common word. Chinese, Japanese
# and Thai are written without spaces, three bytes a character: a clause of 14 characters is gone whole, one of 13
# is one word. No error and no warning; a search that asks for all words finds a document that lacks the digest.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check tantivy==0.27.0
cat > run.py <<'PY'
import hashlib
from importlib.metadata import version

import tantivy

schema = tantivy.SchemaBuilder().add_text_field("text", stored=True).build()
index = tantivy.Index(schema)
ours, theirs = (hashlib.sha256(name).hexdigest() for name in (b"ours", b"theirs"))
commit = hashlib.sha1(b"ours").hexdigest()
thirteen, fourteen = "语言模型的训练需要大数据集", "语言模型的训练需要很大数据集"
writer = index.writer()
for text in (f"model {ours}", f"model {theirs}", f"change {commit}", f"change {commit[:39]}", thirteen, fourteen):
    writer.add_document(tantivy.Document(text=text))
writer.commit()
index.reload()
queries = {
    "a SHA-256": ours, "the word model and that SHA-256": f"+model +{ours}", "a commit's name, 40 characters": commit,
    "39 characters of it": commit[:39], "a clause of 13 characters": thirteen, "a clause of 14 characters": fourteen,
}
for name, query in queries.items():
    count = index.searcher().search(index.parse_query(query, ["text"]), 10).count
    print(f"tantivy {version('tantivy')}, {name}: {count} of 1 found", flush=True)
PY
env/bin/python run.py | tee seen
diff <(sed 's/tantivy [^,]*, //' seen) - <<'SEEN'
a SHA-256: 0 of 1 found
the word model and that SHA-256: 2 of 1 found
a commit's name, 40 characters: 0 of 1 found
39 characters of it: 1 of 1 found
a clause of 13 characters: 1 of 1 found
a clause of 14 characters: 0 of 1 found
SEEN
