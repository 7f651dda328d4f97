"""vLLM behind the gateway: its server computes on GPUs, started here or running elsewhere."""
