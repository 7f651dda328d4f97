"""What the tests of serving, and of what is served, share."""
