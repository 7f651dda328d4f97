"""Hazards of a model, the judges that find them, and the filter in front of those who ask."""
