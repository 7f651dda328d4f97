"""The assistant: tools, memory and documents, and the loop in which a model uses them on the user's own machine."""
