"""Twice the blocks on the same tokens."""

from ayllu.recipes.sweeping.experiment import Experiment, Prediction

EXPERIMENT = Experiment(
    question="Do 4 blocks instead of 2 lower the bits per byte of a run of 150,000 tokens by 0.02?",
    prediction=Prediction(
        below=-0.02,
        why="A law of size says that more parameters on the same tokens are never worse, and these are a quarter more.",
    ),
    options={"budget": 0.125, "speed": 20_000.0, "width": 64, "batch": 16},
    arms={"2 blocks": {"depth": 2}, "4 blocks": {"depth": 4}},
    heldout=100,
)
