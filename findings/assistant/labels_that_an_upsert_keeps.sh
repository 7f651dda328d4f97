#!/usr/bin/env bash
# chromadb 1.5.9: upsert() of an id that is there replaces its text and its vector, but not its metadata: keys that the
# new record does not name stay as they were. A note that was marked as a draft, private or of another owner is found by
# that mark for ever, though nobody says so any more; only a key that is named with None goes. And get(ids=...) answers
# in the order of the store, not of the ids, so that zip(ids, documents) gives each the text of another.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check chromadb==1.5.9
cat > run.py <<'PY'
import chromadb
from chromadb.config import Settings

client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
notes = client.create_collection("notes", embedding_function=None)


def put(way, key, text, **labels):
    getattr(notes, way)(ids=[key], embeddings=[[1.0, 0.0]], documents=[text], metadatas=[labels])


def told(what):
    found = notes.get(ids=["first"])
    labels = ", ".join(f"{key} {value}" for key, value in sorted(found["metadatas"][0].items()))
    print(f"chromadb {chromadb.__version__}, {what}: {found['documents'][0]!r} with {labels}", flush=True)


put("add", "first", "old text", draft=True, owner="Ana")
told("added")
put("upsert", "first", "new text", owner="Luis")
told("upserted without draft")
print("found as a draft:", notes.get(where={"draft": True})["documents"])
put("upsert", "first", "new text", owner="Luis", draft=None)
told("upserted with draft None")
put("add", "second", "second text", owner="Ana")
asked = ["second", "first"]
print("asked for", asked, "got", notes.get(ids=asked)["documents"])
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^chromadb [^,]*, //' seen) - <<'SEEN'
added: 'old text' with draft True, owner Ana
upserted without draft: 'new text' with draft True, owner Luis
found as a draft: ['new text']
upserted with draft None: 'new text' with owner Luis
asked for ['second', 'first'] got ['new text', 'second text']
SEEN
