"""Twice the batch, and twice the learning rate with it."""

from ayllu.recipes.sweeping.experiment import Experiment, Prediction

EXPERIMENT = Experiment(
    question="Does a run of 150,000 tokens lose no more than 0.02 bits per byte with 32 rows at a rate of 0.02 instead "
    "of 16 at 0.01?",
    prediction=Prediction(
        below=0.02,
        why="The linear scaling rule (Goyal et al. 2017, arXiv:1706.02677): a rate that grows with the batch makes up "
        "for the steps that are fewer.",
    ),
    options={"budget": 0.125, "speed": 20_000.0, "width": 64, "depth": 2},
    arms={"16 rows at 0.01": {"batch": 16, "lr": 0.01}, "32 rows at 0.02": {"batch": 32, "lr": 0.02}},
    heldout=100,
)

# Written by `ayllu experiment run`.
RESULT = {
    "verdict": "refuted",
    "difference": 0.07812,
    "low": 0.05142,
    "high": 0.10482,
    "bits_per_byte": {
        "16 rows at 0.01": [2.435975, 2.394502, 2.393069],
        "32 rows at 0.02": [2.526157, 2.464065, 2.467679],
    },
    "date": "2026-12-01",
    "processor": "AMD EPYC",
    "asked": "83d03ab0f88709389feb871c705523b04d571c5a9d9a0ab5c5c60c36411ac707",
}
