"""Many callers, one engine: whose turn it is, and who gives one back to others."""
