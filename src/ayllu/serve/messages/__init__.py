"""Anthropic's Messages, so that its clients speak to our models too."""
