"""Safety tuning: what a model learns to refuse and what not to, and what that changed."""
