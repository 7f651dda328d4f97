"""The `ayllu sandbox` commands."""
