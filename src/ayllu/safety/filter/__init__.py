"""The judge between a model and those who ask: what is stopped, logged or let through is a file's to say."""
