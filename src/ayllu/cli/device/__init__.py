"""Commands of the glasses."""
