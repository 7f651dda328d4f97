"""Documents as packed rows of ids, and the batches of a training step."""
