"""Raw sources to clean documents, packed tokens and batches."""
