"""lm-evaluation-harness beside us: the same items through it, and its results read."""
