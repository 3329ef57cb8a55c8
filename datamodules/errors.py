"""Errors that users read: data they must fix, and arguments out of range."""

from collections.abc import Sequence
from typing import Any


class DataError(RuntimeError):
    """Data that the user must fix, or that does not suffice for the run: a missing folder, a damaged file.

    The message names the argument or file, what was looked for and where, and the remedy; the command line prints it
    without a traceback.

    Args:
        message: The whole text for the user.
    """

    def __init__(self, message: str) -> None:
        # A loader's worker hands its whole traceback over as the message; only our own text at its end helps the user.
        super().__init__(message.rpartition(f"{__name__}.{type(self).__name__}: ")[2].rstrip())


def abbreviated(names: Sequence[str], shown: int = 5) -> str:
    """Names in a message: the first few and the number of the others."""
    others = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {others} more" if others > 0 else "")


def check_at_least(minimum: float, **arguments: float) -> None:
    """Refuse arguments below a minimum.

    Args:
        minimum: Smallest value that is allowed.
        **arguments: Values by the names under which the user gave them.

    Raises:
        ValueError: If a value is smaller; names the argument, what was given and what is allowed.
    """
    for name, value in arguments.items():
        if not value >= minimum:  # NaN is refused, too
            raise refused(name, value, f"{name} >= {minimum}")


def check_fractions(**arguments: float) -> None:
    """Refuse parts of a data set that are empty, or leave nothing over.

    Args:
        **arguments: Shares of the whole by the names under which the user gave them.

    Raises:
        ValueError: If one is not between 0 and 1 (both excluded), or together they reach 1.
    """
    for name, value in arguments.items():
        if not 0 < value < 1:
            raise refused(name, value, f"0 < {name} < 1")
    total = sum(arguments.values())
    if total >= 1:
        raise refused(" + ".join(arguments), total, "a sum below 1, so that a part is left to train on")


def refused(name: str, value: Any, allowed: str) -> ValueError:
    """Error for an argument, in the one wording that all of them have.

    Args:
        name: Name of the argument.
        value: What was given.
        allowed: What may be given.

    Returns:
        The error, to be raised.
    """
    return ValueError(f"{name}={value!r} is not allowed; allowed: {allowed}")
