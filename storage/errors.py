"""Errors that a user can cause."""


class UserError(Exception):
    """A mistake outside the program: one line that says what is wrong, where, and what to do.

    The command line prints the message without a traceback and exits with 1.
    """
