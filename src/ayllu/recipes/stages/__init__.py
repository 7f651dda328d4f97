"""The stages that recipes are made of: each wires a room's functions to inputs, arguments and an artifact."""
