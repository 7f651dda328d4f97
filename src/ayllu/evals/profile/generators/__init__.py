"""Seeded generators of questions, by row: each has a difficulty from trivial (1) to beyond any model (30)."""
