"""Ayllu: an open general-intelligence lab, from raw text to a released model and the machines behind it."""

__version__ = "0.1.0"
