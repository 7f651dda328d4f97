"""The model in a visitor's own browser: llama.cpp as WebAssembly and a GGUF file; the server computes nothing."""
