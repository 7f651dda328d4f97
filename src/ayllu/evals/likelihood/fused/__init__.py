"""Rows of branches on a processor: whole passes, from ids to log-likelihoods, in C of our own."""
