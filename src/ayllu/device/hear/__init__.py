"""Ears: who speaks when, when a turn has ended, and what was said."""
