"""Experiments as plain Python functions; a function's parameters are the options of `ayllu run`."""
