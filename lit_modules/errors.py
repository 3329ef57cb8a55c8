"""What a user can correct."""


class UsageError(Exception):
    """Something the user wrote is wrong; its text is shown without a traceback, the exit code is 2."""
