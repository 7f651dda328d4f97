"""A decay that branches off from a run whose rate stays is the end of a run of its own length, to the last bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from ayllu.data.tokens.loader import Loader
from ayllu.train.loop import TrainConfig, TrainResult, train
from support.programs.layouts import tokens
from support.training.tiny import fresh_model

STABLE, STEPS = 4, 6


def run(folder: Path, scratch: Path, steps: int, *, keep_last: bool = False) -> TrainResult:
    loader = Loader(tokens(folder), seed=0)
    config = TrainConfig(steps=steps, batch=2, warmup=2, stable=STABLE, precision="float32")
    return train(fresh_model(), loader, config, scratch=scratch, title="branch", keep_last=keep_last)


def test_a_branch_is_the_run_of_its_length(tmp_path: Path) -> None:
    whole = run(tmp_path, tmp_path / "whole", STEPS)
    trunk = run(tmp_path, tmp_path / "trunk", STABLE, keep_last=True)
    shutil.copytree(tmp_path / "trunk", tmp_path / "branch")
    branch = run(tmp_path, tmp_path / "branch", STEPS)
    assert trunk.losses == whole.losses[:STABLE]
    assert branch.losses == whole.losses
    for name, weight in whole.model.named_parameters():
        assert torch.equal(weight, branch.model.get_parameter(name)), name


def test_a_trunk_that_is_there_is_not_trained_again(tmp_path: Path) -> None:
    first = run(tmp_path, tmp_path / "trunk", STABLE, keep_last=True)
    again = run(tmp_path, tmp_path / "trunk", STABLE, keep_last=True)
    assert again.losses == first.losses
    assert again.seconds == first.seconds, "no step was timed anew"
