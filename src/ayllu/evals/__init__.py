"""Measurements of a model, each with its interval and its chance level."""
