"""Texts to ids and back, as the clients of vLLM and of llama.cpp ask for it."""
