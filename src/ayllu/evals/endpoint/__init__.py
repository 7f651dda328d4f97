"""Standard sets put to any server that speaks OpenAI's API."""
