"""An environment of its own for lm-evaluation-harness, whose pins could not be met beside ours."""

from __future__ import annotations

from pathlib import Path

from ayllu.lab.made.environments import Environment

HARNESS = Environment(
    name="lm-eval-0.4.13",
    title="lm-eval",
    packages=(
        "lm-eval[hf]==0.4.13",
        "torch==2.13.0",
        "transformers==5.23.0",
        "accelerate==1.15.0",
        "langdetect==1.0.9",
        "immutabledict==4.3.1",
        "sympy==1.14.0",
        "antlr4-python3-runtime==4.11.0",
        "math-verify==0.9.0",
    ),
)


def harness_python(cache: Path) -> Path:
    """The interpreter of the environment, made when it is not there. UserError where that fails."""
    return HARNESS.python(cache)
