"""Training objectives: what a step makes small, and the source of its batches."""
