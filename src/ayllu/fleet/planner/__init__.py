"""Layouts of a training run: how long each takes, what it holds, and which is best."""
