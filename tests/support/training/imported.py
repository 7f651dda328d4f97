"""What training programs import: the process that jobs are forked from has it before the first of them asks."""

# ruff: noqa: F401 (importing is all that this is for)
import torch._dynamo
import torch.distributed.run

import ayllu.train.distributed.parallel_model
import ayllu.train.loop
