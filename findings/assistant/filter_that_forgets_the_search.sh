#!/usr/bin/env bash
# faiss-cpu 1.15.1: how widely an index searches is set on it, nprobe of an IVF index and efSearch of an HNSW one. A search
# among some of the vectors (of one user, one language, not deleted) takes a selector, and for that an object of
# parameters. SearchParametersIVF(sel=...) brings an nprobe of its own, 1, and SearchParametersHNSW(sel=...) an efSearch of 16,
# and these count, not the index's: here nine of ten neighbours are no more found, though the selector lets every vector
# through. Nothing is said, and k results come. HNSW also takes the plain SearchParameters(sel=...), by which its own
# setting holds, so that the one object forgets it and the other does not. nprobe=index.nprobe beside sel helps.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check faiss-cpu==1.15.1 numpy==2.4.6
cat > run.py <<'PY'
import faiss
import numpy as np

COUNT, SIZE, K = 20_000, 32, 10
draw = np.random.default_rng(0)
vectors = draw.normal(size=(COUNT, SIZE)).astype("float32")
queries = draw.normal(size=(200, SIZE)).astype("float32")
flat = faiss.IndexFlatL2(SIZE)
flat.add(vectors)
right = flat.search(queries, K)[1]
ivf = faiss.index_factory(SIZE, "IVF128,Flat")
ivf.train(vectors)
ivf.nprobe = 128
hnsw = faiss.IndexHNSWFlat(SIZE, 16)
hnsw.hnsw.efSearch = 512
ivf.add(vectors)
hnsw.add(vectors)
everyone = faiss.IDSelectorRange(0, COUNT)
for name, index, params in (
    ("IVF, nprobe 128, no selector", ivf, None),
    ("IVF, selector of all", ivf, faiss.SearchParametersIVF(sel=everyone)),
    ("IVF, selector of all and nprobe", ivf, faiss.SearchParametersIVF(sel=everyone, nprobe=ivf.nprobe)),
    ("HNSW, efSearch 512, no selector", hnsw, None),
    ("HNSW, selector of all", hnsw, faiss.SearchParametersHNSW(sel=everyone)),
    ("HNSW, plain parameters", hnsw, faiss.SearchParameters(sel=everyone)),
):
    found = index.search(queries, K, params=params)[1]
    share = sum(len(set(one) & set(other)) for one, other in zip(found, right, strict=True)) / right.size
    verdict = "nearly all" if share > 0.95 else "most" if share > 0.8 else "half" if share > 0.4 else "few"
    print(f"faiss {faiss.__version__}, {name}: {verdict} of the neighbours ({share:.2f}), {(found >= 0).all()}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^faiss [^,]*, //; s/ (.*), / /' seen) - <<'SEEN'
IVF, nprobe 128, no selector: nearly all of the neighbours True
IVF, selector of all: few of the neighbours True
IVF, selector of all and nprobe: nearly all of the neighbours True
HNSW, efSearch 512, no selector: nearly all of the neighbours True
HNSW, selector of all: half of the neighbours True
HNSW, plain parameters: nearly all of the neighbours True
SEEN
