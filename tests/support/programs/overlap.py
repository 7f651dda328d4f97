"""Run by torchrun: all-gathers that overlap, twelve at a time; fails where a sum is wrong."""

import warnings

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as collectives

from ayllu.train.distributed.processes import start_processes

ROUNDS, OVERLAPPING, SIZE = 600, 12, 64

torch.set_num_threads(1)
warnings.simplefilter("ignore", FutureWarning)
rank, processes = start_processes()
group = dist.new_group(list(range(processes)))
expected = SIZE * sum(range(processes))
for _ in range(ROUNDS):
    gathered = [
        collectives.all_gather_tensor(torch.full((SIZE,), float(rank)), 0, dist.group.WORLD if n % 2 else group)
        for n in range(OVERLAPPING)
    ]
    assert all(float((whole + 0).sum()) == expected for whole in gathered)
dist.destroy_process_group()
