"""Training on many devices: the layout, and what each kind of parallelism does to the model."""
