"""What computes tokens when serving: one file an engine, and which one serves a folder."""
