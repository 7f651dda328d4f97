"""Scaling laws: loss by parameters and tokens, fitted on small runs, and what they say of a larger one in advance."""
