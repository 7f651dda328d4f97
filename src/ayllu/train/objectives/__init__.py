"""Training objectives: the loss that a step minimises, and the source of its batches."""
