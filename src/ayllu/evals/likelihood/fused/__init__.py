"""Rows of branches on a processor: torch's products, and between them code in C that passes over its numbers once."""
