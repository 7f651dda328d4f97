"""OpenAI's Responses: answers that are kept, go on from each other, and can be computed while nobody waits."""
