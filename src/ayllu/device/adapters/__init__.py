"""Other people's devices: how they reach the ears and the voice."""
