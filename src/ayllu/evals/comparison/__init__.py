"""Measurements side by side: pairs of models, seeds of one, and what was kept of each."""
