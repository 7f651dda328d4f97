"""Sweeps and experiments: one recipe many times with other options, and what the differences are worth."""
