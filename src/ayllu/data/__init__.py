"""From sources to batches: raw documents cleaned into a corpus, conversations, packed tokens; and adopted models."""
