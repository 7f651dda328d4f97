"""Addresses and what answers them: endpoints say by their signatures what they read of a request."""
