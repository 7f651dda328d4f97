"""Engines that compute tokens, the gateway in front of them, and the conversation in the terminal."""
