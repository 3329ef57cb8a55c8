"""What a run has to say beside its progress: one line for each message, on the standard error stream."""

import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

from lit_modules.runs.folders import get_rank

LEVELS = ("debug", "info", "warning", "error")
_OURS = ("acda", "datamodules", "lit_modules")
_LIGHTNING = ("lightning.pytorch", "lightning.fabric")
_COLOURS = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31"}  # faint, yellow, red
_LONGEST = 600  # characters from another process: what a pipe takes at once, whatever they are


class Lines(logging.Handler):
    """Write each message as a line, once, whichever processes give it.

    Those of processes that load data go through this one, and those of other ranks than the first are left out, unless
    they have ``every_rank`` (``extra`` in the call) because each has its own. The stream is looked up for each line:
    while a progress bar is shown it is one that writes above the bar.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pid = os.getpid()
        self._seen: set[str] = set()
        self._reading, self._writing = os.pipe()
        self._listener = threading.Thread(target=self._listen, name="log lines", daemon=True)
        self._listener.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message, or hand it over to the process that does."""
        every_rank = getattr(record, "every_rank", False)
        if os.getpid() != self._pid:
            part = {"levelno": record.levelno, "msg": record.getMessage()[:_LONGEST], "every_rank": every_rank}
            with suppress(BrokenPipeError):  # that process has ended
                os.write(self._writing, json.dumps(part).encode() + b"\n")
        elif get_rank() == 0 or every_rank:
            line = format_line(record.getMessage(), record.levelno)
            if line not in self._seen:
                self._seen.add(line)
                sys.stderr.write(line)

    def close(self) -> None:
        """Wait for what other processes have said."""
        os.write(self._writing, b"\n")
        self._listener.join()
        os.close(self._writing)
        super().close()

    def _listen(self) -> None:
        with open(self._reading, "rb") as lines:
            for line in lines:
                if line == b"\n":
                    return
                self.handle(logging.makeLogRecord(json.loads(line)))


@contextmanager
def show_lines(level: str) -> Iterator[None]:
    """Show what this project and Lightning log and warn of, while a program runs.

    Args:
        level: The least important that is shown, one of ``LEVELS``.
    """
    least = getattr(logging, level.upper())
    handler, format_warning = Lines(), warnings.formatwarning
    loggers = [logging.getLogger(name) for name in (*_OURS, *_LIGHTNING)]
    before = [(logger.level, logger.handlers) for logger in loggers]
    for logger in loggers:
        # without that of Lightning, which writes through a progress bar
        logger.handlers = [*(x for x in logger.handlers if type(x) is not logging.StreamHandler), handler]
        logger.setLevel(max(least, logging.INFO) if logger.name in _LIGHTNING else least)
    folders = tuple(f"{folder}{os.sep}" for name in (*_OURS, "lightning") for folder in import_module(name).__path__)

    def format_short(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if not filename.startswith(folders):
            return format_warning(message, category, filename, lineno, line)
        return format_line(str(message), logging.WARNING) if least <= logging.WARNING else ""

    warnings.formatwarning = format_short
    try:
        yield
    finally:
        warnings.formatwarning = format_warning
        for logger, (old, handlers) in zip(loggers, before, strict=True):
            logger.handlers = handlers
            logger.setLevel(old)
        handler.close()


def format_line(message: str, level: int) -> str:
    """Give the line for a message: ``warning: …`` in colour where it is shown in a terminal.

    Args:
        message: The message.
        level: How important it is, as ``logging`` counts.

    Returns:
        The line, with its end.
    """
    if level != logging.INFO:
        message = f"{logging.getLevelName(level).lower()}: {message}"
    colour = _COLOURS.get(level)
    if colour and sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        message = f"\x1b[{colour}m{message}\x1b[0m"
    return f"{message}\n"
