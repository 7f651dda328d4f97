"""The user's documents: read, cut into passages, found by words and meaning, and cited by file, page and place."""
