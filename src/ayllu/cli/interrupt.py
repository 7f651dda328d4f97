"""What Ctrl-C ends a command with: a file of its own, for the program needs it before it loads any command."""

INTERRUPTED = 130
"""The exit code of what Ctrl-C has stopped."""
AGAIN = "ayllu: interrupted; start it again to go on"
