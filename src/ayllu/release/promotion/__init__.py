"""Which model a product reads: channels move by evidence, and every move is a signed record in one chain."""
