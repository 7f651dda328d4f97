"""Whether the questions stand in the training text: word for word, or nearly so."""
