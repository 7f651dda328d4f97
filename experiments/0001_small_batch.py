"""Half the rows in a step, twice as many steps."""

from ayllu.recipes.sweeping.experiment import Experiment, Prediction

EXPERIMENT = Experiment(
    question="Do 8 rows a step instead of 16 lower the bits per byte of a run of 150,000 tokens?",
    prediction=Prediction(
        below=-0.05,
        why="37 steps are far from where a larger batch saves anything: twice as many updates of the same size win.",
    ),
    options={"budget": 0.125, "speed": 20_000.0, "width": 64, "depth": 2},
    arms={"16 rows": {"batch": 16}, "8 rows": {"batch": 8}},
    heldout=100,
)

# Written by `ayllu experiment run`.
RESULT = {
    "verdict": "held",
    "difference": -0.13865,
    "low": -0.20701,
    "high": -0.07029,
    "bits_per_byte": {"16 rows": [2.433247, 2.394499, 2.390815], "8 rows": [2.262826, 2.271499, 2.268295]},
    "date": "2026-11-29",
    "processor": "Intel(R) Xeon(R) Processor",
    "asked": "12bdc42053a2d7921b2b6ce10fca9173ae5809f006b25cf61178664bc1f99980",
}
