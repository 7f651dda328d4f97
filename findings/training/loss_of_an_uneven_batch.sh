#!/usr/bin/env bash
# torch 2.13: mse_loss() of a DTensor whose rows do not divide evenly among the processes is the mean of each process's
# mean, so that a row on the process with fewer counts more; full_tensor() gives that number without a word. mean() of
# the same DTensor, of which one expects no more than of the loss, weighs by rows and is right, as is the loss written
# out as (a - b).square().mean(). cross_entropy() of such rows is refused with an error, so that one takes what is not
# refused for right. The last batch of an epoch is where rows are uneven.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.3.5
cat > run.py <<'PY'
import os

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh
from torch.nn import functional

losses = {
    "mse_loss()": functional.mse_loss,
    "mean of squares": lambda a, b: (a - b).square().mean(),
}


def run(rank, rows):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29547")
    dist.init_process_group("gloo", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    a_RF, b_RF = torch.arange(1.0, 2 * rows + 1).reshape(rows, 2), torch.zeros(rows, 2)
    shards = [distribute_tensor(x, mesh, [Shard(0)]) for x in (a_RF, b_RF)]
    for name, loss in losses.items():
        with torch.no_grad():
            got, right = loss(*shards).full_tensor().item(), loss(a_RF, b_RF).item()
        if rank == 0:
            verdict = "right" if abs(got - right) < 1e-4 else f"where {right:.4f} is right"
            print(f"torch {torch.__version__}, {rows} rows on 2 processes, {name}: {got:.4f}, {verdict}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    for rows in (4, 5, 3):
        torch.multiprocessing.start_processes(run, args=(rows,), nprocs=2)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
[ "$(grep -c "4 rows.*, right" seen)" -eq 2 ]
grep -q "5 rows.*, mse_loss(): 44.3333, where 38.5000 is right" seen
grep -q "3 rows.*, mse_loss(): 19.0000, where 15.1667 is right" seen
[ "$(grep -c "[35] rows.*, mean of squares: .*, right" seen)" -eq 2 ]
