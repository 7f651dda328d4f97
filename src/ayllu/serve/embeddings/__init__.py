"""Texts as vectors: by an encoder made for it, or the mean of the served model's hidden states; and rerank by them."""
