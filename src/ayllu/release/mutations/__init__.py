"""Proof that verification finds what it should: a small release, harmed in all ways we know, each found by name."""
