"""What the server keeps between requests: answers, conversations and their items, in SQLite or PostgreSQL."""
