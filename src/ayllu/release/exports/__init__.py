"""What an export says beside its files: what its rounding loses, and how Ollama runs it."""
