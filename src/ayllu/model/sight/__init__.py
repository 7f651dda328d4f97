"""Eyes of a language model: a network that turns a picture into features, and what turns these into tokens."""
