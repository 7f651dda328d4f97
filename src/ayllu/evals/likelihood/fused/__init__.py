"""Rows of branches on a processor: what stands between the products, and those of 16-bit numbers, in C of our own."""
