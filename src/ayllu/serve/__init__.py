"""Engines that compute tokens, the gateway in front of them, and the chat page."""
