"""Training spread over processes: the layout, and what each way of spreading does to the model."""
