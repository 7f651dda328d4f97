#!/usr/bin/env bash
# qdrant-client 1.20.0 in its local mode (":memory:", as programs without a server use it): Fusion.DBSF of two searches
# ranks by score, the larger the better. By the distances Euclid and Manhattan a smaller score is the better one, and so
# the fused list begins with the farthest of what each search found and ends with the exact matches. Each search by
# itself, RRF, and DBSF by cosine or dot product are right; nothing tells the one from the other.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check qdrant-client==1.20.0
cat > run.py <<'PY'
import math
from importlib.metadata import version

from qdrant_client import QdrantClient, models

POINTS = [[math.cos(n / 10), math.sin(n / 10)] for n in range(10)]


def order(distance, fusion):
    client = QdrantClient(":memory:")
    client.create_collection("notes", vectors_config=models.VectorParams(size=2, distance=distance))
    client.upsert("notes", [models.PointStruct(id=n, vector=point) for n, point in enumerate(POINTS)])
    searches = [models.Prefetch(query=POINTS[n], limit=3) for n in (0, 9)]
    found = client.query_points("notes", prefetch=searches, query=models.FusionQuery(fusion=fusion), limit=6).points
    return [point.id for point in found]


for fusion in (models.Fusion.RRF, models.Fusion.DBSF):
    for distance in (models.Distance.COSINE, models.Distance.DOT, models.Distance.EUCLID, models.Distance.MANHATTAN):
        found = order(distance, fusion)
        said = "nearest first" if set(found[:2]) == {0, 9} else "farthest first" if set(found[-2:]) == {0, 9} else "mixed"
        print(f"qdrant-client {version('qdrant-client')}, notes like 0 or 9, {fusion.name}, {distance.name}: {found}, {said}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
[ "$(grep -c 'RRF, .*nearest first' seen)" = 4 ] && [ "$(grep -c 'DBSF, .*: .*nearest first' seen)" = 2 ]
for distance in EUCLID MANHATTAN; do grep -q "DBSF, $distance: .*farthest first" seen; done
