"""The `ayllu documents` commands."""
