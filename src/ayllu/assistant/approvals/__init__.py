"""Who allows a call: where its arguments came from, what the user has said before, and the question to the user."""
