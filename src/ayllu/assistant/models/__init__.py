"""Who thinks: a model of this machine, any server that speaks OpenAI's API, or a script; and help for small ones."""
