"""ExecuTorch: a model as one file for phones and boards, made and run in an environment of its own."""
