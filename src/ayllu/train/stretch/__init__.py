"""The last steps of a training, kept with all that they need, so that anybody can take them again and compare."""

FOLDER = "stretch"
"""Where they lie, beside the weights that they lead to."""
