"""How likely a model finds text: choices of benchmark items, and held-out documents."""
