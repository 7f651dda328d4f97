"""Characters to ids and back: the tokenizer and the chat format."""
