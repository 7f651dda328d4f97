"""The Llama 3 transformer: its configuration, its forward pass, generation, and the file formats it travels in."""
