"""A small judge of answers, trained on what people labelled, and how far it, and others, can be believed."""
