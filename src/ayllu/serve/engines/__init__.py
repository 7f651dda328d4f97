"""Engines compute tokens: the Protocol that all follow, one file an engine, and the choice between them."""
