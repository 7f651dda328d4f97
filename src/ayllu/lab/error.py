"""What a user did or met that stops the work: said in one sentence, never with a traceback."""


class UserError(Exception):
    """A problem that the user can solve.

    The message is one sentence: what was wrong, where, and what to do. The command line prints it and exits with 2.
    """
