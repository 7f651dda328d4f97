"""OpenAI's files: what clients upload, kept in the home until they delete it or it expires."""
