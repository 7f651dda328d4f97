"""OpenAI's vector stores: uploaded files, read, cut, embedded and indexed, to be searched."""
