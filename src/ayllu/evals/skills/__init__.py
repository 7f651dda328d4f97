"""What a model can do, reply by reply."""
