"""Engines that compute tokens, and the gateway in front of them."""
