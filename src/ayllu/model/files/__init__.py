"""Weights on disk: Hugging Face folders, GGUF files and Meta's own layout."""
