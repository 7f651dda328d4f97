"""What the model may call: Python functions with a schema, what they give back, and the everyday ones."""
