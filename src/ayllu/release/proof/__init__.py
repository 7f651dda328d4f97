"""Proof beside a release: what it takes to compute again what the release says, by whoever wants to."""
