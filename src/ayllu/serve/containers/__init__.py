"""OpenAI's containers: the sandboxes of the code interpreter, with the files in them."""
