"""What is shown to a user instead of a traceback."""

import traceback
from typing import NoReturn

from lightning.fabric.utilities.exceptions import MisconfigurationException

from lit_modules.errors import UsageError


def raise_refused(error: Exception) -> NoReturn:
    """Raises what is to be shown when instantiating the configured classes failed.

    jsonargparse tries each member of a union and wraps whatever a constructor raises in a long ``ValueError``.

    Args:
        error: What was raised, wrapped or not.

    Raises:
        UsageError: If a constructor refused a value: ``ValueError``, ``TypeError``, ``MisconfigurationException``.
        Exception: Else the original exception, with its own traceback.
    """
    cause = error
    while isinstance(cause.__cause__, Exception) and _raised_in(cause).startswith("jsonargparse"):
        cause = cause.__cause__
    if not isinstance(cause, ValueError | TypeError | MisconfigurationException):
        raise cause from cause.__cause__
    where = ""
    for frame, _ in traceback.walk_tb(cause.__traceback__):
        if frame.f_code.co_name == "__init__" and "self" in frame.f_locals:
            where = f"{type(frame.f_locals['self']).__name__}: "
    if "supported gpu backend" in str(cause):
        raise UsageError(
            "there is no GPU that PyTorch can use: --trainer.accelerator=cpu --trainer.precision=32-true"
            "\n(for several processes see the head of configs/trainer/ddp.yaml)"
        ) from cause
    message = "\n".join(str(cause).splitlines()[:4])
    raise UsageError(f"{where}{message}\n(ACDA_DEBUG=1 shows where it was raised)") from cause


def _raised_in(error: Exception) -> str:
    """Name of the module whose code raised the exception."""
    module = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
    return module
