"""The standard sets: prompts and metrics as lm-evaluation-harness 0.4.13 has them, item for item."""
