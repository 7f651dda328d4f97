"""What the assistant remembers of its user: from which message, when it was used, and how it is erased."""
