"""Processes that are started for measuring, and end with the one that started them."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.machine import ROOT

_GRACE = 60  # seconds that a process has to end in good order


@contextmanager
def stopped_together() -> Iterator[None]:
    """Take SIGTERM for an interruption from the keyboard, for by default what was started would go on alone.

    Only the main thread can do so.

    Raises:
        KeyboardInterrupt: Within, at SIGTERM.
    """
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def call(arguments: Sequence[str], seconds: float | None = None, **options: Any) -> int:
    """Run Python in the project's folder, and end it in good order where this process is stopped.

    Args:
        arguments: Of Python.
        seconds: After which it is ended. Default: never.
        **options: Of ``subprocess.Popen``.

    Returns:
        Its exit code.

    Raises:
        subprocess.TimeoutExpired: After ``seconds``.
        SystemExit: If this process is interrupted, or asked to end.
    """
    with stopped_together(), subprocess.Popen([sys.executable, *arguments], cwd=ROOT, **options) as process:
        try:
            return process.wait(seconds)
        except (KeyboardInterrupt, subprocess.TimeoutExpired) as reason:
            process.terminate()
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
            if isinstance(reason, KeyboardInterrupt):
                sys.exit(128 + signal.SIGINT)
            raise
