"""Context parallelism without processes: which positions a device has, and what its micro-batches keep of them."""

from __future__ import annotations

import pytest
import torch

from ayllu.data.tokens.loader import Batch
from ayllu.train.distributed.context import context_positions
from ayllu.train.distributed.parallel_model import micro_batches


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_every_position_is_on_one_device_and_all_have_as_much_to_attend_to(devices: int) -> None:
    shares = [context_positions(16, devices, rank) for rank in range(devices)]
    assert sorted(torch.cat(shares).tolist()) == list(range(16))
    assert len({int(share.sum()) for share in shares}) == 1


def test_micro_batches_keep_positions_whole_though_there_are_as_many_rows() -> None:
    ids = torch.arange(16).view(4, 4)
    batch = Batch(ids, ids + 1, None, positions_T=torch.tensor([0, 1, 6, 7]), mask=torch.zeros(4, 1, 4, 8))
    parts = list(micro_batches(batch, 2))
    assert [part.ids_BT.tolist() for part in parts] == [ids[:2].tolist(), ids[2:].tolist()]
    for part in parts:
        assert part.positions_T.tolist() == [0, 1, 6, 7]
        assert part.mask.shape == (2, 1, 4, 8)
