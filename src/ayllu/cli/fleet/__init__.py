"""The `ayllu fleet` commands."""
