"""Whom to believe: keys seen before, and what their owners have taken back."""
