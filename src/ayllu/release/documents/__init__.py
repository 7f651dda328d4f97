"""Documents about a release in the forms of others, made of its records alone."""
