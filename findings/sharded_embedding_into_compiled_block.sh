#!/usr/bin/env bash
# torch 2.13: a compiled block that is given the output of a sharded embedding as it is fails in the backward pass.
# What RowwiseParallel hands on is an AsyncCollectiveTensor (its messages are still under way). Uncompiled code takes
# it, and so does compiled code behind any operation that waits, such as a cast or clone(); without one, the block's own
# sequence-parallel norm later meets a gradient that is no DTensor.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 numpy
cat > run.py <<'PY'
import torch, torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import RowwiseParallel, SequenceParallel, parallelize_module


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(8)

    def forward(self, x):
        return x + self.norm(x)


mesh = init_device_mesh("cpu", (2,))
for compiled, wait in ((False, False), (True, True), (True, False)):
    torch.manual_seed(0)
    table, block = nn.Embedding(16, 8), Block()
    parallelize_module(table, mesh, RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1)))
    parallelize_module(block, mesh, {"norm": SequenceParallel(use_local_output=True)})
    if compiled:
        block.compile(backend="aot_eager")
    stream = table(torch.arange(8)[None])
    kind = type(stream).__name__
    try:
        block(stream.clone() if wait else stream).sum().backward()
        said = "backward works"
    except AttributeError as error:
        said = f"AttributeError: {error}"
    if dist.get_rank() == 0:
        name = ("compiled" if compiled else "uncompiled") + (", after clone()" if wait else "")
        print(f"torch {torch.__version__.split('+')[0]}, {kind}, {name}: {said}", flush=True)
dist.barrier()
dist.destroy_process_group()
PY
OMP_NUM_THREADS=1 env/bin/python -m torch.distributed.run --standalone --nproc-per-node=2 run.py 2>errors | tee seen ||
  { tail -5 errors; exit 1; }
diff seen - <<'SEEN'
torch 2.13.0, AsyncCollectiveTensor, uncompiled: backward works
torch 2.13.0, AsyncCollectiveTensor, compiled, after clone(): backward works
torch 2.13.0, AsyncCollectiveTensor, compiled: AttributeError: 'Tensor' object has no attribute '_local_tensor'
SEEN
