"""The `ayllu` command: the only place that parses arguments and prints."""
