"""Prompt injection, measured: attacks in many languages, by every way that text of others comes in."""
