"""From raw documents to clean ones: what is dropped, masked and tidied, and the report of it."""
