"""Weights in few bits, as llama.cpp's types hold them: which type a tensor gets, the search for scales, the bytes."""
