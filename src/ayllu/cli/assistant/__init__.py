"""The commands of the assistant: `ayllu assist` and `ayllu memory`."""
