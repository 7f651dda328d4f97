"""Tools that run on the server within a response: what clients ask for, and the Protocol of what runs them."""
