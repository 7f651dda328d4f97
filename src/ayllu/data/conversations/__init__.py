"""Conversations, preferences and tasks to learn from and to measure with."""
