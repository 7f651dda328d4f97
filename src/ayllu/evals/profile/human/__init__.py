"""A person takes the items of a row in a page on this machine; what they answer is kept."""
