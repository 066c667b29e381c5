"""Errors that a user can cause."""


class UserError(Exception):
    """A mistake outside the program: one line that says what is wrong, where, and what to do.

    The command line prints the message without a traceback and exits with 1.
    """


class StoreFault(UserError):  # noqa: N818 - a UserError by another name
    """A store, its disk or object storage does not do what it is asked; at another time it may."""


class OlderSchema(UserError):  # noqa: N818 - a UserError by another name
    """The store was written by an older program; opening it for writing upgrades it."""
