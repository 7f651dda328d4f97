"""Rendered scenes with known truth: shapes, colours, places, sizes, writing and photographs, and what can be asked."""
