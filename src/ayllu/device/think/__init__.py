"""What answers: nothing but an echo, or a model that the gateway serves."""
