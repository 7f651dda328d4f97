"""What a user did or met that stops the work: said in one sentence, never with a traceback."""


class UserError(Exception):
    """A problem that the user can solve.

    The message is one sentence: what was wrong, where, and what to do. The command line prints it and exits with 2.
    """


class Stopped(UserError):
    """Work ended early because it was asked to, and is kept: no failure, the next start goes on."""
