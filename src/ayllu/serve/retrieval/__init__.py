"""Finding passages of documents, by words and by meaning: a library that knows nothing of the gateway."""
