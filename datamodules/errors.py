"""Errors that users read: data they must fix, and arguments out of range."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn


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


class Findings:
    """What is wrong with data, where all of it is to be known and not only the first, and what was left out of it.

    Attributes:
        faults: Messages of errors by their kind, each once, in the order in which they were found.
        remarks: What was left out or changed, likewise.
    """

    def __init__(self) -> None:
        self.faults: dict[str, dict[str, None]] = {}
        self.remarks: dict[str, dict[str, None]] = {}

    def note(self, kind: str, fault: str) -> None:
        """Note what is wrong.

        Args:
            kind: What faults of its kind have in common, in a few words.
            fault: The whole text for the user.
        """
        self.faults.setdefault(kind, {})[fault] = None


_findings: ContextVar[Findings | None] = ContextVar("findings", default=None)


@contextmanager
def collect_findings() -> Iterator[Findings]:
    """Let errors within :func:`noted` be collected instead of raised, as long as this lasts.

    Yields:
        What is found.
    """
    found = Findings()
    token = _findings.set(found)
    try:
        yield found
    finally:
        _findings.reset(token)


def present_findings() -> Findings | None:
    """Return what collects at present, None where the first error ends all."""
    return _findings.get()


@contextmanager
def noted(kind: str) -> Iterator[None]:
    """Note an error and go on where errors are collected, without what it is about; else it is raised.

    Args:
        kind: As of :meth:`Findings.note`.

    Raises:
        DataError: That of the context, where nothing collects.
    """
    try:
        yield
    except DataError as error:
        found = present_findings()
        if found is None:
            raise
        found.note(kind, str(error))


def remark(text: str, kind: str = "Left out") -> None:
    """Remark what was left out or changed, where that is collected.

    Args:
        text: A line for the user.
        kind: What happened to it. Default: ``Left out``.
    """
    found = present_findings()
    if found is not None:
        found.remarks.setdefault(kind, {})[text] = None


IMAGES, PAIRS, POSITIONS, CLASSES = "images", "pairs", "positions", "classes"
"""Kinds of faults that several files know of: what they are about."""


def abbreviate(names: Sequence[str], shown: int = 5) -> str:
    """List names in a message: the first few and the number of the others."""
    others = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {others} more" if others > 0 else "")


def check_at_least(minimum: float, **arguments: float) -> None:
    """Refuse arguments below a minimum.

    Args:
        minimum: Smallest value that is allowed.
        **arguments: Values by the names under which the user gave them.

    Raises:
        ValueError: If a value is smaller, or NaN.
    """
    for name, value in arguments.items():
        if not value >= minimum:  # NaN is refused, too
            refuse(name, value, f"at least {minimum}")


def check_fractions(**arguments: float) -> None:
    """Refuse parts of a data set that are empty, or leave nothing over.

    Args:
        **arguments: Shares of the whole by the names under which the user gave them.

    Raises:
        ValueError: If one is not between 0 and 1 (both excluded), or together they reach 1.
    """
    for name, value in arguments.items():
        if not 0 < value < 1:
            refuse(name, value, "above 0 and below 1")
    total = sum(arguments.values())
    if total >= 1:
        refuse(" + ".join(arguments), total, "below 1, so that a part is left to train on")


def check_one_of(choices: Sequence[Any], **arguments: Any) -> None:
    """Refuse arguments that are none of the choices.

    Args:
        choices: All values that are allowed.
        **arguments: Values by the names under which the user gave them.

    Raises:
        ValueError: If a value is another.
    """
    for name, value in arguments.items():
        if value not in choices:
            refuse(name, value, f"one of {', '.join(map(str, choices))}")


def refuse(name: str, value: Any, wanted: str, error: type[Exception] = ValueError) -> NoReturn:
    """Raise the error for an argument, in the one wording that all of them have.

    Args:
        name: Name of the argument, as the user gave it.
        value: What was given.
        wanted: What the argument must be.
        error: ``DataError`` where the data or the machine decides what is wanted. Default: ``ValueError``.

    Raises:
        Exception: Always, of the type ``error``.
    """
    raise error(f"{name} must be {wanted}, got {value!r}")
