"""The training engine: objectives, optimizer, checkpoints and the loop."""
