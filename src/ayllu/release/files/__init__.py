"""Files of a release: which may be there, read safely and without torch, and whether they hold one model."""
