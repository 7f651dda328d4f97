"""Hazard suites: what a model says and leans to where it matters, each measured or said not to be."""
