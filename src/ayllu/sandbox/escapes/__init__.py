"""Attempts to get out of the sandbox, each harmless and each with something to find; and what holds them."""
